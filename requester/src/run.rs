//! A requester's run: workers that follow the board, from the first chain to the last flush.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use wec_acme::{Checker, Client, Clock, Config, KeyPool, Policy, Roots};
use wec_board::{Board, Session, SessionState, Versioned};
use wec_record::{Chain, Limit, StateCounts};
use wec_startup::Stop;
use wec_store::{Available, ChallengeWriter, Kind, Limits, State};

use crate::conductor::{Conductor, Lead};
use crate::engine::{Engine, Executor, Programme, Recruit};
use crate::error::StartError;
use crate::executor::{
    ArrivalRate, Course, Gauges, Habits, Quota, Relay, TargetRps, Unit, Workers, Workforce,
};
use crate::guard;
use crate::pace::{Ramp, Spacing};
use crate::picker::{LiveWeights, allows};
use crate::plan::Plan;
use crate::saturation::{Counted, Sampler, Watch};
use crate::scenario::{Load, MAX_WORKERS, Scenario};
use crate::seat::Seat;
use crate::share::ready;
use crate::sink::Sink;
use crate::user::Users;

/// How often the state's counts go into the results.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Whether `plan` can be run at all: its target may be loaded, is there, is trusted, speaks ACME and would register
/// accounts. Gives the client that found out; those of the run are siblings of it, so that the CA is asked for its directory
/// once.
///
/// Comes before anything is opened, so that a run that cannot be leaves nothing behind.
///
/// # Errors
/// See [`StartError`].
pub async fn preflight(plan: &Plan, clock: Clock) -> Result<Client, StartError> {
    guard::check(&plan.directory, &plan.permission).await?;
    let client = Client::discover(client_config(plan)?, clock).await?;
    let registers = plan.scenarios.iter().any(|scenario| scenario.weights.of(Chain::Registration) > 0.0);
    if registers && plan.eab.is_none() && client.directory().meta.external_account_required {
        return Err(StartError::ExternalAccountRequired { directory: plan.directory.to_string() });
    }
    Ok(client)
}

/// What a requester works with; whoever made it closes it, after the run.
#[derive(Clone)]
pub struct Parts {
    /// The process's clock.
    pub clock: Clock,
    /// A client of the CA, from [`preflight`]: every runtime takes a sibling of it.
    pub client: Arc<Client>,
    /// What the CA has been made to know.
    pub state: State,
    /// Where challenge data goes.
    pub challenges: Arc<dyn ChallengeWriter>,
    /// Where results go.
    pub sink: Arc<dyn Sink>,
    /// What is followed.
    pub board: Board,
    /// Which session on it.
    pub session: String,
    /// This node: its id is unique for each start of a process.
    pub node: NodeId,
}

/// Who a process is on the board and in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// Unique for each start of a process.
    pub id: String,
    /// For people.
    pub name: String,
}

impl NodeId {
    /// A new id behind `name`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { id: format!("{name}-{:08x}", rand::random::<u32>()), name }
    }
}

/// Workers at work.
pub struct Requester {
    engine: Engine,
    workload: Workload,
    seat: Seat,
    ready_unix_ns: u64,
    conductors: Vec<JoinHandle<()>>,
    follower: JoinHandle<()>,
    reporter: JoinHandle<Vec<Limit>>,
    /// The scenarios of which nothing more is wanted.
    over: watch::Receiver<BTreeSet<String>>,
    ended: watch::Receiver<BTreeSet<String>>,
    stop: Stop,
    /// Ends the followers, after the workers.
    done: CancellationToken,
}

/// What came of a run.
pub struct Ran {
    /// The bounds of the load tester itself that were exceeded.
    pub limits: Vec<Limit>,
    /// The seat at the session, without a share of its load.
    pub seat: Seat,
    /// Whether a signal cut chains off. One that comes later is about something else.
    pub cut_by_signal: bool,
}

impl Requester {
    /// Takes a seat at the session, opening it if nobody has, and starts this node's share of its load.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind then.
    pub async fn start(plan: &Plan, parts: Parts, stop: Stop) -> Result<Self, StartError> {
        let wanted = Session { run: parts.node.id.clone(), ..plan.session(&parts.session) };
        let seat = Seat::take(&parts.board, wanted, &parts.node).await?;
        Self::start_at(seat, plan, parts, stop).await
    }

