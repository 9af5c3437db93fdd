//! What people and programs are shown of a run: the JSON of the web API and of `--json`.
//!
//! A [`Snapshot`] and a [`Series`] are made from records alone, so a live run and a replay of its log give equal
//! ones. What only a running service knows (the board, its own queue and disk) stands beside them in [`Live`].
//! Every duration is in nanoseconds and says so in its key; a figure that cannot be given is `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::threshold::Unit;
use wec_record::{Chain, ChallengeType, FailureClass, LimitKind, Reach, Stamp, StateCounts, Verdict};

use crate::web::SnapshotSchema;

/// Version of the JSON below. Grows when a key changes its meaning or goes away.
pub const SNAPSHOT_VERSION: u32 = 1;

/// All figures of a run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SNAPSHOT_VERSION`] of the writer.
    pub version: u32,
    /// Which run.
    pub run: Run,
    /// Wall clock of the latest record, nanoseconds since the Unix epoch; 0 before the first.
    pub at_unix_ns: u64,
    /// From the run's start to the latest record: what rates are over.
    pub elapsed_ns: u64,
    /// HTTP attempts: steps, nonce fetches, retries and polls together.
    pub requests: u64,
    /// HTTP attempts that did not get the right answer.
    pub requests_failed: u64,
    /// HTTP attempts a second, over `elapsed_ns`.
    pub rps: f64,
    /// The five chains, each always there.
    pub chains: BTreeMap<Chain, ChainFigures>,
    /// The endpoints that were asked, in order of first use, `other` last.
    pub endpoints: Vec<EndpointFigures>,
    /// Failures grouped by what failed, most frequent first.
    pub failures: Vec<FailureFigures>,
    /// How the CA and the client got on with nonces.
    pub nonces: NonceFigures,
    /// Further attempts of a step, after `badNonce`, 429, 503 or a broken connection.
    pub retries: u64,
    /// Looks whether an object had reached its state yet.
    pub polls: u64,
    /// Connections.
    pub connections: ConnectionFigures,
    /// Bytes.
    pub bytes: ByteFigures,
    /// Validations that arrived at the challenge servers.
    pub hits: Vec<HitFigures>,
    /// What the state store held when a requester last said so. `workers` is the sum over all nodes, as each last
    /// said; a node silent for 10 s is not counted.
    pub state: StateCounts,
    /// How many workers the run was asked to have, by the last mark of `workers`; null before the first.
    pub workers_target: Option<u32>,
    /// By name, what each scenario was asked to do and did; empty before the first sample.
    pub scenarios: BTreeMap<String, ScenarioFigures>,
    /// Whether the load tester itself kept up.
    pub generator: GeneratorFigures,
    /// What the run must hold to pass, in the order in which it was given, and how far it does.
    #[serde(default)]
    pub thresholds: Vec<ThresholdResult>,
    /// Changes of the load, oldest first.
    pub marks: Vec<Mark>,
    /// What the figures above do not contain.
    pub missing: Missing,
}

/// Which run, from the log's header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The run's id; empty when no header has been seen.
    pub id: String,
    /// The board's session that it follows.
    pub session: String,
    /// Program and version.
    pub program: String,
    /// The CA's directory URL.
    pub target: String,
    /// Wall clock of the start, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// Machine and settings.
    pub stamp: Stamp,
}

/// One chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChainFigures {
    /// Iterations that ended.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those that left an order unfinished on purpose. They are neither failed nor in the times below.
    #[serde(default)]
    pub abandoned: u64,
    /// Iterations a second.
    pub rps: f64,
    /// done − due of the successful ones.
    pub response_time_ns: Timing,
    /// done − started of the successful ones.
    pub service_time_ns: Timing,
    /// done − due of the failed ones.
    pub failed_response_time_ns: Timing,
    /// done − started of the failed ones.
    pub failed_service_time_ns: Timing,
    /// Key and CSR generation inside all of them, summed; never the server's time.
    pub keygen_ns: u64,
    /// Failures by class; only classes that occurred.
    pub classes: BTreeMap<FailureClass, u64>,
}

