//! The formats of access logs. The format of a line is recognized by its form; a file may have lines of
//! several formats.
//!
//! | format | example |
//! | --- | --- |
//! | Boulder's WFE | `… boulder-wfe2[7]: 5PNNsg POST /acme/new-order 7 201 35 0.0.0.0 JSON={"ua":"…"}` |
//! | `combined` of nginx and Apache | `127.0.0.1 - - [29/Nov/2026:22:58:44 +0000] "POST /order HTTP/1.1" 200 9 "-" "…"` |
//! | JSON of nginx | `{"time_iso8601":"…","request":"POST /order HTTP/1.1","status":"200","http_user_agent":"…"}` |
//! | JSON of Caddy | `{"ts":1795993124.5,"request":{"method":"POST","uri":"/order","headers":{…}},"status":200,…}` |

mod boulder;
mod combined;
mod json;

use std::borrow::Cow;

/// A request of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// When it began, nanoseconds since the Unix epoch. In a log without durations, when it ended.
    pub begin: u64,
    /// HTTP method.
    pub method: Cow<'a, str>,
    /// Path, perhaps with a query.
    pub path: Cow<'a, str>,
    /// HTTP status; 0 if the log has none.
    pub status: u16,
    /// User-Agent; empty if the log has none.
    pub agent: Cow<'a, str>,
    /// Whether the CA refused its nonce. Only Boulder logs the kind of a problem.
    pub bad_nonce: bool,
    /// Identifiers of a new order. Only Boulder logs them.
    pub identifiers: Option<u32>,
}

/// Reads a line, without its line break. None if it is not about a request.
///
/// # Errors
/// Why it cannot be read.
pub fn parse(line: &[u8]) -> Result<Option<Request<'_>>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('{') {
        return json::parse(text);
    }
    if let Some(found) = boulder::parse(text) {
        return found;
    }
    if let Some(found) = combined::parse(text) {
        return found.map(Some);
    }
    if boulder::is_message(text) { Ok(None) } else { Err("none of the known formats") }
}