    /// The same at a seat that has been taken.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left behind then, and the seat has been left.
    pub async fn start_at(mut seat: Seat, plan: &Plan, parts: Parts, stop: Stop) -> Result<Self, StartError> {
        let prepared = match something_to_do(plan, &parts, &seat) {
            Ok(()) => key_pool(plan).await,
            Err(error) => Err(error),
        };
        let keys = match prepared {
            Ok(keys) => keys,
            Err(error) => {
                seat.leave().await;
                return Err(error);
            }
        };
        let (tell_ended, ended) = watch::channel(BTreeSet::new());
        let leads: Vec<Lead> = plan.scenarios.iter().map(|scenario| lead(scenario, &parts, &stop)).collect();
        let led = || plan.scenarios.iter().zip(&leads);
        let seed = plan.seed.wrapping_add(seat.place);
        let threads = u32::try_from(plan.threads).unwrap_or(u32::MAX);
        let scenarios = led().zip(0u64..).map(|((scenario, lead), index)| {
            // Arrivals of their own for each scenario, node and, further on, runtime: together they are Poisson's, too.
            let seed = seed.wrapping_add(index << 32);
            (scenario.name.clone(), executor(scenario, lead, parts.clock, seed, threads))
        });
        let programme = Programme { scenarios: scenarios.collect(), ended: tell_ended };
        let recruit = recruit(plan, &parts, &keys, &leads);
        let watch = Watch::new(parts.clock, threads);
        let engine = match Engine::start(threads, programme, recruit, &watch, &stop).await {
            Ok(engine) => engine,
            Err(error) => {
                seat.leave().await;
                return Err(error);
            }
        };
        let ready_unix_ns = parts.clock.unix_now_ns();
        // Whoever is ready gets a share of the load, and those who are at it give one.
        seat.ready();
        let gauges = led().map(|(scenario, lead)| (scenario.name.clone(), Arc::clone(&lead.gauges)));
        let workload = Workload(gauges.collect());
        let done = CancellationToken::new();
        let follower = tokio::spawn(follow(parts.clone(), stop.finish.clone()));
        let sampler = Sampler::new(watch, plan.bounds);
        let counting = led().map(|(scenario, lead)| Counting {
            scenario: scenario.clone(),
            gauges: Arc::clone(&lead.gauges),
            course: lead.course.subscribe(),
        });
        let counting = counting.collect();
        let reporter = tokio::spawn(report(parts.clone(), counting, sampler, done.clone()));
        let (tell_over, over) = watch::channel(BTreeSet::new());
        let tell_over = Arc::new(tell_over);
        let conductors = plan.scenarios.iter().zip(leads).map(|(scenario, lead)| {
            let conductor = Conductor {
                scenario: scenario.clone(),
                lead,
                board: parts.board.clone(),
                session: parts.session.clone(),
                run: seat.run().to_owned(),
                node: parts.node.id.clone(),
                clock: parts.clock,
                graceful_stop: plan.graceful_stop,
                over: Arc::clone(&tell_over),
                ended: ended.clone(),
            };
            tokio::spawn(conductor.run())
        });
        let conductors = conductors.collect();
        Ok(Self {
            engine,
            workload,
            seat,
            ready_unix_ns,
            conductors,
            follower,
            reporter,
            over,
            ended,
            stop,
            done,
        })
    }

    /// What the workers count.
    pub fn workload(&self) -> Workload {
        self.workload.clone()
    }

    /// When its clock said that all was ready, and the load could begin; nanoseconds since the Unix epoch.
    pub const fn ready_unix_ns(&self) -> u64 {
        self.ready_unix_ns
    }

    /// Waits until nothing more is wanted of any scenario: the last chains may still run.
    pub fn over(&self) -> impl Future<Output = ()> + use<> {
        let (mut over, scenarios) = (self.over.clone(), self.workload.0.len());
        async move {
            // It fails only where all who could say more have gone.
            let _ = over.wait_for(|over| over.len() == scenarios).await;
        }
    }

    /// Lets the scenarios run to their ends, or until `stop.finish`, and waits for the last iteration. Gives the bounds of the
    /// load tester itself that were exceeded on the way.
    pub async fn run(self) -> Vec<Limit> {
        let Ran { limits, seat, .. } = self.run_and_stay().await;
        seat.leave().await;
        limits
    }

