//! A requester's run: workers that follow the board, from the first chain to the last flush.
//!
//! `preflight` checks whether a plan can be run, `workforce` creates the workers and what they share,
//! `report` adds load samples to the results.

mod follow;
mod preflight;
mod report;
mod workforce;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wec_acme::{Client, Clock, KeyPool};
use wec_board::{Board, NodeId, NodeInfo, RunRef, SendRight};
use wec_chains::{Linger, Removed, Remover};
use wec_delivery::Sink;
use wec_record::{Chain, Limit};
use wec_startup::{Stop, say};
use wec_store::{Available, ChallengeWriter, Object, State};

use self::follow::follow;
pub use self::preflight::{connect, preflight};
use self::report::{Counting, report};
use self::workforce::{Equipment, checker, key_pool, workforces};
use crate::conductor::{Acknowledged, Conductor, ScenarioChannels};
use crate::descriptors;
use crate::engine::{Engine, Runtimes, ScenarioSet};
use crate::error::StartError;
use crate::executor::{ArrivalSchedule, BackOff, Context, Gauges, Quota};
use crate::membership::SessionMembership;
use crate::offer::Offer;
use crate::pace::Ramp;
use crate::permit::Permit;
use crate::picker::{LiveWeights, allows};
use crate::plan::Plan;
use crate::saturation::{Sampler, Watch};
use crate::scenario::Scenario;
use crate::share::MemberShare;

/// What a requester uses; the caller closes it after the run.
#[derive(Clone)]
pub struct Parts {
    /// The process's clock.
    pub clock: Clock,
    /// A client of the CA, from [`preflight`]: every runtime uses a sibling of it.
    pub client: Arc<Client>,
    /// The stored state.
    pub state: State,
    /// The challenge store.
    pub challenges: Arc<dyn ChallengeWriter>,
    /// The destination of results.
    pub sink: Arc<dyn Sink>,
    /// The board.
    pub board: Board,
    /// The session on it.
    pub session: String,
    /// This node: its id is unique for each start of a process.
    pub node: NodeId,
    /// The runtimes of the workers.
    pub runtimes: Runtimes,
}

/// Running workers.
pub struct Requester {
    engine: Engine,
    workload: Workload,
    membership: SessionMembership,
    ready_unix_ns: u64,
    conductors: Vec<JoinHandle<()>>,
    follower: JoinHandle<()>,
    reporter: JoinHandle<Vec<Limit>>,
    keys: Arc<KeyPool>,
    remover: Remover,
    challenge_linger: Duration,
    /// The scenarios that start no more iterations.
    over: watch::Receiver<BTreeSet<String>>,
    ended: watch::Receiver<BTreeSet<String>>,
    stop: Stop,
    /// Ends the tasks that follow the board, after the workers.
    done: CancellationToken,
}

/// The end of a run.
pub struct Ran {
    /// The exceeded bounds of the load tester itself.
    pub limits: Vec<Limit>,
    /// The membership, without a share of the load.
    pub membership: SessionMembership,
    /// Whether a signal interrupted chains. A later signal has another meaning.
    pub cut_by_signal: bool,
}

impl Requester {
    /// Joins the session, or creates it, and starts this node's share of its load.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind then.
    pub async fn start(plan: &Plan, parts: Parts, stop: Stop) -> Result<Self, StartError> {
        let wanted = plan.session(&parts.session).of_run(parts.node.id.clone());
        let membership = SessionMembership::take(&parts.board, wanted, &parts.node).await?;
        Self::start_at(membership, plan, parts, stop).await
    }

