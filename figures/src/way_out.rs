//! The remedy for a failure, from its class, problem type and text.

use wec_record::FailureClass;

/// The flag or the place to check, as the end of a sentence; none if no remedy is known.
pub(crate) fn way_out(class: Option<FailureClass>, problem: &str, text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let by_problem = match problem {
        "externalAccountRequired" => {
            Some("give the account's external binding: --eab-kid, with its key in WEC_EAB_HMAC_KEY")
        }
        "invalidContact" | "unsupportedContact" => {
            Some("give accounts a contact that the CA accepts: --contact mailto:NAME@DOMAIN")
        }
        "badPublicKey" => Some(
            "the CA forbids the key: give key types that it accepts with --key-types; a key that was revoked as compromised stays blocked",
        ),
        "rejectedIdentifier" => Some("give a domain that the CA issues for: --base-domain"),
        "accountDoesNotExist" => Some("the CA does not know the stored account: use another --state"),
        "badRevocationReason" => Some("give reasons that the CA accepts: --revoke-reasons"),
        "userActionRequired" => Some("the CA requires agreement to its terms: open the URL in its answer"),
        _ => None,
    };
    if let Some(way_out) = by_problem {
        return Some(way_out.to_owned());
    }
    if class == Some(FailureClass::Problem) && lower.contains("contact") {
        return Some("give accounts a contact: --contact mailto:NAME@DOMAIN".to_owned());
    }
    if problem == "unauthorized" && lower.contains("binding") {
        return Some("check the binding's identifier (--eab-kid) and its key (WEC_EAB_HMAC_KEY)".to_owned());
    }
    match class? {
        FailureClass::Tls if lower.contains("expired") => {
            Some("renew the certificate of the CA's own server, or accept any with --insecure".to_owned())
        }
        FailureClass::Validation => Some(validation(&lower)),
        FailureClass::Connect => Some("check that the CA is running and reachable at this address".to_owned()),
        FailureClass::Tls => Some("give the root of the CA's server certificate: --cacert".to_owned()),
        FailureClass::RateLimited => {
            Some("raise the CA's limit for this test, or reduce the load; the limit's name is in the table of failures".to_owned())
        }
        FailureClass::PollTimeout => Some("the CA takes longer than --poll-timeout".to_owned()),
        FailureClass::Timeout => Some("the CA takes longer than --request-timeout".to_owned()),
        _ => None,
    }
}

/// Which listener the CA did not reach, and how.
fn validation(text: &str) -> String {
    let (port, listener) = if text.contains("tls-alpn-01") {
        ("port 443, unless it is configured otherwise", "--tlsalpn01-listen")
    } else if text.contains("dns-01") {
        ("its resolver", "--dns-listen")
    } else {
        ("port 80, unless it is configured otherwise", "--http01-listen")
    };
    let tried = port_in(text).map_or_else(|| port.to_owned(), |port| format!("port {port}"));
    let no_name = [
        "nxdomain",
        "servfail",
        "no such host",
        "looking up",
        "lookup ",
        "while resolving",
        "read udp",
        "no valid ip",
        "dns:",
        "dns problem",
    ];
    if no_name.iter().any(|sign| text.contains(sign)) {
        return "the CA's resolver must answer for the names of the test: let it query the challenge server (--dns-listen), or a DNS server that has them".to_owned();
    }
    let refused = ["refused", "timeout", "timed out", "connection:", "connect", "unreachable"];
    if refused.iter().any(|sign| text.contains(sign)) {
        return format!(
            "the CA tried {tried}: let the challenge server answer there ({listener}), and let the names resolve to it"
        );
    }
    format!(
        "the CA reached something other than this run's challenge server, or an old answer: it tried {tried}, the listener is {listener}"
    )
}

/// The port of the URL in the CA's message.
fn port_in(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', ' ', '"', '?']).next()?;
    authority.rsplit_once(':')?.1.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_remedy() {
        use FailureClass::{Connect, Problem, Reset, Validation};
        let cases = [
            (Problem, "invalidContact", "contact required", "--contact mailto:"),
            (Problem, "malformed", "newAccount: a contact address is required", "--contact mailto:"),
            (Problem, "externalAccountRequired", "no binding", "--eab-kid"),
            (
                Problem,
                "unauthorized",
                "the external account binding's MAC does not verify",
                "WEC_EAB_HMAC_KEY",
            ),
            (FailureClass::Tls, "", "invalid peer certificate: certificate expired", "renew"),
            (
                Validation,
                "connection",
                "http-01: connection: Error while resolving URL http://a.test:5002/: read udp 127.0.0.1:53: connection refused",
                "--dns-listen",
            ),
            (Problem, "badPublicKey", "public key is forbidden", "--key-types"),
            (Problem, "rejectedIdentifier", "policy forbids", "--base-domain"),
            (Connect, "", "refused", "is running"),
            (
                Validation,
                "dns",
                "http-01: dns: DNS problem: NXDOMAIN looking up A for a.test",
                "resolver must answer",
            ),
            (
                Validation,
                "connection",
                "http-01: connection: Fetching http://a.test:5002/.well-known/acme-challenge/x: Connection refused",
                "tried port 5002",
            ),
            (
                Validation,
                "connection",
                "http-01: connection: 10.0.0.1: Fetching http://a.test/.well-known/acme-challenge/x: Connection refused",
                "tried port 80, unless it is configured otherwise: let the challenge server answer there (--http01-listen)",
            ),
            (Validation, "connection", "tls-alpn-01: connection: Connection refused", "tried port 443"),
            (
                Validation,
                "unauthorized",
                "http-01: unauthorized: key authorization did not match",
                "something other",
            ),
        ];
        for (class, problem, text, way) in cases {
            let found = way_out(Some(class), problem, text).unwrap_or_default();
            assert!(found.contains(way), "{text}: {found}");
        }
        assert_eq!(way_out(Some(Reset), "", "broken"), None);
        assert_eq!(way_out(None, "", ""), None);
    }
}