    /// The same, with the seat held until it is left: so long this node is seen to be at it, without a share of the load.
    pub async fn run_and_stay(self) -> Ran {
        self.over().await;
        let Self {
            engine, workload, mut seat, conductors, follower, reporter, mut ended, stop, done, ..
        } = self;
        stop.finish.cancel();
        let _ = ended.wait_for(|ended| ended.len() == workload.0.len()).await;
        let cut_by_signal = stop.by_signal() && stop.cut.is_cancelled();
        seat.rest();
        engine.join().await;
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
        Ran { limits, seat, cut_by_signal }
    }
}

/// What the workers of all scenarios count.
#[derive(Clone, Debug, Default)]
pub struct Workload(pub Vec<(String, Arc<Gauges>)>);

impl Workload {
    fn sum(&self, of: impl Fn(&Gauges) -> u64) -> u64 {
        self.0.iter().map(|(_, gauges)| of(gauges)).sum()
    }

    /// Workers alive.
    pub fn workers(&self) -> u64 {
        self.sum(Gauges::workers)
    }

    /// Workers in the middle of an iteration.
    pub fn busy(&self) -> u64 {
        self.sum(Gauges::busy)
    }

    /// Iterations ended, idle ones not among them.
    pub fn iterations(&self) -> u64 {
        self.sum(Gauges::iterations)
    }

    /// Times that a worker found nothing it was allowed to run.
    pub fn idle(&self) -> u64 {
        self.sum(Gauges::idle)
    }

    /// Iterations that were due and that no worker was free for.
    pub fn dropped(&self) -> u64 {
        self.sum(Gauges::dropped)
    }
}

/// Whether there is anything that the hard limits leave to do. What others may still give back, or make, does not count
/// against it.
fn something_to_do(plan: &Plan, parts: &Parts, seat: &Seat) -> Result<(), StartError> {
    let wec_board::Limits { registrations, authorizations, certificates } = seat.session.limits;
    let reached = parts.state.limits_reached();
    // A session whose limits were changed is another matter than this plan.
    if reached.is_empty() || plan.limits != (Limits { registrations, authorizations, certificates }) {
        return Ok(());
    }
    let (counts, open) = (parts.state.counts(), |kind| !reached.iter().any(|(reached, _)| *reached == kind));
    let available = Available {
        registrations: counts.registrations > 0,
        orders: counts.authorizations > 0,
        certificates: counts.certificates > 0,
        may_register: open(Kind::Registration),
        may_authorize: open(Kind::Authorization),
        may_certify: open(Kind::Certificate),
    };
    let can = |scenario: &Scenario| {
        Chain::ALL.iter().any(|chain| scenario.weights.of(*chain) > 0.0 && allows(&available, *chain))
    };
    if plan.scenarios.iter().any(can) {
        return Ok(());
    }
    Err(StartError::LimitsReached { state: plan.state.clone(), reached })
}

/// What a scenario's executors will follow, with nothing to do yet.
fn lead(scenario: &Scenario, parts: &Parts, stop: &Stop) -> Lead {
    let cap = scenario.load.workers().peak() as u32;
    // As if it were shared with those who are at it; it makes nothing yet.
    let nodes = parts.board.nodes().borrow().clone();
    let others = ready(&nodes, &parts.session).filter(|node| node.id != parts.node.id).count() as u32;
    let workers_cap = cap.div_ceil(others + 1);
    let waiting = Course { ramp: Ramp::constant(0.0), origin: 0, paused_at: Some(0), workers_cap };
    Lead {
        workers: watch::Sender::new(0),
        course: watch::Sender::new(Arc::new(waiting)),
        weights: Arc::new(LiveWeights::new(scenario.weights)),
        gauges: Arc::default(),
        quota: scenario.load.iterations().map(|_| Quota::open()),
        stop: stop.child(),
    }
}

