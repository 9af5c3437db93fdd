//! What only a running service has: the board, its own condition, and a search that controls the run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_board::{NodeKind, NodeState};
use wec_figures::snapshot::{Series, Snapshot};
use wec_listen::ListenerCounts;

use super::{ReplayView, RunSource, SessionView};

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
    /// The id of the run that `current` shows; empty if no run has begun here.
    #[serde(default)]
    pub current: String,
    /// Whether the reader may change something: their token has the right to steer, or none is needed.
    #[serde(default)]
    pub may_steer: bool,
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
