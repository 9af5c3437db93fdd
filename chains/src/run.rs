//! One run of one chain, from its due time to its result.

use std::num::NonZeroU8;
use std::pin::pin;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_acme::clock::{Deadline, reading};
use wec_acme::{Behaviour, Failure, FailureClass, MOST_STEPS, Subject, Trace};
use wec_record::{Chain, ChainResult};

use crate::choices::Connections;
use crate::context::Context;
use crate::member::Member;
use crate::present::Presented;
use crate::scene::{Notes, Outcome, Scene};
use crate::{chain, issuance, rest, result, steps};

/// Time limit for removing challenge data at the end of a chain.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Runs `chain` to its result, and removes the challenge data that it stored.
///
/// `due` is the due time in an open model, nanoseconds of the context's clock; none in a closed model. When
/// `cut` is cancelled, the chain is dropped at once: the result is an interrupted one with everything done
/// until then, and its claims become suspect. When the right to send ends, the result is an interrupted one as well,
/// with the detail `lease`, instead of the chain's next request.
///
/// Returns none when there was nothing to do and nothing was sent: another worker took the last order or
/// certificate between the pick and the claim, or a limit was reached.
pub fn run(
    chain: Chain,
    context: &Context,
    rng: &mut StdRng,
    due: Option<u64>,
    cut: &CancellationToken,
) -> impl Future<Output = Option<ChainResult>> {
    run_for((chain, None), context, rng, due, cut)
}

/// Renews the certificate of a member of a fleet, as [`run`] runs the chain refresh.
pub fn renew(
    member: Member,
    context: &Context,
    rng: &mut StdRng,
    due: Option<u64>,
    cut: &CancellationToken,
) -> impl Future<Output = Option<ChainResult>> {
    run_for((Chain::Refresh, Some(member)), context, rng, due, cut)
}

async fn run_for(
    (chain, member): (Chain, Option<Member>),
    context: &Context,
    rng: &mut StdRng,
    due: Option<u64>,
    cut: &CancellationToken,
) -> Option<ChainResult> {
    let started = context.clock.now();
    let mut trace = Trace::new(context.clock).within(context.right.as_ref().map(Deadline::begin));
    let behaviour = context.policy.choices.behaviours.draw(rng, |_| true).unwrap_or_default();
    if behaviour != Behaviour::Proper {
        let abandons = behaviour == Behaviour::Abandons;
        trace.behave(behaviour, NonZeroU8::new(if abandons { rng.random_range(1..=MOST_STEPS) } else { 0 }));
    }
    let mut presented = Presented::default();
    let stranger;
    let context = if context.policy.choices.connections == Connections::PerChain {
        // Few chains need it, so it is not part of every worker's memory.
        stranger = Box::new(context.with(context.client.stranger()));
        &*stranger
    } else {
        context
    };
    let (outcome, notes) = {
        let mut scene = Scene {
            context,
            rng,
            trace: &mut trace,
            presented: &mut presented,
            signer: None,
            member,
            must_fail: false,
            failed_on_purpose: false,
            notes: Box::default(),
        };
        // Passed by value, it would be in the worker's memory twice: as the argument and as the running
        // future.
        let outcome = {
            let running = pin!(async {
                let outcome = match chain::dispatch(chain, &mut scene).await {
                    // The validation that had to fail has failed in the right way.
                    Err(_) if scene.failed_on_purpose => Ok(Outcome::Abandoned),
                    Err(_) if scene.trace.is_abandoned() => Ok(Outcome::Abandoned),
                    outcome => outcome,
                };
                if let (Err(failure), Some(signer)) = (&outcome, &scene.signer) {
                    if steps::is_unknown_account(failure) {
                        context.state.registration_gone(signer).await;
                    } else if let Some((Subject::Account, time)) = rest::of(context, scene.trace, failure) {
                        context.state.rest_registration(signer, time);
                        scene.notes.rests = true;
                    }
                }
                outcome
            });
            cut.run_until_cancelled(running).await
        };
        (outcome, scene.notes)
    };
    // Boxed: data held while challenge data is removed would be part of every worker's memory.
    let result = closed(context, chain, (due, started), (trace, notes), outcome).map(Box::new);
    let ended = presented.end(&*context.challenges, &context.linger);
    if tokio::time::timeout(CLEAN_UP, ended).await.is_err() {
        tracing::warn!(%chain, "cannot remove challenge data in time");
    }
    result.map(|result| *result)
}

/// The result of a chain that ends now; none when it had nothing to do and did nothing. Without an outcome it
/// was interrupted.
fn closed(
    context: &Context,
    chain: Chain,
    (due, started): (Option<u64>, u64),
    (trace, notes): (Trace, Box<Notes>),
    outcome: Option<Result<Outcome, Failure>>,
) -> Option<ChainResult> {
    let Notes { profile, unverified, order, serial, authorizations, rests } = *notes;
    let waited = trace.waited();
    let (exchanges, keygen) = trace.into_parts();
    let did = result::Did { exchanges, keygen, waited, authorizations };
    let times = result::Times { due: due.map_or(started, reading), started, done: context.clock.now() };
    let outcome = outcome
        .unwrap_or_else(|| Err(Failure::new(FailureClass::Interrupted, "interrupted at the end of the run")));
    if outcome == Ok(Outcome::NothingToDo) && did.exchanges.is_empty() {
        return None;
    }
    // A chain that only found a stored object unusable is not a success, and its time is not counted.
    let abandoned = matches!(outcome, Ok(Outcome::Abandoned | Outcome::NothingToDo));
    let (issued, issuance) = match outcome {
        Ok(Outcome::Issued(part)) => (true, issuance::whole(part, &did.exchanges, did.keygen)),
        _ => (false, None),
    };
    Some(ChainResult {
        abandoned,
        rests,
        issued,
        issuance,
        scenario: context.policy.scenario.clone(),
        profile,
        unverified,
        order,
        serial,
        ..result::of(chain, times, did, outcome.err())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand waiting workers hold ten thousand of these futures. One more await once doubled their size.
    #[test]
    fn a_running_chain_takes_less_than_two_and_a_half_kib() {
        const fn size<A, F: Future>(_: &impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        type Asked = (Chain, &'static Context, &'static mut StdRng, Option<u64>, &'static CancellationToken);
        let size = size(&|(chain, context, rng, due, cut): Asked| run(chain, context, rng, due, cut));
        assert!(size < 2560, "{size} bytes");
    }
}