    /// The same for a node that has joined.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind then, and the session has been left.
    pub async fn start_at(
        mut membership: SessionMembership,
        plan: &Plan,
        parts: Parts,
        stop: Stop,
    ) -> Result<Self, StartError> {
        parts.state.follow(parts.client.ca_clock());
        let prepared = match something_to_do(plan, &parts, &membership).and_then(|()| checker(plan)) {
            Ok(checker) => key_pool(plan).await.map(|keys| (checker, keys)),
            Err(error) => Err(error),
        };
        let (checker, keys) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                membership.leave().await;
                return Err(error);
            }
        };
        if let Some(warning) = descriptors::warning(plan, wec_startup::open_files()) {
            tracing::warn!("{warning}");
        }
        let (tell_ended, ended) = watch::channel(BTreeSet::new());
        let all_channels: Vec<ScenarioChannels> = plan
            .scenarios
            .iter()
            .map(|scenario| channels_of(scenario, &parts, membership.right(), &stop))
            .collect();
        let with_channels = || plan.scenarios.iter().zip(&all_channels);
        let seed = plan.seed.wrapping_add(membership.place);
        let threads = parts.runtimes.count();
        let scenarios = with_channels().zip(0u64..).map(|((scenario, channels), index)| {
            // Each scenario, node and runtime has its own arrivals: together they are also Poisson.
            let seed = seed.wrapping_add(index << 32);
            let max_retry_after = plan.patience.max_retry_after;
            let back_off = BackOff { on_failure: scenario.on_failure, max_retry_after, seed };
            (
                scenario.name.clone(),
                scenario.load.start(context(scenario, channels, parts.clock, back_off, threads)),
            )
        });
        let set = ScenarioSet { scenarios: scenarios.collect(), ended: tell_ended };
        let (linger, remover) = Linger::start(plan.plain.challenge_linger.0, Arc::clone(&parts.challenges));
        let watch = Watch::new(parts.clock, threads);
        let certificate_keys = Arc::clone(&keys.certificates);
        let equipment = Equipment { keys, checker, linger, right: membership.right().deadline() };
        let workforces = workforces(plan, &parts, equipment, &all_channels, &watch);
        let engine = match Engine::start(parts.runtimes, set, workforces, &watch, &stop).await {
            Ok(engine) => engine,
            Err(error) => {
                remover.finish(std::future::ready(())).await;
                membership.leave().await;
                return Err(error);
            }
        };
        let ready_unix_ns = parts.clock.unix_now_ns();
        // A node that is ready gets a share of the load, and the others get less.
        membership.ready();
        let gauges =
            with_channels().map(|(scenario, channels)| (scenario.name.clone(), Arc::clone(&channels.gauges)));
        let workload = Workload(gauges.collect());
        let done = CancellationToken::new();
        let follower = tokio::spawn(follow(parts.clone(), stop.finish.clone()));
        let sampler = Sampler::new(watch, plan.bounds);
        let counting = with_channels().map(|(scenario, channels)| Counting {
            scenario: scenario.clone(),
            gauges: Arc::clone(&channels.gauges),
            schedule: channels.schedule.subscribe(),
        });
        let counting = counting.collect();
        // A node that cannot lose its share to others has nobody to leave load to.
        let shares = membership.right().ends();
        let offer = shares.then(|| Offer::new(membership.entry(), membership.strength.clone()));
        let reporter = tokio::spawn(report(parts.clone(), counting, sampler, offer, done.clone()));
        let (tell_over, over) = watch::channel(BTreeSet::new());
        let tell_over = Arc::new(tell_over);
        let first_share = Arc::default();
        let acknowledged = Arc::new(Acknowledged::new(membership.entry()));
        let demands = Arc::default();
        let right = membership.right();
        let conductors = plan.scenarios.iter().zip(all_channels).map(|(scenario, channels)| {
            let conductor = Conductor {
                scenario: scenario.clone(),
                channels,
                board: parts.board.clone(),
                run: RunRef::new(&parts.session, membership.run()),
                node: parts.node.id.clone(),
                right: right.clone(),
                acknowledged: Arc::clone(&acknowledged),
                demands: Arc::clone(&demands),
                clock: parts.clock,
                graceful_stop: plan.plain.graceful_stop.0,
                over: Arc::clone(&tell_over),
                ended: ended.clone(),
                ready_unix_ns: Arc::clone(&first_share),
            };
            tokio::spawn(conductor.run())
        });
        let conductors = conductors.collect();
        Ok(Self {
            engine,
            workload,
            membership,
            ready_unix_ns,
            conductors,
            follower,
            reporter,
            keys: certificate_keys,
            remover,
            challenge_linger: plan.plain.challenge_linger.0,
            over,
            ended,
            stop,
            done,
        })
    }

    /// The counters of the workers.
    pub fn workload(&self) -> Workload {
        self.workload.clone()
    }

    /// When everything was ready and the load could begin, by its clock; nanoseconds since the Unix epoch.
    pub const fn ready_unix_ns(&self) -> u64 {
        self.ready_unix_ns
    }

    /// Waits until no scenario starts more iterations; the last chains may still run.
    pub fn over(&self) -> impl Future<Output = ()> + use<> {
        let (mut over, scenarios) = (self.over.clone(), self.workload.0.len());
        async move {
            // It fails only if all senders are gone.
            let _ = over.wait_for(|over| over.len() == scenarios).await;
        }
    }

    /// Runs the scenarios to their ends, or until `stop.finish`, and waits for the last iteration. Returns
    /// the exceeded bounds of the load tester itself.
    pub async fn run(self) -> Vec<Limit> {
        let Ran { limits, membership, .. } = self.run_and_stay().await;
        membership.leave().await;
        limits
    }

    /// The same, but keeps the membership, so that others see this node, without a share of the load, until
    /// it leaves.
    pub async fn run_and_stay(self) -> Ran {
        self.over().await;
        let Self {
            engine,
            workload,
            mut membership,
            conductors,
            follower,
            reporter,
            keys,
            remover,
            challenge_linger,
            mut ended,
            stop,
            done,
            ..
        } = self;
        stop.finish.cancel();
        let _ = ended.wait_for(|ended| ended.len() == workload.0.len()).await;
        let cut_by_signal = stop.by_signal() && stop.cut.is_cancelled();
        membership.rest();
        engine.join().await;
        close(keys).await;
        for conductor in conductors {
            if let Err(error) = conductor.await {
                tracing::error!(%error, "a scenario's conductor ended by a panic");
            }
        }
        done.cancel();
        if let Err(error) = follower.await {
            tracing::error!(%error, "the follower of the board ended by a panic");
        }
        let limits = reporter.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the reports of the load ended by a panic");
            Vec::new()
        });
        // Last, because samples of this time would make the run longer than its load, and its rates lower.
        take_back(remover, challenge_linger, &stop).await;
        Ran { limits, membership, cut_by_signal }
    }
}

