//! http-01 (RFC 8555 §8.3): `GET /.well-known/acme-challenge/{token}`; all other requests get a short 404.
//!
//! A validation is a connection with one GET and an answer of a hundred octets. So this listener implements a small
//! part of HTTP/1.1 (RFC 9112) over httparse. With hyper it answered some 5 % fewer validations per CPU-second, which
//! was the difference between less and more than twice those of pebble-challtestsrv (`benches/validations.rs`).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wec_listen::Connection;
use wec_record::{ChallengeType, Verdict};
use wec_store::ValidationFault;
use wec_store::challenge::behind_redirect;

use crate::accept::accept;
use crate::answers::Answers;
use crate::config::ListenLimits;
use crate::faults;
use crate::history;
use crate::hits::{Arrival, beginning};

const PREFIX: &str = "/.well-known/acme-challenge/";
/// Where redirects of challenges lead.
const MOVED: &str = "/wec-moved/";
/// For container health checks; it is no validation, so no hit.
pub(crate) const HEALTH: &str = "/healthz";
/// Enough for the request line and headers of any CA; more is 431.
const LARGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Enough for usual requests of CAs.
const USUAL_HEAD: usize = 1 << 10;

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    answers: Arc<Answers>,
    limits: ListenLimits,
    stop: CancellationToken,
) {
    accept("http-01", listener, limits, stop, |stream, source, place| {
        let answers = Arc::clone(&answers);
        async move {
            let mut stream = stream;
            match connection(&mut stream, source, &place, &answers, limits).await {
                Ok(Ended::Closed) => {}
                // The close is then a reset; if it cannot be one, it is a close without an answer.
                Ok(Ended::Reset) => {
                    let _ = stream.set_zero_linger();
                }
                Err(error) => tracing::debug!(%source, %error, "http-01 connection ended early"),
            }
        }
    })
    .await;
}

/// Serves requests one after the other, each within the time limit, until either side ends the connection.
async fn connection(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    source: SocketAddr,
    place: &Connection,
    answers: &Answers,
    limits: ListenLimits,
) -> io::Result<Ended> {
    let mut received = Vec::with_capacity(USUAL_HEAD);
    loop {
        let Some(head) = timeout(limits.request_timeout, head(stream, &mut received)).await?? else {
            return Ok(Ended::Closed);
        };
        let _busy = place.busy();
        let (reply, goes_on, with_body) = match head {
            Head::Complete(length) => {
                let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
                let mut parsed = httparse::Request::new(&mut headers);
                match parsed.parse(&received[..length]) {
                    Ok(_) => {
                        let request = Request::of(&parsed);
                        let reply = respond(answers, source, &request).await;
                        (reply, request.keeps_alive, request.method != "HEAD")
                    }
                    Err(httparse::Error::TooManyHeaders) => (Reply::plain(431, ""), false, true),
                    Err(_) => (Reply::plain(400, ""), false, true),
                }
            }
            Head::TooLarge => (Reply::plain(431, ""), false, true),
        };
        match reply.fault {
            Some(ValidationFault::Reset) => return Ok(Ended::Reset),
            Some(ValidationFault::Silence) => {
                faults::silence(stream).await;
                return Ok(Ended::Closed);
            }
            Some(ValidationFault::Slow) => {
                faults::drip(stream, ENDLESS_HEAD).await;
                return Ok(Ended::Closed);
            }
            _ => {}
        }
        let message = reply.message(answers.hits.unix_now(), goes_on, with_body);
        timeout(limits.request_timeout, stream.write_all(&message)).await??;
        match head {
            Head::Complete(length) if goes_on => drop(received.drain(..length)),
            _ => return Ok(Ended::Closed),
        }
    }
}

/// How a connection ended.
enum Ended {
    Closed,
    /// It must be reset.
    Reset,
}

/// The head of an answer that is sent so slowly that it does not end.
const ENDLESS_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 90\r\n\r\n";

enum Head {
    /// Octets of the head, including the empty line.
    Complete(usize),
    TooLarge,
}