/// How a scenario's load is made on each of so many runtimes.
fn executor(scenario: &Scenario, lead: &Lead, clock: Clock, seed: u64, runtimes: u32) -> Executor {
    let (gauges, stop) = (Arc::clone(&lead.gauges), lead.stop.clone());
    match &scenario.load {
        Load::ArrivalRate { unit, poisson, .. } => {
            let (course, unit) = (lead.course.subscribe(), *unit);
            let spacing = if *poisson { Spacing::Poisson { seed } } else { Spacing::Even };
            let relay = Arc::new(Relay::new(runtimes));
            Box::new(move |workforce, place| {
                let (gauges, course, relay) = (Arc::clone(&gauges), course.clone(), Arc::clone(&relay));
                let executor = ArrivalRate { workforce, gauges, course, unit, spacing, clock, place, relay };
                Box::pin(executor.run(stop.clone()))
            })
        }
        Load::TargetRps { .. } => {
            // The board's number is the cap; how many there are is the controller's to say.
            let (workers, pacing) = (watch::Sender::new(0), watch::Sender::new(Duration::ZERO));
            let (target, paced) = (workers.subscribe(), pacing.subscribe());
            let controller = TargetRps {
                gauges: Arc::clone(&gauges),
                course: lead.course.subscribe(),
                workers,
                pacing,
                clock,
            };
            let controller = Mutex::new(Some(controller));
            Box::new(move |workforce, place| {
                let habits = Habits { pacing: Some(paced.clone()), ..Habits::default() };
                let (gauges, target) = (Arc::clone(&gauges), target.clone());
                let workers = Workers { workforce, gauges, target, habits, place };
                // One for the process: it lives on whichever runtime comes first.
                let controller = controller.lock().unwrap_or_else(PoisonError::into_inner).take();
                let stop = stop.clone();
                Box::pin(async move {
                    let steered = async {
                        if let Some(controller) = controller {
                            controller.run(stop.clone()).await;
                        }
                    };
                    tokio::join!(steered, workers.run(stop.clone()));
                })
            })
        }
        Load::Workers { .. } | Load::Iterations { .. } => {
            let target = lead.workers.subscribe();
            let quota = lead.quota.clone();
            let habits = Habits { think: scenario.think_time.clone(), quota, ..Habits::default() };
            Box::new(move |workforce, place| {
                let (gauges, target, habits) = (Arc::clone(&gauges), target.clone(), habits.clone());
                Box::pin(Workers { workforce, gauges, target, habits, place }.run(stop.clone()))
            })
        }
    }
}

/// The RSA keys that the scenarios will use, made on a thread where nobody waits for anything else.
async fn key_pool(plan: &Plan) -> Result<Arc<KeyPool>, StartError> {
    let types = plan.scenarios.iter().flat_map(|scenario| scenario.key_types.items());
    let types: Vec<_> = types.filter(|kind| kind.is_rsa()).collect();
    if types.is_empty() {
        return Ok(Arc::new(KeyPool::empty()));
    }
    tracing::info!("making RSA keys, which takes a few seconds");
    let made = tokio::task::spawn_blocking(|| KeyPool::generate(types)).await;
    let made = made.map_err(|error| StartError::Thread(std::io::Error::other(error)))?;
    made.map(Arc::new).map_err(StartError::Keys)
}

fn client_config(plan: &Plan) -> Result<Config, StartError> {
    let roots = match (&plan.cacert, plan.insecure) {
        (Some(path), _) => {
            let pem = std::fs::read(path)
                .map_err(|error| StartError::File { path: path.display().to_string(), error })?;
            Roots::Pem(pem)
        }
        (None, true) => Roots::Insecure,
        (None, false) => Roots::System,
    };
    Ok(Config {
        roots,
        http: plan.http,
        max_connections: plan.max_connections,
        request_timeout: plan.request_timeout,
        policy: Policy { poll_timeout: plan.poll_timeout, ..Policy::default() },
        ..Config::new(plan.directory.clone())
    })
}

fn chain_policy(plan: &Plan, scenario: &Scenario, keys: &Arc<KeyPool>) -> wec_chains::Policy {
    let names = &scenario.names_per_order;
    wec_chains::Policy {
        names: *names.start() as usize..=*names.end() as usize,
        challenges: scenario.challenge_types.clone(),
        key_types: scenario.key_types.clone(),
        keys: Arc::clone(keys),
        connections: scenario.connections,
        abandon: scenario.abandon,
        stop_before: scenario.stop_before,
        contact: plan.contact.clone(),
        external_account: plan.eab.clone(),
        ..wec_chains::Policy::under(&plan.base_domain)
    }
}