/// One endpoint: a method and a URI template under one of RFC 8555's names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointFigures {
    /// RFC 8555's name: `newOrder`; `other` for what did not fit into the bounded table.
    pub endpoint: String,
    /// HTTP method.
    pub method: String,
    /// URI template, ids folded.
    pub uri: String,
    /// HTTP attempts.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// HTTP attempts a second.
    pub rps: f64,
    /// done − due of the successful ones.
    pub response_time_ns: Timing,
    /// done − sent of the successful ones.
    pub service_time_ns: Timing,
    /// done − due of the failed ones.
    pub failed_response_time_ns: Timing,
    /// done − sent of the failed ones.
    pub failed_service_time_ns: Timing,
}

/// A distribution of times, nanoseconds. A percentile with fewer than 10 samples in its tail is null.
///
/// The key of a percentile with `_ci` behind it holds the least and the largest value that the percentile has with
/// 95 % confidence; null with the percentile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// How many samples the rest is made of.
    pub n: u64,
    /// Arithmetic mean; null without samples.
    pub mean: Option<u64>,
    /// Standard error of the mean; null below two samples.
    pub std_error: Option<u64>,
    /// Median; null below 20 samples.
    pub p50: Option<u64>,
    /// 95 % interval of `p50`.
    #[serde(default)]
    pub p50_ci: Option<[u64; 2]>,
    /// Null below 100 samples.
    pub p90: Option<u64>,
    /// 95 % interval of `p90`.
    #[serde(default)]
    pub p90_ci: Option<[u64; 2]>,
    /// Null below 200 samples.
    pub p95: Option<u64>,
    /// 95 % interval of `p95`.
    #[serde(default)]
    pub p95_ci: Option<[u64; 2]>,
    /// Null below 1,000 samples.
    pub p99: Option<u64>,
    /// 95 % interval of `p99`.
    #[serde(default)]
    pub p99_ci: Option<[u64; 2]>,
    /// The 99.9th; null below 10,000 samples.
    pub p99_9: Option<u64>,
    /// 95 % interval of `p99_9`.
    #[serde(default)]
    pub p99_9_ci: Option<[u64; 2]>,
    /// Largest; null without samples.
    pub max: Option<u64>,
}

/// One group of failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureFigures {
    /// A failed chain or a failed request.
    pub scope: FailureScope,
    /// The chain's name or the endpoint's; `other` for what did not fit into the bounded table.
    pub name: String,
    /// Who is at fault; null when the record did not say.
    pub class: Option<FailureClass>,
    /// HTTP status; 0 when there was none.
    pub status: u16,
    /// Problem type without `urn:ietf:params:acme:error:`; may be empty.
    pub problem: String,
    /// How often.
    pub count: u64,
    /// The message of the first.
    pub example: String,
}

/// What a group of failures is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureScope {
    /// Whole iterations.
    Chain,
    /// Single HTTP attempts.
    Request,
}

/// Nonces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NonceFigures {
    /// Requests made only to fetch one.
    pub fetched: u64,
    /// Signed requests that the CA refused with `badNonce`.
    pub rejected: u64,
    /// `rejected` as a share of all POSTs, 0 to 1; null without POSTs.
    pub rejected_share: Option<f64>,
}

/// Connections, as seen by requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionFigures {
    /// Requests that were the first on their connection.
    pub new: u64,
    /// Requests over a connection that had served one before.
    pub reused: u64,
}

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByteFigures {
    /// Heads and bodies of requests.
    pub sent: u64,
    /// Bodies of answers.
    pub received: u64,
}

/// Validations of one type that were answered in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitFigures {
    /// Challenge type.
    #[serde(rename = "type")]
    pub challenge: ChallengeType,
    /// What the challenge server did.
    pub verdict: Verdict,
    /// How many.
    pub count: u64,
    /// Arrival to answer.
    pub took_ns: Timing,
}

