//! What only a running service has: the board, its own condition, and a search that controls the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_board::{LiveKind, LiveValue, NodeKind, NodeState, Phase, Session, SessionState, Target};
use wec_listen::ListenerCounts;

use super::{ReplayView, RunSource, Series, Snapshot};
use crate::schema;

/// The answer of `GET /api/v1/runs/{id}/snapshot` and the data of each event of `GET /api/v1/runs/{id}/live`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// The server's wall clock when this was made, nanoseconds since the Unix epoch.
    pub now_unix_ns: u64,
    /// Time since the run's start until now, or until the latest record of a run that is over, nanoseconds; 0 before
    /// its start.
    #[serde(default)]
    pub run_ns: u64,
    /// The same without pauses, which is compared with `run_time_ns`.
    #[serde(default)]
    pub active_ns: u64,
    /// Where the figures come from.
    #[serde(default)]
    pub source: RunSource,
    /// The replay that the figures belong to; null without one. Then `now_unix_ns` is its clock.
    #[serde(default)]
    pub replay: Option<ReplayView>,
    /// The session on the board; null when there is none yet, and for a run that is not live.
    pub session: Option<SessionView>,
    /// Live nodes on the board; empty for a run that is not live.
    pub nodes: Vec<NodeView>,
    /// The condition of the service.
    pub health: Health,
    /// The capacity search that controls this run; null without one.
    pub capacity: Option<CapacityView>,
    /// All figures.
    pub snapshot: Snapshot,
    /// The buckets that are new or have changed since the event before; all buckets in the first event.
    pub series: Series,
}

/// The state of a capacity search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapacityView {
    /// The current activity, for people; empty when the search is over.
    pub status: String,
    /// Whether the search is over.
    pub over: bool,
    /// The highest rate sustained so far, chains per second.
    pub sustained: Option<f64>,
    /// The lowest rate above it that was not sustained.
    pub failed: Option<f64>,
    /// Each step, in the order of time; a hold below the knee comes last.
    pub steps: Vec<CapacityStep>,
}

/// One step of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapacityStep {
    /// Target rate, chains per second.
    pub rate: f64,
    /// Chains ended per second.
    pub reached: f64,
    /// Whether this is the hold below the knee.
    pub hold: bool,
    /// The result.
    pub verdict: StepOutcome,
    /// The reasons, if the rate was not sustained.
    pub reasons: Vec<String>,
    /// Median response time of the successful chains, nanoseconds; null with too few.
    pub p50_ns: Option<u64>,
    /// The 95th percentile.
    pub p95_ns: Option<u64>,
    /// Number of chains in these percentiles.
    pub n: u64,
    /// Chains that ended.
    pub ended: u64,
    /// Those of them that failed.
    pub chains_failed: u64,
}

/// The result of a step of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// The CA sustained the rate.
    #[default]
    Sustained,
    /// The CA did not sustain the rate.
    Failed,
    /// The CA stopped answering.
    CaDown,
    /// The load tester was the limit.
    GeneratorLimited,
}

/// A session on the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// The state of its load.
    #[schema(value_type = SessionState)]
    pub state: String,
    /// Target number of workers now: the sum of all scenarios that run.
    pub workers_target: u32,
    /// Current number of workers, as in the snapshot.
    pub workers_running: u64,
    /// Hard limits on the objects that the run makes at the CA.
    #[serde(default)]
    pub limits: LimitsView,
    /// The targets of each scenario, by its name.
    #[serde(default)]
    pub scenarios: BTreeMap<String, ScenarioView>,
    /// What agents run in it, in `GET /api/v1/sessions/{id}` only; null for a session that was not planned.
    #[serde(default)]
    pub plan: Option<super::PlanView>,
    /// Its runs, latest first, in `GET /api/v1/sessions/{id}` of a session that is only known by them; omitted
    /// otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(nullable = false)]
    pub runs: Vec<super::RunEntry>,
}

impl SessionView {
    /// A session in the form of the API.
    pub fn new(session: &Session, workers_running: u64) -> Self {
        let spec = &session.spec;
        let running = spec.scenarios.iter().filter(|(name, _)| session.phase(name) == Phase::Running);
        let workers = running.map(|(_, target)| target.workers).fold(0, u32::saturating_add);
        let scenarios = spec.scenarios.iter().map(|(name, target)| {
            let view = ScenarioView {
                state: session.phase(name).name().to_owned(),
                workers: target.workers,
                rate: target.rate,
                rate_unit: target.rate_unit.clone(),
                weights: target.weights.clone(),
                scheduled: target.scheduled,
                values: LiveValue::all(true).filter_map(|row| ValueView::new(row, target)).collect(),
            };
            (name.clone(), view)
        });
        Self {
            id: spec.id.clone(),
            state: spec.state.name().to_owned(),
            workers_target: workers,
            workers_running,
            limits: LimitsView {
                registrations: spec.limits.registrations,
                authorizations: spec.limits.authorizations,
                certificates: spec.limits.certificates,
            },
            scenarios: scenarios.collect(),
            plan: None,
            runs: Vec::new(),
        }
    }