/// How each runtime gets its workers: with a client of its own, and all else shared.
fn recruit(plan: &Plan, parts: &Parts, keys: &Arc<KeyPool>, leads: &[Lead]) -> Recruit {
    let (parts, seed, max_connections) = (parts.clone(), plan.seed, plan.max_connections);
    let kinds: Vec<_> = plan
        .scenarios
        .iter()
        .zip(leads)
        .map(|(scenario, lead)| (Arc::new(chain_policy(plan, scenario, keys)), Arc::clone(&lead.weights)))
        .collect();
    let kinds = Arc::new(kinds);
    Arc::new(move |_place| {
        let (parts, kinds) = (parts.clone(), Arc::clone(&kinds));
        Box::pin(async move {
            let client = Arc::new(parts.client.sibling(max_connections));
            let checker = Arc::new(Checker::new());
            let users = kinds.iter().zip(0u32..).map(|((policy, weights), index)| {
                let context = wec_chains::Context {
                    client: Arc::clone(&client),
                    state: parts.state.clone(),
                    challenges: Arc::clone(&parts.challenges),
                    checker: Arc::clone(&checker),
                    policy: Arc::clone(policy),
                    clock: parts.clock,
                };
                Arc::new(Users {
                    context: Arc::new(context),
                    weights: Arc::clone(weights),
                    sink: Arc::clone(&parts.sink),
                    seed,
                    // Numbers are unique within the node, whatever the scenario.
                    first: index.saturating_mul(MAX_WORKERS),
                }) as Arc<dyn Workforce>
            });
            Ok(users.collect())
        })
    })
}

/// Ends the run when the session is stopped, and keeps the store to the session's limits.
async fn follow(parts: Parts, finish: CancellationToken) {
    let mut session = parts.board.session(&parts.session);
    loop {
        let now = session.borrow_and_update().clone();
        if let Some(Versioned { value, .. }) = now {
            if value.state == SessionState::Stopped {
                finish.cancel();
            }
            let wec_board::Limits { registrations, authorizations, certificates } = value.limits;
            parts.state.set_limits(Limits { registrations, authorizations, certificates });
        }
        tokio::select! {
            changed = session.changed() => if changed.is_err() {
                return finish.cancelled().await;
            },
            () = finish.cancelled() => return,
        }
    }
}

/// Tells the results every second what the state store holds and how the load is, and once more at the end. Gives the
/// bounds of the load tester itself that were exceeded.
async fn report(
    parts: Parts,
    scenarios: Vec<Counting>,
    mut sampler: Sampler,
    done: CancellationToken,
) -> Vec<Limit> {
    let mut ticks = interval_at(Instant::now() + until_mid_second(parts.clock), REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let at_unix_ns = parts.clock.unix_now_ns();
        let counts = parts.state.counts();
        let counts = StateCounts {
            registrations: counts.registrations,
            authorizations: counts.authorizations,
            certificates: counts.certificates,
            revoked: counts.revoked,
            workers: scenarios.iter().map(|counting| counting.gauges.workers()).sum(),
        };
        parts.sink.push_state(at_unix_ns, counts);
        let now = parts.clock.now();
        let counted = scenarios.iter().map(|counting| counting.counted(now)).collect();
        let load = sampler.sample(counted, parts.sink.health().backlog_share());
        let limits = load.generator.limits.clone();
        parts.sink.push_load(at_unix_ns, load);
        if done.is_cancelled() {
            return limits;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = done.cancelled() => {}
        }
    }
}

/// Samples are taken in the middle of a second of the wall clock: a little early or late, each still falls into a second of
/// its own in the figures over time.
fn until_mid_second(clock: Clock) -> Duration {
    let into = clock.unix_now_ns() % 1_000_000_000;
    Duration::from_nanos((1_500_000_000 - into) % 1_000_000_000)
}

/// What is read of a scenario for a sample.
struct Counting {
    scenario: Scenario,
    gauges: Arc<Gauges>,
    course: watch::Receiver<Arc<Course>>,
}

impl Counting {
    fn counted(&self, now: u64) -> Counted {
        let Self { scenario, gauges, course } = self;
        let unit = scenario.load.rate_unit();
        let asked = match unit {
            // Arrivals, Poisson's among them, are what was asked for.
            Some(Unit::Chains) => gauges.due(),
            _ => course.borrow().asked(now).round() as u64,
        };
        let steered = course.borrow().runs(now) && gauges.rate_target().is_some_and(|rate| rate > 0.0);
        Counted {
            steered,
            name: scenario.name.clone(),
            executor: scenario.load.executor(),
            rate_unit: unit.map(Unit::name).unwrap_or_default(),
            workers_target: gauges.workers_target(),
            workers: gauges.workers(),
            busy: gauges.busy(),
            rate_target: gauges.rate_target(),
            asked,
            due: gauges.due(),
            started: gauges.started(),
            ended: gauges.iterations(),
            requests: gauges.requests(),
            dropped: gauges.dropped(),
            idle: gauges.idle(),
            reach: matches!(scenario.load, Load::TargetRps { .. }).then(|| gauges.verdict().into()),
            lag: gauges.lag.clone(),
        }
    }
}
