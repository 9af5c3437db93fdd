//! One run of one chain, from the moment it is due to its result.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_acme::{Failure, FailureKind, Trace};
use wec_record::{Chain, ChainResult};
use wec_store::Registration;

use crate::context::{Connections, Context};
use crate::present::Presented;
use crate::{authorization, certificate, refresh, registration, result, revoke, steps};

/// Bound of taking back challenge data at the end of a chain.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// What one run of a chain has in hand.
pub(crate) struct Scene<'a> {
    pub(crate) context: &'a Context,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) trace: &'a mut Trace,
    pub(crate) presented: &'a mut Presented,
    /// The account whose key signs: whose fault it is when the CA does not know it.
    pub(crate) signer: Option<Arc<Registration>>,
}

/// How a chain ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should.
    Done,
    /// It left an order unfinished, as it should.
    Abandoned,
    /// There was nothing in the stored state to do it with, or a limit leaves no room for what it makes.
    NothingToDo,
}

/// Runs `chain` to its result, and takes back the challenge data that it put.
///
/// `due` is when an open model wanted it started, nanoseconds of the context's clock; none in a closed model. When
/// `cut` is cancelled the chain is dropped where it stands: the result is an interrupted one with everything that
/// it did until then, and what it had claimed goes back to the state as suspect.
///
/// The answer is none when there was nothing to do and nothing was sent: another worker took the last order or
/// certificate between the pick and the claim, or a limit was reached.
pub async fn run(
    chain: Chain,
    context: &Context,
    rng: &mut StdRng,
    due: Option<u64>,
    cut: &CancellationToken,
) -> Option<ChainResult> {
    let started = context.clock.now();
    let mut trace = Trace::new(context.clock);
    let mut presented = Presented::default();
    let stranger;
    let context = if context.policy.connections == Connections::PerChain {
        stranger = context.with(context.client.stranger());
        &stranger
    } else {
        context
    };
    let outcome = {
        let mut scene = Scene { context, rng, trace: &mut trace, presented: &mut presented, signer: None };
        // Handed over by value it would lie in the worker's memory twice: as what is handed over, and as what runs.
        let running = pin!(async {
            let outcome = dispatch(chain, &mut scene).await;
            if let (Err(failure), Some(signer)) = (&outcome, &scene.signer)
                && steps::is_unknown_account(failure)
            {
                context.state.registration_gone(signer).await;
            }
            outcome
        });
        cut.run_until_cancelled(running).await
    };
    let did = trace.into_parts();
    let times = result::Times { due: due.unwrap_or(started), started, done: context.clock.now() };
    let outcome = outcome
        .unwrap_or_else(|| Err(Failure::new(FailureKind::Interrupted, "cut off by the end of the run")));

    if tokio::time::timeout(CLEAN_UP, presented.take_back(&*context.challenges)).await.is_err() {
        tracing::warn!(%chain, "challenge data could not be taken back in time");
    }
    if outcome == Ok(Outcome::NothingToDo) && did.0.is_empty() {
        return None;
    }
    let abandoned = outcome == Ok(Outcome::Abandoned);
    Some(ChainResult { abandoned, ..result::of(chain, times, did, outcome.err()) })
}

async fn dispatch(chain: Chain, scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    match chain {
        Chain::Registration => registration::registration(scene).await,
        Chain::Authorization => authorization::authorization(scene).await,
        Chain::Certificate => certificate::certificate(scene).await,
        Chain::Refresh => refresh::refresh(scene).await,
        Chain::Revoke => revoke::revoke(scene).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand workers that wait are ten thousand of these. It once was twice as large, by one await.
    #[test]
    fn a_running_chain_takes_less_than_four_kib() {
        const fn size<A, F: Future>(_: &impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        type Asked = (Chain, &'static Context, &'static mut StdRng, Option<u64>, &'static CancellationToken);
        let size = size(&|(chain, context, rng, due, cut): Asked| run(chain, context, rng, due, cut));
        assert!(size < 4096, "{size} bytes");
    }
}