/// Reads until a request's head is complete; none if the client has closed the connection.
async fn head(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let mut searched = 0;
    loop {
        let end = received[searched..].windows(4).position(|octets| octets == b"\r\n\r\n");
        match end.map(|end| searched + end + 4) {
            Some(length) if length <= LARGEST_HEAD => return Ok(Some(Head::Complete(length))),
            None if received.len() <= LARGEST_HEAD => {}
            _ => return Ok(Some(Head::TooLarge)),
        }
        searched = received.len().saturating_sub(3);
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// The used parts of a request.
struct Request<'a> {
    method: &'a str,
    target: &'a str,
    /// Without the query.
    path: &'a str,
    host: Option<&'a str>,
    user_agent: &'a str,
    keeps_alive: bool,
}

impl<'a> Request<'a> {
    fn of(parsed: &httparse::Request<'_, 'a>) -> Self {
        let header = |name: &str| {
            let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok())
        };
        let target = parsed.path.unwrap_or_default();
        let (authority, path) = parts_of(target);
        let connection = header("connection").unwrap_or_default();
        let has_body = header("transfer-encoding").is_some()
            || header("content-length").is_some_and(|length| length.trim() != "0");
        Self {
            method: parsed.method.unwrap_or_default(),
            target,
            path: path.split('?').next().unwrap_or_default(),
            // RFC 9112 §3.2.2: an absolute request target overrides Host.
            host: authority.or_else(|| header("host")),
            user_agent: header("user-agent").unwrap_or_default(),
            // A body is never read, so no request can follow it.
            keeps_alive: parsed.version == Some(1)
                && !connection.to_ascii_lowercase().contains("close")
                && !has_body,
        }
    }
}

async fn respond(answers: &Answers, source: SocketAddr, request: &Request<'_>) -> Reply {
    let Request { method, path, host, .. } = *request;
    if path == HEALTH {
        return Reply::plain(200, "ok\n");
    }
    let arrival = answers.hits.arrival(ChallengeType::Http01, source);
    remember(answers, request);
    let redirect = answers.records.read().redirects.get(path).cloned();
    if let Some(target) = redirect {
        let name = host.and_then(name_of).unwrap_or_default();
        let answer = format!("302 to {target}");
        answers.hits.add(arrival, name, Verdict::Answered, answer);
        return Reply { location: Some(target), ..Reply::plain(302, "") };
    }
    let Some(name) = host.and_then(name_of) else {
        return refused(answers, arrival, String::new(), 400, "no usable Host header");
    };
    let moved = path.strip_prefix(MOVED);
    let Some(token) = path.strip_prefix(PREFIX).or(moved).filter(|token| is_token(token)) else {
        let why = format!("{method} {path}: not a challenge's path");
        return refused(answers, arrival, name, 404, &why);
    };
    if method != "GET" && method != "HEAD" {
        return refused(answers, arrival, name, 405, &format!("method {method}"));
    }

    let (verdict, answer, reply) = match answers.http01(&name, token).await {
        Ok(Some(stored)) => served(stored, token, moved.is_some()),
        Ok(None) => {
            let answer = format!("404: no token {token} for this name");
            (Verdict::Unknown, answer, Reply::plain(404, "no such challenge\n"))
        }
        Err(failed) => {
            let reply = Reply::plain(503, "challenge store unavailable\n");
            (Verdict::StoreFailed, format!("503: {failed}"), reply)
        }
    };
    answers.hits.add(arrival, name, verdict, answer);
    reply
}

/// What is served of stored data, at the challenge's own path or where its redirect leads.
fn served(stored: String, token: &str, is_moved: bool) -> (Verdict, String, Reply) {
    match (behind_redirect(&stored), is_moved) {
        (Some(_), false) => {
            let target = format!("{MOVED}{token}");
            let answer = format!("302 to {target}");
            (Verdict::Answered, answer, Reply { location: Some(target), ..Reply::plain(302, "") })
        }
        (Some(key_authorization), true) => {
            (Verdict::Answered, beginning(key_authorization), Reply::challenge(key_authorization.to_owned()))
        }
        (None, true) => {
            let answer = format!("404: the token {token} is not behind a redirect");
            (Verdict::Unknown, answer, Reply::plain(404, "no such challenge\n"))
        }
        (None, false) => match ValidationFault::of_key_authorization(&stored) {
            None => (Verdict::Answered, beginning(&stored), Reply::challenge(stored)),
            Some(fault) => (Verdict::Faulted, fault.to_string(), Reply::faulty(fault, stored)),
        },
    }
}

fn refused(answers: &Answers, arrival: Arrival, name: String, status: u16, why: &str) -> Reply {
    let answer = format!("{status}: {why}");
    answers.hits.add(arrival, name, Verdict::Refused, answer);
    Reply::plain(status, "not a challenge\n")
}

