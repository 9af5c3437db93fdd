//! What a chain's result means for its worker: continue, or back off; and for the client of a fleet: whether it has a
//! certificate.

use std::time::Duration;

use wec_fleet::Outcome;
use wec_record::{Chain, ChainResult, FailureClass};

use crate::executor::Iterated;

/// How the iteration with this result ended, for the executor.
///
/// The Retry-After of the answer on which the chain failed is respected, whatever its status. If the limit
/// was about an account, an order or a certificate, that object rests ([`ChainResult::rests`]) and the worker
/// continues with others.
pub(crate) fn iterated(result: &ChainResult) -> Iterated {
    let requests = u32::try_from(result.requests.len()).unwrap_or(u32::MAX);
    if result.is_cut_off() {
        return Iterated::CutOff { requests };
    }
    let Some(class) = result.class.filter(|_| !result.rests) else { return Iterated::Answered { requests } };
    let last = result.requests.last();
    let backs_off = backs_off(class) || is_lasting(result);
    // An answer without a failure may have a Retry-After for the next poll, which does not apply after an
    // invalid order.
    let asked = last.filter(|last| backs_off || last.class.is_some()).and_then(|last| last.retry_after);
    let asked = asked.map(Duration::from_nanos);
    if !backs_off && asked.is_none() {
        return Iterated::Answered { requests };
    }
    // Failures of our own side are not repeated at full speed either.
    let ours = matches!(class, FailureClass::Internal | FailureClass::Local);
    let answered = !ours && result.requests.iter().any(|request| request.status != 0);
    Iterated::Failed { requests, answered, asked }
}

/// What a chain's result means for the client of a fleet that ran it; none if it was interrupted at the end of the run.
pub(crate) fn outcome(result: &ChainResult) -> Option<Outcome> {
    if result.is_cut_off() {
        return None;
    }
    // With `stop_before` an order without a certificate is all that is wanted.
    if result.issued || (result.successful && !result.abandoned) {
        return Some(Outcome::Issued);
    }
    let sent = result.requests.iter().any(|request| request.status != 0);
    if result.class == Some(FailureClass::Local) && !sent {
        return Some(Outcome::NotSent);
    }
    // Only of the answer that failed: one without a failure may have it for the next poll.
    let last = result.requests.last().filter(|last| last.class.is_some());
    let seconds =
        |nanoseconds: u64| i32::try_from(nanoseconds.div_ceil(1_000_000_000)).unwrap_or(i32::MAX / 4);
    let retry_after = last.and_then(|last| last.retry_after).map(seconds);
    Some(match result.status {
        429 | 503 => Outcome::Refused { retry_after },
        _ => Outcome::Failed { retry_after },
    })
}

/// Whether the CA would also refuse the next chain, because of the client and not because of the request.
fn is_lasting(result: &ChainResult) -> bool {
    const OF_WHO_ASKS: [&str; 5] = [
        "userActionRequired",
        "externalAccountRequired",
        "accountDoesNotExist",
        "invalidContact",
        "unsupportedContact",
    ];
    result.class == Some(FailureClass::Problem)
        && (result.chain == Some(Chain::Registration) || OF_WHO_ASKS.contains(&&*result.problem))
}

/// Whether a failure of this class is probably repeated by the next chain, because its reason is the CA, the
/// network or the load tester. A refused request (a problem with 4xx), a failed validation and a wrong
/// certificate are results of the chain: the next one makes another request.
const fn backs_off(class: FailureClass) -> bool {
    match class {
        FailureClass::RateLimited
        | FailureClass::BadNonce
        | FailureClass::ServerError
        | FailureClass::UnexpectedStatus
        | FailureClass::Malformed
        | FailureClass::Connect
        | FailureClass::Tls
        | FailureClass::Reset
        | FailureClass::Timeout
        | FailureClass::PollTimeout
        | FailureClass::RefusedOrigin
        | FailureClass::Internal
        | FailureClass::Local => true,
        FailureClass::Problem
        | FailureClass::Validation
        | FailureClass::WrongCertificate
        | FailureClass::Accepted
        | FailureClass::Interrupted => false,
    }
}

#[cfg(test)]
mod tests {
    use wec_record::RequestResult;

    use super::*;

    /// A chain that failed in this class with these statuses. Its last request failed, unless its status is a success.
    fn failed(class: FailureClass, statuses: &[u16], retry_after: Option<u64>) -> ChainResult {
        let mut requests: Vec<_> = statuses
            .iter()
            .map(|status| RequestResult {
                status: *status,
                class: (!(200..300).contains(status)).then_some(class),
                ..RequestResult::default()
            })
            .collect();
        if let Some(last) = requests.last_mut() {
            last.retry_after = retry_after.map(|seconds| seconds * 1_000_000_000);
        }
        ChainResult { class: Some(class), requests, ..ChainResult::default() }
    }

