//! The virtual user: picks a chain, runs it, hands the result on.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_record::{Chain, ChainResult, FailureClass};

use crate::executor::{BoxFuture, Iterated, VirtualUser, Workforce};
use crate::picker::{LiveWeights, pick};
use crate::sink::Sink;

/// What the workers of one runtime share.
pub(crate) struct Users {
    pub(crate) context: Arc<wec_chains::Context>,
    pub(crate) weights: Arc<LiveWeights>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) seed: u64,
    /// The number of its first worker.
    pub(crate) first: u32,
}

impl Workforce for Users {
    fn worker(&self, number: u32) -> Box<dyn VirtualUser> {
        let number = self.first.saturating_add(number);
        Box::new(User {
            number,
            context: self.context.for_worker(),
            weights: Arc::clone(&self.weights),
            sink: Arc::clone(&self.sink),
            rng: StdRng::seed_from_u64(self.seed.wrapping_add(number.into())),
        })
    }
}

struct User {
    number: u32,
    context: Arc<wec_chains::Context>,
    weights: Arc<LiveWeights>,
    sink: Arc<dyn Sink>,
    rng: StdRng,
}

impl VirtualUser for User {
    fn iterate<'a>(&'a mut self, due: Option<u64>, cut: &'a CancellationToken) -> BoxFuture<'a, Iterated> {
        Box::pin(async move {
            let available = self.context.state.available();
            let mut weights = self.weights.now();
            for chain in Chain::ALL.into_iter().filter(|chain| !self.context.policy.runs(*chain)) {
                weights.set(chain, 0.0);
            }
            let Some(chain) = pick(&weights, &available, &mut self.rng) else { return Iterated::Idle };
            // Another worker may have claimed the last of what the picker saw: then there is no result.
            let Some(mut result) = wec_chains::run(chain, &self.context, &mut self.rng, due, cut).await
            else {
                return Iterated::Idle;
            };
            result.worker = self.number;
            let requests = u32::try_from(result.requests.len()).unwrap_or(u32::MAX);
            let iterated = if was_answered(&result) {
                Iterated::Answered { requests }
            } else {
                Iterated::Unanswered { requests }
            };
            self.sink.push(result);
            iterated
        })
    }
}

/// Whether the CA said anything at all during a chain. Failures of our own side count as not answered: repeating
/// them at full speed helps nobody either.
fn was_answered(result: &ChainResult) -> bool {
    result.successful
        || (result.class != Some(FailureClass::Internal)
            && result.requests.iter().any(|request| request.status != 0))
}

#[cfg(test)]
mod tests {
    use wec_record::RequestResult;

    use super::*;

    fn result(successful: bool, class: Option<FailureClass>, statuses: &[u16]) -> ChainResult {
        let requests =
            statuses.iter().map(|status| RequestResult { status: *status, ..RequestResult::default() });
        ChainResult { successful, class, requests: requests.collect(), ..ChainResult::default() }
    }

    #[test]
    fn a_failure_with_any_status_was_answered() {
        assert!(was_answered(&result(true, None, &[201])));
        assert!(was_answered(&result(false, Some(FailureClass::ServerError), &[200, 500])));
        assert!(was_answered(&result(false, Some(FailureClass::Reset), &[200, 0])));
        assert!(!was_answered(&result(false, Some(FailureClass::Connect), &[0])));
        assert!(!was_answered(&result(false, Some(FailureClass::Internal), &[200])));
    }
}