struct Reply {
    status: u16,
    media_type: &'static str,
    location: Option<String>,
    body: Cow<'static, str>,
    /// What is done instead of sending it.
    fault: Option<ValidationFault>,
}

impl Reply {
    fn plain(status: u16, text: &'static str) -> Self {
        Self { status, media_type: "text/plain", location: None, body: Cow::Borrowed(text), fault: None }
    }

    /// RFC 8555 §8.3 sends a key authorization as octets.
    fn challenge(key_authorization: String) -> Self {
        let body = Cow::Owned(key_authorization);
        Self { status: 200, media_type: "application/octet-stream", location: None, body, fault: None }
    }

    fn faulty(fault: ValidationFault, key_authorization: String) -> Self {
        let reply = match fault {
            ValidationFault::Refused => Self::plain(403, "refused on purpose\n"),
            _ => Self::challenge(key_authorization),
        };
        Self { fault: Some(fault), ..reply }
    }

    fn message(&self, now: Duration, goes_on: bool, with_body: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            302 => "Found",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let Self { status, media_type, location, body, fault: _ } = self;
        let mut message = String::with_capacity(256 + body.len());
        let date = httpdate::HttpDate::from(UNIX_EPOCH + now);
        // Writing to a String cannot fail.
        let _ = write!(
            message,
            "HTTP/1.1 {status} {reason}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\ndate: {date}\r\n",
            body.len()
        );
        if let Some(location) = location {
            let _ = write!(message, "location: {location}\r\n");
        }
        if *status == 405 {
            message.push_str("allow: GET, HEAD\r\n");
        }
        if !goes_on {
            message.push_str("connection: close\r\n");
        }
        message.push_str("\r\n");
        if with_body {
            message.push_str(body);
        }
        message.into_bytes()
    }
}

fn remember(answers: &Answers, request: &Request<'_>) {
    let Some(history) = &answers.history else { return };
    let host = request.host.unwrap_or_default();
    let event = history::Request::Http {
        url: request.target.to_owned(),
        host: host.to_owned(),
        https: false,
        server_name: String::new(),
        user_agent: request.user_agent.to_owned(),
    };
    history.add(name_of(host).unwrap_or_default(), event);
}

