//! The virtual user: picks a chain, runs it, passes on the result.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_delivery::Sink;
use wec_record::{Chain, ChainResult, FailureClass};

use crate::executor::{BoxFuture, Gauges, Iterated, Renewal, VirtualUser, Workforce};
use crate::judgement::{iterated, outcome};
use crate::picker::{LiveWeights, pick};
use crate::saturation::Responses;

/// Shared by the workers of one runtime.
pub(crate) struct Users {
    pub(crate) context: Arc<wec_chains::Context>,
    pub(crate) weights: Arc<LiveWeights>,
    /// Counts refusals of our own machine.
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) responses: Responses,
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
            gauges: Arc::clone(&self.gauges),
            sink: Arc::clone(&self.sink),
            responses: self.responses.clone(),
            rng: StdRng::seed_from_u64(self.seed.wrapping_add(number.into())),
        })
    }
}

struct User {
    number: u32,
    context: Arc<wec_chains::Context>,
    weights: Arc<LiveWeights>,
    gauges: Arc<Gauges>,
    sink: Arc<dyn Sink>,
    responses: Responses,
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
            let Some(chain) = pick(&weights, &available, &self.context.policy.choices.steps, &mut self.rng)
            else {
                return Iterated::Idle;
            };
            let result = wec_chains::run(chain, &self.context, &mut self.rng, due, cut).await;
            self.ended(result).iterated
        })
    }

    /// Renews the member's own certificate.
    fn renew<'a>(
        &'a mut self,
        member: u32,
        due: Option<u64>,
        cut: &'a CancellationToken,
    ) -> BoxFuture<'a, Renewal> {
        Box::pin(async move {
            let member = wec_chains::Member(member);
            let result = wec_chains::renew(member, &self.context, &mut self.rng, due, cut).await;
            self.ended(result)
        })
    }
}

impl User {
    /// Passes on the result. There is none if another worker has claimed the object that the picker saw.
    fn ended(&self, result: Option<ChainResult>) -> Renewal {
        let Some(mut result) = result else { return Renewal::NOTHING_RAN };
        result.worker = self.number;
        let answered = result.requests.iter().filter(|request| request.status != 0);
        self.responses.record(answered.map(wec_record::RequestResult::service_time));
        let renewal = Renewal { iterated: iterated(&result), outcome: outcome(&result) };
        self.gauges.count_local(local_refusals(&result));
        self.sink.push(result);
        renewal
    }
}

/// How often our own machine refused: failed requests, or the chain if it failed without one.
fn local_refusals(result: &ChainResult) -> u64 {
    let is_local = |class: Option<FailureClass>| class == Some(FailureClass::Local);
    let requests = result.requests.iter().filter(|request| is_local(request.class)).count() as u64;
    requests.max(u64::from(is_local(result.class)))
}