    /// A planned session without a run so far.
    pub fn without_load(plan: super::PlanView) -> Self {
        Self { id: plan.id.clone(), plan: Some(plan), ..Self::stopped(String::new()) }
    }

    /// A session that is only known by its runs.
    pub fn of_runs(id: &str, runs: Vec<super::RunEntry>) -> Self {
        // Another process may still write the log of one.
        let state =
            if runs.iter().any(|run| run.live) { SessionState::Running } else { SessionState::Stopped };
        Self { state: state.name().to_owned(), runs, ..Self::stopped(id.to_owned()) }
    }

    fn stopped(id: String) -> Self {
        Self {
            id,
            state: SessionState::Stopped.name().to_owned(),
            workers_target: 0,
            workers_running: 0,
            limits: LimitsView::default(),
            scenarios: BTreeMap::new(),
            plan: None,
            runs: Vec::new(),
        }
    }

    /// Whether the session has been stopped.
    pub fn is_stopped(&self) -> bool {
        self.state == SessionState::Stopped.name()
    }
}

/// Limits on the objects made at the CA; null means no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Orders made ready.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

/// The targets of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScenarioView {
    /// `waiting` for another scenario to end, `running`, or `ended`: then no more iterations of it start.
    #[serde(default)]
    #[schema(schema_with = schema::scenario_state)]
    pub state: String,
    /// Number of virtual users, or the largest number allowed if the scenario has a rate.
    pub workers: u32,
    /// Arrivals per second, in `rate_unit`; null if the scenario has a number of workers.
    pub rate: Option<f64>,
    /// The unit of the rate: `chains` or `requests`; empty without one.
    #[serde(default)]
    pub rate_unit: String,
    /// Weights of chains by name; a chain that is missing has its weight from the start of the run.
    #[schema(schema_with = schema::weights)]
    pub weights: BTreeMap<String, f64>,
    /// Whether its own stages set workers and rate. A change by hand ends that.
    pub scheduled: bool,
    /// Each number that can be changed, as forms show it; `workers` and `rate` are among them.
    #[serde(default)]
    pub values: Vec<ValueView>,
}

/// A number of a scenario that can be changed during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// Its key in the body of a change.
    pub key: String,
    /// Its label in a form.
    pub label: String,
    /// Its unit; empty for a number without one.
    pub unit: String,
    /// Whether it is a whole number.
    pub whole: bool,
    /// The largest number allowed; the smallest is 0.
    pub most: f64,
    /// The number now.
    pub value: f64,
}

impl ValueView {
    /// The number of this row, if the scenario has one.
    fn new(row: &LiveValue, target: &Target) -> Option<Self> {
        let (whole, most, value, (label, unit)) = match &row.kind {
            LiveKind::Whole { most, now, label, .. } => {
                (true, f64::from(*most), f64::from(now(target)?), label(target))
            }
            LiveKind::Number { most, now, label, .. } => (false, *most, now(target)?, label(target)),
            LiveKind::Text { .. } | LiveKind::Weights | LiveKind::Limits | LiveKind::State => return None,
        };
        Some(Self { key: row.key.to_owned(), label: label.to_owned(), unit, whole, most, value })
    }
}

/// A node on the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// Its state.
    pub state: NodeState,
    /// Number of workers that it can run; 0 while it takes no share of the load.
    pub workers: u32,
}

/// The condition of the log, the queue and the listeners.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The log's path.
    pub log: String,
    /// Bytes written to the log.
    pub log_bytes: u64,
    /// Records that could not be written to the log.
    pub log_failed: u64,
    /// The reason, for people; null while writing succeeds.
    pub log_error: Option<String>,
    /// What is wrong with a log that was read, one sentence each; empty for a live run.
    #[serde(default)]
    pub log_problems: Vec<String>,
    /// Batches in the queue.
    pub queued_batches: u64,
    /// Size of the queue; senders wait when it is full.
    pub queue_bound: u64,
    /// Duplicate records, which were not counted again.
    pub duplicates: u64,
    /// Records that a sender had numbered but that never arrived.
    pub gaps: u64,
    /// Number of senders so far.
    pub senders: u64,
    /// Counters of the listeners for the page and for results.
    #[serde(default)]
    pub listeners: Vec<ListenerCounts>,
}