    #[test]
    fn backs_off_after_failures_that_the_next_chain_would_have_too() {
        use FailureClass::*;
        let on = |answered, asked: Option<u64>| Some((answered, asked.map(Duration::from_secs)));
        for (class, statuses, retry_after, expected) in [
            (ServerError, &[200, 500][..], None, on(true, None)),
            (ServerError, &[503], Some(30), on(true, Some(30))),
            (RateLimited, &[429], Some(3600), on(true, Some(3600))),
            (BadNonce, &[400, 400], None, on(true, None)),
            (UnexpectedStatus, &[302], None, on(true, None)),
            (Malformed, &[200], None, on(true, None)),
            (Connect, &[0], None, on(false, None)),
            (Tls, &[0], None, on(false, None)),
            (Reset, &[200, 0], None, on(true, None)),
            (Timeout, &[0], None, on(false, None)),
            // The Retry-After of a poll, which was not waited for.
            (PollTimeout, &[200, 200], Some(300), on(true, Some(300))),
            (RefusedOrigin, &[200], None, on(true, None)),
            (Internal, &[200], None, on(false, None)),
            (Local, &[0], None, on(false, None)),
            // A Retry-After with any status.
            (Problem, &[403], Some(10), on(true, Some(10))),
            (Problem, &[403], None, None),
            (Validation, &[200, 200], Some(5), None),
            (WrongCertificate, &[200], None, None),
            (Accepted, &[200], None, None),
            (Interrupted, &[200, 0], None, None),
        ] {
            let found = match iterated(&failed(class, statuses, retry_after)) {
                Iterated::Failed { requests, answered, asked } => {
                    assert_eq!(requests as usize, statuses.len());
                    Some((answered, asked))
                }
                _ => None,
            };
            assert_eq!(found, expected, "{class} {statuses:?} {retry_after:?}");
        }
    }

    #[test]
    fn backs_off_after_refusals_that_concern_the_client() {
        for (chain, name, expected) in [
            (Chain::Registration, "malformed", true),
            (Chain::Authorization, "userActionRequired", true),
            (Chain::Certificate, "accountDoesNotExist", true),
            (Chain::Authorization, "rejectedIdentifier", false),
            (Chain::Certificate, "badCSR", false),
        ] {
            let refused = failed(FailureClass::Problem, &[400], None);
            let result = ChainResult { chain: Some(chain), problem: name.into(), ..refused };
            let backs_off = matches!(iterated(&result), Iterated::Failed { answered: true, asked: None, .. });
            assert_eq!(backs_off, expected, "{chain} {name}");
        }
    }

    #[test]
    fn goes_on_after_a_success_and_with_other_objects_than_the_one_that_rests() {
        let request = RequestResult { status: 200, retry_after: Some(6 * 3600), ..RequestResult::default() };
        let result = ChainResult { successful: true, requests: vec![request], ..ChainResult::default() };
        assert_eq!(iterated(&result), Iterated::Answered { requests: 1 });
        let rests = ChainResult { rests: true, ..failed(FailureClass::RateLimited, &[429], Some(3600)) };
        assert_eq!(iterated(&rests), Iterated::Answered { requests: 1 });
    }

    #[test]
    fn a_client_has_a_certificate_only_if_the_ca_issued_one() {
        use FailureClass::*;
        let issued = ChainResult { successful: true, issued: true, ..ChainResult::default() };
        let abandoned = ChainResult { successful: true, abandoned: true, ..ChainResult::default() };
        let ready = ChainResult { successful: true, ..ChainResult::default() };
        let none = Outcome::Failed { retry_after: None };
        for (result, expected) in [(issued, Outcome::Issued), (ready, Outcome::Issued), (abandoned, none)] {
            assert_eq!(outcome(&result), Some(expected), "{result:?}");
        }
        let refused = |retry_after| Outcome::Refused { retry_after };
        let other = |retry_after| Outcome::Failed { retry_after };
        for (class, statuses, status, retry_after, expected) in [
            (ServerError, &[200, 503][..], 503, Some(60), refused(Some(60))),
            (ServerError, &[503], 503, None, refused(None)),
            (RateLimited, &[429], 429, Some(7), refused(Some(7))),
            (RateLimited, &[429], 429, None, refused(None)),
            (ServerError, &[500], 500, Some(5), other(Some(5))),
            (Problem, &[403], 403, None, other(None)),
            // The Retry-After of a poll does not apply to the next order.
            (Validation, &[201, 200], 0, Some(5), other(None)),
            (WrongCertificate, &[200], 0, None, other(None)),
            (Timeout, &[0], 0, None, other(None)),
            (Local, &[201, 0], 0, None, other(None)),
            (Local, &[0], 0, None, Outcome::NotSent),
        ] {
            let result = ChainResult { status, ..failed(class, statuses, retry_after) };
            assert_eq!(outcome(&result), Some(expected), "{class} {statuses:?}");
        }
        let rests = ChainResult { rests: true, status: 429, ..failed(RateLimited, &[429], Some(3_600)) };
        assert_eq!(
            outcome(&rests),
            Some(refused(Some(3_600))),
            "its account rests, and it has no certificate"
        );
        assert_eq!(outcome(&failed(Interrupted, &[200, 0], None)), None);
    }
}