/// One scenario, over all nodes that run it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioFigures {
    /// Who decides when iterations start: `workers`, `arrival-rate`, `target-rps`, `iterations`.
    pub executor: String,
    /// Workers asked for now; with a rate, the most that there may be. Here and in the next four, a node silent for 10 s is
    /// not counted.
    pub workers_target: u64,
    /// Workers alive.
    pub workers: u64,
    /// Workers in the middle of an iteration.
    pub busy: u64,
    /// What is asked for now, in `rate_unit` a second; null without a rate.
    pub rate_target: Option<f64>,
    /// What was reached in the latest second, in `rate_unit` a second; chains where there is no unit.
    pub rate: f64,
    /// `chains`, `requests`, or empty without a rate.
    pub rate_unit: String,
    /// Of `rate_unit`, how much the target has asked for so far: its integral over time. Without a rate, how many iterations
    /// there are to be, where that is what ends the scenario, and else 0.
    pub asked: u64,
    /// Iterations that were due.
    pub due: u64,
    /// Iterations started.
    pub started: u64,
    /// Iterations ended.
    pub ended: u64,
    /// HTTP requests ended.
    pub requests: u64,
    /// Iterations that were due but had no worker, at the cap of workers.
    pub dropped: u64,
    /// Times that a worker found nothing it was allowed to run.
    pub idle: u64,
    /// How near the rate is to its target, where workers are adapted to it, of the living node that is worst off; null for
    /// other executors.
    #[serde(default)]
    pub reach: Option<Reach>,
    /// For how long the cap on workers held the rate below its target, on the node where it was longest, nanoseconds.
    #[serde(default)]
    pub capped_ns: u64,
    /// For how long more workers brought no more, on the node where it was longest, nanoseconds.
    #[serde(default)]
    pub saturated_ns: u64,
}

/// Whether the load tester itself kept up with what it was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorFigures {
    /// Whether any bound was exceeded for long enough to count, at any time: the figures are then not the CA's alone.
    pub limited: bool,
    /// Whether one is now.
    pub limited_now: bool,
    /// For how long, on the node where it was longest, nanoseconds.
    pub limited_ns: u64,
    /// Which bounds, longest first; at most 50.
    pub limits: Vec<LimitFigures>,
    /// Scheduling lag: how much later than due something ran, over the run and all nodes. To the microsecond below 2 ms.
    pub lag_ns: Timing,
    /// Share of the latest second for which the busiest worker thread ran, 0 to 1; null where the system does not say.
    pub cpu_share: Option<f64>,
    /// The most of it so far.
    pub cpu_share_max: Option<f64>,
    /// Share of the latest second for which that thread was ready but had no processor.
    pub cpu_wait_share: Option<f64>,
    /// The most of it so far.
    pub cpu_wait_share_max: Option<f64>,
    /// Processors that all requesters' processes used in the latest second, summed.
    pub processors: Option<f64>,
    /// How full the fullest queue of results is, 0 to 1.
    pub backlog_share: f64,
    /// The most of it so far.
    pub backlog_share_max: f64,
    /// Iterations that were due, over all scenarios.
    pub due: u64,
    /// Those of them that were dropped.
    pub dropped: u64,
    /// `dropped` as a share of `due`; null while nothing was due.
    pub dropped_share: Option<f64>,
}

/// A bound of the generator that one node exceeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitFigures {
    /// The node's id.
    pub node: String,
    /// Which bound.
    pub what: LimitKind,
    /// Which thread or scenario; may be empty.
    pub place: String,
    /// Whether it is exceeded now.
    pub now: bool,
    /// The worst second: nanoseconds for `lag`, a share from 0 to 1 for all else.
    pub worst: f64,
    /// The bound, in the same unit.
    pub bound: f64,
    /// When it first was, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// For how long, all times together, nanoseconds.
    pub total_ns: u64,
    /// All of this and the way out, for people.
    pub reason: String,
}

/// One threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdResult {
    /// As it is written, in its one form.
    pub expression: String,
    /// What `value` and `limit` are measured in.
    pub unit: Unit,
    /// Of the run so far; with a window, of the worst one; of the moment in which it ended the run, if it did. Null while it
    /// cannot be given.
    pub value: Option<f64>,
    /// What the value is compared with.
    pub limit: f64,
    /// Null while undecided. What is undecided when the run has ended has not passed.
    pub passed: Option<bool>,
    /// How many samples the value is made of.
    pub n: u64,
    /// Windows judged; null without a window.
    pub windows: Option<u64>,
    /// Those of them that failed; null without a window.
    pub windows_failed: Option<u64>,
    /// Start of the worst window, nanoseconds since the Unix epoch; null without one.
    pub worst_unix_ns: Option<u64>,
    /// Whether it ended the run before its time.
    pub aborted: bool,
}

/// A change of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Mark {
    /// Wall clock, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// `page`, `cli`, `schedule`, `api`, `threshold`, `generator`.
    pub by: String,
    /// The scenario that it is about; empty for what concerns the whole run.
    #[serde(default)]
    pub scenario: String,
    /// What changed: `workers`, `rate`, `weights`, `limits`, `state`, `generator`.
    pub what: String,
    /// Value before.
    pub from: String,
    /// Value after.
    pub to: String,
}