/// The counters of the workers of all scenarios.
#[derive(Clone, Debug, Default)]
pub struct Workload(pub Vec<(String, Arc<Gauges>)>);

impl Workload {
    fn sum(&self, of: impl Fn(&Gauges) -> u64) -> u64 {
        self.0.iter().map(|(_, gauges)| of(gauges)).sum()
    }

    /// Current number of workers.
    pub fn workers(&self) -> u64 {
        self.sum(Gauges::workers)
    }

    /// Workers that are running an iteration.
    pub fn busy(&self) -> u64 {
        self.sum(Gauges::busy)
    }

    /// Iterations ended, without idle ones.
    pub fn iterations(&self) -> u64 {
        self.sum(Gauges::iterations)
    }

    /// How often a worker found no chain that it could run.
    pub fn idle(&self) -> u64 {
        self.sum(Gauges::idle)
    }

    /// Iterations that were due while no worker was free.
    pub fn dropped(&self) -> u64 {
        self.sum(Gauges::dropped)
    }
}

/// Whether the hard limits allow any chain. Objects that others may still return or make are not considered
/// missing.
fn something_to_do(plan: &Plan, parts: &Parts, membership: &SessionMembership) -> Result<(), StartError> {
    let reached = parts.state.limits_reached();
    // If the session's limits were changed, they are not those of this plan.
    if reached.is_empty() || plan.limits != membership.session.spec.limits {
        return Ok(());
    }
    let (counts, open) = (parts.state.counts(), |kind| !reached.iter().any(|(reached, _)| *reached == kind));
    let available = Available {
        registrations: counts.registrations > 0,
        exclusive_registrations: counts.registrations > 0,
        orders: counts.authorizations > 0,
        certificates: counts.certificates > 0,
        may_register: open(Object::Registration),
        may_authorize: open(Object::Order),
        may_certify: open(Object::Certificate),
    };
    let can = |scenario: &Scenario| {
        let (weights, steps) = (&scenario.weights, &scenario.choices.steps);
        Chain::ALL.iter().any(|chain| weights.of(*chain) > 0.0 && allows(&available, *chain, steps))
    };
    if plan.scenarios.iter().any(can) {
        return Ok(());
    }
    Err(StartError::LimitsReached { state: plan.state.clone(), reached })
}

