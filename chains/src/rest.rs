//! The object of a rate limit rests until its Retry-After, and workers continue with others.

use std::time::Duration;

use wec_acme::{Failure, FailureClass, Subject, Trace};
use wec_store::{Claim, Claimable};

use crate::context::{Context, Policy};

/// The object of the rate limit on which a chain failed, and its rest; none if nothing rests.
///
/// A rate limit without Retry-After rests nothing: the worker backs off.
pub(crate) fn of(context: &Context, trace: &Trace, failure: &Failure) -> Option<(Subject, Duration)> {
    let endpoint = trace.exchanges().last()?.endpoint;
    Some((Subject::of(endpoint, &failure.detail), time(&context.policy, failure)?))
}

fn time(policy: &Policy, failure: &Failure) -> Option<Duration> {
    // A 503 is about the server: the worker backs off.
    let limited = failure.kind == FailureClass::RateLimited && failure.status == 429;
    let asked = failure.retry_after.filter(|_| limited)?;
    Some(asked.min(policy.longest_rest?)).filter(|time| !time.is_zero())
}

/// Returns an unused claim of a failed chain; the object rests if the rate limit is about it. Returns whether
/// it rests.
pub(crate) fn put_back<T: Claimable>(
    context: &Context,
    trace: &Trace,
    claim: Claim<T>,
    failure: &Failure,
) -> bool {
    match of(context, trace, failure) {
        Some((Subject::Names, time)) => {
            claim.rest(time);
            true
        }
        _ => {
            claim.release();
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_as_long_as_asked_within_the_bound() {
        let seconds = Duration::from_secs;
        for (kind, status, asked, longest, expected) in [
            (FailureClass::RateLimited, 429, Some(10), Some(60), Some(10)),
            (FailureClass::RateLimited, 429, Some(3600), Some(60), Some(60)),
            (FailureClass::RateLimited, 429, None, Some(60), None),
            (FailureClass::RateLimited, 429, Some(0), Some(60), None),
            (FailureClass::RateLimited, 429, Some(10), Some(0), None),
            // With `hammer` no object rests.
            (FailureClass::RateLimited, 429, Some(10), None, None),
            // With a problem of type rateLimited.
            (FailureClass::RateLimited, 503, Some(10), Some(60), None),
            (FailureClass::ServerError, 503, Some(10), Some(60), None),
        ] {
            let policy = Policy { longest_rest: longest.map(seconds), ..Policy::under("wec.test") };
            let failure = Failure { status, retry_after: asked.map(seconds), ..Failure::new(kind, "") };
            assert_eq!(
                time(&policy, &failure),
                expected.map(seconds),
                "{kind:?} {status} {asked:?} {longest:?}"
            );
        }
    }
}