/// Authority and path of a request target in absolute form (RFC 9112 §3.2.2), whose scheme may be written in any case; a target in
/// origin form is a path. An absolute one without a path means `/`.
fn parts_of(target: &str) -> (Option<&str>, &str) {
    let absolute = target
        .split_once("://")
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"));
    let Some((_, rest)) = absolute else { return (None, target) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // User information before an `@` is not part of the name.
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (Some(authority), if path.is_empty() { "/" } else { path })
}

/// The stored name of a Host header: no port, no final dot, lower case, IP addresses in their canonical text.
fn name_of(host: &str) -> Option<String> {
    let host = match host.strip_prefix('[') {
        Some(bracketed) => {
            let (address, _port) = bracketed.split_once(']')?;
            return address.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6).map(|ip| ip.to_string());
        }
        None => host.split(':').next().unwrap_or_default(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// RFC 8555 §8.3: only characters of the base64url alphabet.
fn is_token(token: &str) -> bool {
    !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wec_store::{ChallengeData, ChallengeWriter, MemoryChallenges};

    use super::*;
    use crate::hits::Hits;
    use crate::records::Records;
    use wec_clock::Clock;

    /// The answer to a connection that sends `chunks` and then no more.
    fn answered(chunks: &[&[u8]]) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = MemoryChallenges::new();
            let challenge = ChallengeData {
                kind: ChallengeType::Http01,
                name: "a.test".into(),
                token: "token".into(),
                key_authorization: "token.thumb".into(),
            };
            store.put(&challenge).await.unwrap();
            let hits = Arc::new(Hits::new(Clock::start()));
            let answers = Answers::new(Arc::new(store), Records::default(), hits, None);
            let source = "192.0.2.1:80".parse().unwrap();
            let (mut client, mut server) = tokio::io::duplex(1 << 20);
            for chunk in chunks {
                client.write_all(chunk).await.unwrap();
            }
            client.shutdown().await.unwrap();
            let limits = ListenLimits::default();
            let _ = connection(&mut server, source, &Connection::alone(), &answers, limits).await;
            drop(server);
            let mut response = String::new();
            client.read_to_string(&mut response).await.unwrap();
            response
        })
    }

    const GET: &str = "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a.test\r\n\r\n";

    #[test]
    fn a_connection_goes_on_until_the_client_has_enough() {
        let close = GET.replace("Host", "Connection: Close\r\nHost");
        let old = GET.replace("HTTP/1.1", "HTTP/1.0");
        let body = GET.replace("Host", "Content-Length: 5\r\nHost");
        for (requests, answers) in [
            (format!("{GET}{GET}"), 2),
            (format!("{GET}{close}{GET}"), 2),
            (format!("{old}{GET}"), 1),
            (format!("{body}12345{GET}"), 1),
            (format!("{GET}GET / HT"), 1),
        ] {
            let responses = answered(&[requests.as_bytes()]);
            assert_eq!(
                responses.matches("HTTP/1.1 200 OK\r\n").count(),
                answers,
                "{requests:?}: {responses}"
            );
            assert_eq!(responses.matches("token.thumb").count(), answers);
        }
    }

    #[test]
    fn too_many_or_too_large_headers_are_431() {
        let many = GET.replace("\r\n\r\n", &format!("{}\r\n\r\n", "\r\nX: y".repeat(100)));
        let large = GET.replace("a.test", &"x".repeat(LARGEST_HEAD));
        let endless = "x".repeat(2 * LARGEST_HEAD);
        for request in [many, large, endless] {
            assert!(answered(&[request.as_bytes()]).starts_with("HTTP/1.1 431"), "{}", &request[..80]);
        }
    }

    proptest! {
        #[test]
        fn any_octets_get_an_http_answer_or_none(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let response = answered(&[&octets, b"\r\n\r\n"]);
            prop_assert!(response.starts_with("HTTP/1.1 "), "{response:?}");
        }

        #[test]
        fn a_damaged_request_gets_http(place in 0usize..60, octet: u8) {
            let mut request = GET.as_bytes().to_vec();
            request[place % GET.len()] = octet;
            let response = answered(&[&request, b"\r\n\r\n"]);
            prop_assert!(response.starts_with("HTTP/1.1 "), "{response:?}");
        }

        #[test]
        fn a_request_may_arrive_in_any_two_parts(cut in 0usize..70) {
            let cut = cut.min(GET.len());
            let response = answered(&[&GET.as_bytes()[..cut], &GET.as_bytes()[cut..]]);
            prop_assert!(response.ends_with("\r\n\r\ntoken.thumb"), "{response:?}");
        }
    }

    #[test]
    fn a_host_header_is_normalised_to_the_stored_name() {
        let table = [
            ("example.test", Some("example.test")),
            ("Example.TEST:5002", Some("example.test")),
            ("example.test.:80", Some("example.test")),
            ("192.0.2.7:80", Some("192.0.2.7")),
            ("[2001:DB8::0:1]:80", Some("2001:db8::1")),
            ("[::1]", Some("::1")),
            ("[::1", None),
            ("[example.test]", None),
            ("[192.0.2.7]", None),
            (":80", None),
            (".", None),
            ("", None),
        ];
        for (host, name) in table {
            assert_eq!(name_of(host).as_deref(), name, "{host:?}");
        }
    }

    #[test]
    fn a_target_may_be_absolute_and_its_scheme_and_host_in_capitals() {
        for (target, parts) in [
            ("/x?y", (None, "/x?y")),
            ("http://a.test/x", (Some("a.test"), "/x")),
            ("HTTP://A.TEST:80/x", (Some("A.TEST:80"), "/x")),
            ("Https://[::1]:80/x?y", (Some("[::1]:80"), "/x?y")),
            ("http://a.test?y", (Some("a.test"), "?y")),
            ("http://a.test", (Some("a.test"), "/")),
            ("http://me@a.test/", (Some("a.test"), "/")),
            ("/x?to=http://a.test/", (None, "/x?to=http://a.test/")),
            ("ftp://a.test/x", (None, "ftp://a.test/x")),
        ] {
            assert_eq!(parts_of(target), parts, "{target}");
        }
        for target in ["HTTP://A.TEST", "http://a.test:80", "Http://a.Test."] {
            let request =
                GET.replace("/.well", &format!("{target}/.well")).replace("Host: a", "Host: ignored.a");
            assert!(answered(&[request.as_bytes()]).ends_with("\r\n\r\ntoken.thumb"), "{target}");
        }
    }

    #[test]
    fn tokens_are_base64url() {
        assert!(is_token("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"));
        for bad in ["", "a/b", "a.b", "a%2e", "..", "a b", "é"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
