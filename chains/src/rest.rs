//! What a 429 is about rests until its Retry-After, and workers go on with others.

use std::time::Duration;

use wec_acme::{Failure, FailureClass, Subject, Trace};
use wec_store::{Claim, Claimable};

use crate::context::{Context, Policy};

/// What the limit is about that a chain failed on, and how long that is to rest; none when nothing is.
///
/// A limit without Retry-After rests nothing: the worker backs off.
pub(crate) fn of(context: &Context, trace: &Trace, failure: &Failure) -> Option<(Subject, Duration)> {
    let endpoint = trace.exchanges().last()?.endpoint;
    Some((Subject::of(endpoint, &failure.detail), time(&context.policy, failure)?))
}

fn time(policy: &Policy, failure: &Failure) -> Option<Duration> {
    // A 503 is about the server: the worker rests.
    let limited = failure.kind == FailureClass::RateLimited && failure.status == 429;
    let asked = failure.retry_after.filter(|_| limited)?;
    Some(asked.min(policy.longest_rest?)).filter(|time| !time.is_zero())
}

/// Puts back what a failed chain has not used: to rest, when the limit that it failed on is about it. Says whether it rests.
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
            // Workers hammer, and nothing rests.
            (FailureClass::RateLimited, 429, Some(10), None, None),
            // A problem of type rateLimited may come with it.
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