/// The channels of a scenario's executors, without a target yet.
fn channels_of(scenario: &Scenario, parts: &Parts, right: SendRight, stop: &Stop) -> ScenarioChannels {
    let cap = scenario.load.workers().peak() as u32;
    // With the present shares; it makes no load yet.
    let nodes = parts.board.nodes().borrow().clone();
    let other = |node: &&NodeInfo| node.id != parts.node.id && node.shares_load_of(&parts.session);
    let others = nodes.iter().filter(other).count() as u32;
    let workers_cap = cap.div_ceil(others + 1);
    let ramp = Ramp::constant(0.0);
    let waiting = ArrivalSchedule {
        ramp,
        origin: 0,
        paused_at: Some(0),
        workers_cap,
        registration: 0,
        members: MemberShare::default(),
        of_all: None,
    };
    ScenarioChannels {
        workers: watch::Sender::new(0),
        schedule: watch::Sender::new(Arc::new(waiting)),
        weights: Arc::new(LiveWeights::new(scenario.weights)),
        events: watch::Sender::default(),
        gauges: Arc::default(),
        quota: scenario.load.iterations().map(|_| Quota::open()),
        permit: Arc::new(Permit::new(right)),
        stop: stop.child(),
    }
}

/// What a scenario's executors use in this process.
fn context(
    scenario: &Scenario,
    channels: &ScenarioChannels,
    clock: Clock,
    back_off: BackOff,
    runtimes: u32,
) -> Context {
    Context {
        gauges: Arc::clone(&channels.gauges),
        workers: channels.workers.subscribe(),
        schedule: channels.schedule.subscribe(),
        events: channels.events.subscribe(),
        quota: channels.quota.clone(),
        think_time: scenario.think_time.clone(),
        back_off,
        clock,
        runtimes,
        permit: Arc::clone(&channels.permit),
        stop: channels.stop.clone(),
    }
}

/// Waits until the challenge data of the last authorizations has been kept for the linger time. A signal, now
/// or before, removes it at once.
async fn take_back(remover: Remover, linger: Duration, stop: &Stop) {
    let impatient = async {
        if stop.by_signal() {
            return;
        }
        // The stage for the next signal.
        let next = if stop.cut.is_cancelled() { &stop.enough } else { &stop.cut };
        let told = async {
            // A short wait is not reported.
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.mark_over();
            say(format_args!(
                "the load has ended; challenge data stays for late validations, up to {} more: interrupt to remove it now",
                humantime::format_duration(linger.saturating_sub(Duration::from_secs(1)))
            ));
            std::future::pending::<()>().await;
        };
        tokio::select! { () = told => {} () = next.cancelled() => {} }
    };
    let removed = remover.finish(impatient).await;
    if removed != Removed::default() {
        tracing::warn!(
            early = removed.early,
            failed = removed.failed,
            "challenge data was removed early because too much was kept, or not at all because the store refused"
        );
    }
}

/// Stops making RSA keys, and reports keys that the CA blocked.
async fn close(keys: Arc<KeyPool>) {
    let (retired, waits) = (keys.retired(), keys.waits());
    if retired > 0 {
        say(format_args!(
            "{retired} RSA keys were replaced because the CA blocked them; certificates waited {waits} times for a new one"
        ));
    }
    if let Err(error) = tokio::task::spawn_blocking(move || keys.close()).await {
        tracing::error!(%error, "closing the stock of RSA keys ended by a panic");
    }
}
