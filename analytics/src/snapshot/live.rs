//! What only a running service knows: the board, the service's own condition, a search that steers the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_board::{NodeKind, NodeState, SessionState};
use wec_listen::ListenerCounts;

use super::{Series, Snapshot};
use crate::schema;

/// What `GET /api/v1/runs/{id}/snapshot` answers and each event of `GET /api/v1/runs/{id}/live` carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// The server's wall clock when this was made, nanoseconds since the Unix epoch.
    pub now_unix_ns: u64,
    /// The session as the board has it; null when there is none yet, and of a run that is not live.
    pub session: Option<SessionView>,
    /// Live nodes on the board; none of a run that is not live.
    pub nodes: Vec<NodeView>,
    /// The service's own condition.
    pub health: Health,
    /// The search for the CA's capacity that steers this run; null when none does.
    pub capacity: Option<CapacityView>,
    /// All figures.
    pub snapshot: Snapshot,
    /// The buckets that are new or have changed since the event before; all of them in the first.
    pub series: Series,
}

/// How far a search for the CA's capacity is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapacityView {
    /// What is being done now, for people; empty when the search is over.
    pub status: String,
    /// Whether it is over.
    pub over: bool,
    /// The highest rate that was sustained so far, chains a second.
    pub sustained: Option<f64>,
    /// The lowest rate above it that was not.
    pub failed: Option<f64>,
    /// Each step, in the order of time; a hold below the knee comes last.
    pub steps: Vec<CapacityStep>,
}

/// One step of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapacityStep {
    /// Asked for, chains a second.
    pub rate: f64,
    /// What ended, a second.
    pub reached: f64,
    /// Whether it is the hold below the knee.
    pub hold: bool,
    /// What the step showed.
    pub verdict: StepOutcome,
    /// Why, if it was not sustained.
    pub reasons: Vec<String>,
    /// Median response time of the chains that succeeded, nanoseconds; null with too few.
    pub p50_ns: Option<u64>,
    /// The 95th percentile.
    pub p95_ns: Option<u64>,
    /// How many chains these are of.
    pub n: u64,
    /// Chains that ended.
    pub ended: u64,
    /// Those of them that failed.
    pub chains_failed: u64,
}

/// What a step of a search showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// The CA sustained the rate.
    #[default]
    Sustained,
    /// It did not.
    Failed,
    /// It went down.
    CaDown,
    /// The load tester was the limit.
    GeneratorLimited,
}

/// A session on the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// Whether its load is to be made.
    #[schema(value_type = SessionState)]
    pub state: String,
    /// How many workers it wants now: of all scenarios that run, together.
    pub workers_target: u32,
    /// How many run, as in the snapshot.
    pub workers_running: u64,
    /// Hard limits on what the run may make at the CA.
    #[serde(default)]
    pub limits: LimitsView,
    /// What is wanted of each scenario, by its name.
    #[serde(default)]
    pub scenarios: BTreeMap<String, ScenarioView>,
}

/// How many of each may be made at the CA; null means no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Orders made ready.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

/// What is wanted of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScenarioView {
    /// `waiting` for another scenario to end, `running`, or `ended`: then nothing more of it starts.
    #[serde(default)]
    #[schema(schema_with = schema::scenario_state)]
    pub state: String,
    /// Virtual users: how many, or how many at most where it keeps a rate.
    pub workers: u32,
    /// Arrivals a second, in `rate_unit`; null where it keeps a number of workers.
    pub rate: Option<f64>,
    /// What the rate counts: `chains` or `requests`; empty without one.
    #[serde(default)]
    pub rate_unit: String,
    /// Weights of chains by their names; one that is not named weighs what the run was started with.
    #[schema(schema_with = schema::weights)]
    pub weights: BTreeMap<String, f64>,
    /// Whether its own stages decide on workers and rate. A change by hand ends that.
    pub scheduled: bool,
}

/// A node on the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// What it is doing.
    pub state: NodeState,
    /// Workers that it can run while it takes a share of the load.
    pub workers: u32,
}

/// Whether what is shown is all there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Where the log is.
    pub log: String,
    /// Bytes written to it.
    pub log_bytes: u64,
    /// Records that could not be written to it.
    pub log_failed: u64,
    /// Why, for people; null while the log is well.
    pub log_error: Option<String>,
    /// Batches waiting to be aggregated.
    pub queued_batches: u64,
    /// How many may wait before senders are held back.
    pub queue_bound: u64,
    /// Records that came again and were not counted again.
    pub duplicates: u64,
    /// Records that a sender had numbered but that never came.
    pub gaps: u64,
    /// Senders seen.
    pub senders: u64,
    /// What the page's and the results' listeners have seen.
    #[serde(default)]
    pub listeners: Vec<ListenerCounts>,
}