/// What was bounded away. All zero in a healthy run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Results that a sender dropped because its queue and its spool were full.
    pub lost_results: u64,
    /// Results that name no chain known to this version: logged, not in any chain's figures.
    pub unknown_chains: u64,
    /// Times above the histograms' bound of one hour, counted as one hour.
    pub clamped_times: u64,
    /// Requests counted under the endpoint `other`.
    pub other_endpoints: u64,
    /// Failures counted under the name `other`.
    pub other_failures: u64,
    /// Marks beyond the bounded list.
    pub dropped_marks: u64,
    /// Scenarios in samples beyond the first 64.
    pub other_scenarios: u64,
    /// Records whose time lies outside what the series can hold.
    pub outside_series: u64,
}

/// Figures over time, as columns: the i-th entry of each belongs to `at_unix_s[i]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// Width of a bucket, seconds: 1, and doubled whenever the run outgrows the bounded number of buckets.
    pub step_s: u64,
    /// True when the columns replace everything sent before; otherwise each entry replaces or adds its bucket.
    pub reset: bool,
    /// Start of each bucket, seconds since the Unix epoch, ascending.
    pub at_unix_s: Vec<u64>,
    /// HTTP attempts that ended in the bucket. Divide by `step_s` for a rate.
    pub requests: Vec<u64>,
    /// Those of them that failed.
    pub requests_failed: Vec<u64>,
    /// Validations that arrived.
    pub hits: Vec<u64>,
    /// Workers asked for; here and below null in buckets without a sample of the load.
    pub workers_target: Vec<Option<u64>>,
    /// Workers alive.
    pub workers: Vec<Option<u64>>,
    /// Workers in the middle of an iteration.
    pub busy: Vec<Option<u64>>,
    /// Chains a second that scenarios with such a rate were to reach.
    pub chains_target: Vec<Option<f64>>,
    /// Requests a second that scenarios with such a rate were to reach.
    pub requests_target: Vec<Option<f64>>,
    /// 99th percentile of the scheduling lag, to within 2 %; null below 1,000 samples.
    pub lag_p99_ns: Vec<Option<u64>>,
    /// Largest scheduling lag.
    pub lag_max_ns: Vec<Option<u64>>,
    /// The five chains, each always there.
    #[schema(value_type = BTreeMap<String, ChainSeries>)]
    pub chains: BTreeMap<Chain, ChainSeries>,
}

/// One chain over time. Times are of successful iterations, in the bucket in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainSeries {
    /// Iterations that ended.
    pub count: Vec<u64>,
    /// Those of them that failed.
    pub failed: Vec<u64>,
    /// Mean response time; null when none succeeded.
    pub mean_ns: Vec<Option<u64>>,
    /// Median response time, to within 2 %; null below 20 samples.
    pub p50_ns: Vec<Option<u64>>,
    /// 95th percentile, to within 2 %; null below 200 samples.
    pub p95_ns: Vec<Option<u64>>,
}

/// What `GET /api/v1/snapshot` answers and each event of `GET /api/v1/live` carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// The server's wall clock when this was made, nanoseconds since the Unix epoch.
    pub now_unix_ns: u64,
    /// The session as the board has it; null when there is none yet.
    pub session: Option<SessionView>,
    /// Live nodes on the board.
    pub nodes: Vec<NodeView>,
    /// The service's own condition.
    pub health: Health,
    /// All figures.
    #[schema(value_type = SnapshotSchema)]
    pub snapshot: Snapshot,
    /// The buckets that are new or have changed since the event before; all of them in the first.
    pub series: Series,
}

/// A session on the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// `running`, `paused`, `stopped`.
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
    pub state: String,
    /// Virtual users: how many, or how many at most where it keeps a rate.
    pub workers: u32,
    /// Arrivals a second, in `rate_unit`; null where it keeps a number of workers.
    pub rate: Option<f64>,
    /// What the rate counts: `chains` or `requests`; empty without one.
    #[serde(default)]
    pub rate_unit: String,
    /// Weights of chains by their names; one that is not named weighs what the run was started with.
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
    /// `requester`, `challenge-server`, `analytics`.
    pub kind: String,
    /// Workers that it can run.
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
}
