//! What a CA's answers mean for an object that should end: pure decisions.

use wec_acme::{Failure, FailureClass};

/// How an object ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By this request.
    Now,
    /// Before it: the CA reports that it is revoked or deactivated.
    Before,
    /// The CA does not know it.
    Gone,
}

/// Whether the CA does not know the object at this URL. Objects that expired may be removed.
pub(super) fn is_not_found(failure: &Failure) -> bool {
    matches!(failure.status, 404 | 410)
}

/// How a certificate ended whose revocation was refused; none if it may be valid.
pub(super) fn end_of_certificate(failure: &Failure, account_is_gone: bool) -> Option<Ended> {
    if is(failure, "alreadyRevoked") {
        return Some(Ended::Before);
    }
    // After a reset the CA knows neither.
    let unknown = ["no such certificate", "unable to find", "not found"];
    let is_unknown = failure.kind == FailureClass::Problem
        && (failure.status == 404 || unknown.iter().any(|words| detail(failure).contains(words)));
    (account_is_gone && is_unknown).then_some(Ended::Gone)
}

/// How an account ended whose deactivation was refused; none if it may be valid.
pub(super) fn end_of_account(failure: &Failure) -> Option<Ended> {
    if is(failure, "accountDoesNotExist") {
        return Some(Ended::Gone);
    }
    // RFC 8555 §7.3.6: a deactivated account is unauthorized. So is whatever else a CA or what is before it refuses:
    // only its words tell. Pebble: "Account has been deactivated", Boulder: "Account is not valid, has status
    // "deactivated"".
    let says = detail(failure);
    (is(failure, "unauthorized") && says.contains("account") && says.contains("deactivated"))
        .then_some(Ended::Before)
}

/// The problem's detail in lower case.
fn detail(failure: &Failure) -> String {
    failure.problem.as_ref().map_or_else(String::new, |problem| problem.detail.to_ascii_lowercase())
}

/// Whether the CA answered with this problem.
pub(super) fn is(failure: &Failure, problem: &str) -> bool {
    failure.problem.as_ref().is_some_and(|answered| answered.is(problem))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: u16, kind: &str, detail: &str) -> Failure {
        let document = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
        Failure {
            problem: wec_acme::Problem::parse(document.to_string().as_bytes()).map(Box::new),
            status,
            ..Failure::new(FailureClass::Problem, detail)
        }
    }

    #[test]
    fn only_an_account_that_the_ca_says_is_deactivated_was_deactivated_before() {
        for (status, kind, detail, ended) in [
            (403, "unauthorized", "the WAF says no", None),
            (401, "unauthorized", "", None),
            (403, "unauthorized", "Account has been deactivated", Some(Ended::Before)),
            (403, "unauthorized", "Account is not valid, has status \"deactivated\"", Some(Ended::Before)),
            (401, "unauthorized", "the account is deactivated", Some(Ended::Before)),
            (400, "accountDoesNotExist", "unable to find account", Some(Ended::Gone)),
            (400, "malformed", "the account is deactivated", None),
        ] {
            assert_eq!(end_of_account(&refused(status, kind, detail)), ended, "{kind} {detail}");
        }
    }

    #[test]
    fn a_certificate_is_gone_only_with_its_account() {
        let unknown = refused(404, "malformed", "Unable to find specified certificate.");
        assert_eq!(end_of_certificate(&unknown, true), Some(Ended::Gone));
        assert_eq!(end_of_certificate(&unknown, false), None);
        let no = refused(403, "unauthorized", "the WAF says no");
        assert_eq!(end_of_certificate(&no, true), None);
        let already = refused(400, "alreadyRevoked", "");
        assert_eq!(end_of_certificate(&already, false), Some(Ended::Before));
    }
}