/// `POST /order HTTP/1.1`; a path may have spaces, because servers log what clients sent.
fn request_line(text: &str) -> Option<(&str, &str)> {
    let (method, rest) = text.split_once(' ')?;
    let path = rest
        .rsplit_once(' ')
        .filter(|(_, version)| version.starts_with("HTTP/"))
        .map_or(rest, |(path, _)| path);
    is_method(method).then_some((method, path))
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::SECOND;

    /// 2026-11-29T22:58:44Z.
    const AT: u64 = 1_795_993_124 * SECOND;

    fn read(line: &str) -> Request<'_> {
        parse(line.as_bytes()).unwrap().unwrap_or_else(|| panic!("no request: {line}"))
    }

    fn order(begin: u64) -> Request<'static> {
        Request {
            begin,
            method: "POST".into(),
            path: "/acme/new-order".into(),
            status: 201,
            agent: "certbot/2.1".into(),
            bad_nonce: false,
            identifiers: None,
        }
    }

    #[test]
    fn each_format_gives_the_same_request() {
        for line in [
            r#"192.0.2.7 - - [29/Nov/2026:22:58:44 +0000] "POST /acme/new-order HTTP/1.1" 201 340 "-" "certbot/2.1""#,
            r#"ca.test 192.0.2.7 - joe [29/Nov/2026:23:58:44 +0100] "POST /acme/new-order HTTP/2.0" 201 - "a \" b" "certbot/2.1" 0.1"#,
            r#"{"time_iso8601":"2026-11-29T22:58:44+00:00","request":"POST /acme/new-order HTTP/1.1","status":"201","http_user_agent":"certbot/2.1"}"#,
            r#"{"msec":"1795993124.500","request_time":"0.500","request_method":"POST","request_uri":"/acme/new-order","status":201,"user_agent":"certbot/2.1","remote_addr":"192.0.2.7"}"#,
            r#"{"level":"info","ts":1795993124.25,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.7","proto":"HTTP/2.0","method":"POST","host":"ca.test","uri":"/acme/new-order","headers":{"User-Agent":["certbot/2.1"],"Accept":["*/*"]}},"user_id":"","duration":0.25,"size":340,"status":201,"resp_headers":{"Server":["Caddy"]}}"#,
        ] {
            assert_eq!(read(line), order(AT), "{line}");
        }
    }

    #[test]
    fn boulders_lines_are_read_with_each_prefix() {
        let message = r#"5PNNsg POST /acme/new-order 777 201 44 192.0.2.7 JSON={"ua":"certbot/2.1","Created":"777/1","Identifiers":[{"type":"dns","value":"a.test"},{"type":"dns","value":"b.test"}]}"#;
        for prefix in [
            "2026-11-29T22:58:44+00:00 ca1 datacenter 6 boulder-wfe2[7]:",
            "2026-11-29T22:58:44.000000+00:00 6 boulder-wfe2",
            "2026-11-29 22:58:44 6 boulder-wfe2",
        ] {
            let line = format!("{prefix} {message}");
            let wanted = Request { identifiers: Some(2), ..order(AT - 44_000_000) };
            assert_eq!(read(&line), wanted, "{prefix}");
        }
        let line = r#"Nov 29 22:58:44 ca1 boulder-wfe2[7]: 5PNNsg POST /acme/new-order 7 400 3 192.0.2.7 JSON={"Error":"400 :: badNonce :: JWS has an invalid anti-replay nonce","ua":"lego","DNSNames":["a.test"]}"#;
        let request = read(line);
        assert!(request.bad_nonce && request.status == 400, "{request:?}");
        assert_eq!((request.agent.as_ref(), request.identifiers), ("lego", Some(1)));
    }

    #[test]
    fn lines_that_are_about_no_request_are_left_out() {
        for line in [
            "",
            "  \r",
            "2026-11-29T22:58:44.1+00:00 6 boulder-wfe2 qJqx6A [AUDIT] Process starting JSON={\"Command\":\"boulder-wfe2\"}",
            "Nov 29 22:58:44 ca1 boulder-wfe2[7]: 5PNNsg stopping",
            r#"{"level":"info","ts":1795993124.25,"logger":"tls.cache.maintenance","msg":"started background certificate maintenance"}"#,
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_a_reason() {
        for (line, why) in [
            ("hello", "none of the known formats"),
            ("{\"status\":200", "not JSON"),
            (r#"{"status":200,"request":"POST /order HTTP/1.1"}"#, "no time"),
            (r#"{"ts":"soon","status":200,"request":"POST /order HTTP/1.1"}"#, "no time"),
            (r#"192.0.2.7 - - [29/Nov/2026] "POST /order HTTP/1.1" 201 340 "-" "x""#, "no time"),
            (
                r#"192.0.2.7 - - [29/Nov/2026:22:58:44 +0000] "\x16\x03\x01" 400 150 "-" "-""#,
                "no request line",
            ),
            (r#"192.0.2.7 - - [29/Nov/2026:22:58:44 +0000] "POST /order"#, "no request line"),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(why), "{line}");
        }
        assert_eq!(parse(b"\xff\xfe"), Err("not UTF-8"));
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic(
            line in r#"(\{?"?[a-z_]{0,9}"?:? ?){0,4}.{0,80}|[^\[]{0,20}\[[0-9/A-Za-z: +]{0,30}\] "[A-Z /]{0,20}"? ?[0-9]{0,4}.{0,30}|.{0,30} [A-Z]{1,5} /[a-z]{0,5} [0-9]{0,3} [0-9]{0,4} [0-9]{0,4} [0-9.]{0,9} JSON=\{.{0,20}"#,
        ) {
            let _ = parse(line.as_bytes());
        }
    }
}
