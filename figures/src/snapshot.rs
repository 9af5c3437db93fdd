//! The figures of a run for people and programs: the JSON of the web API and of `--json`.
//!
//! A [`Snapshot`] and a [`Series`] are made from records alone, so a live run and a replay of its log give
//! equal ones. What only a running service has (the board, its own queue and disk) is in `wec-analytics`. Every
//! duration is in nanoseconds and its key ends in `_ns`; a figure that cannot be given is `null`.

mod distribution;
mod failures;
mod nodes;
mod observed;
mod pauses;
mod series;
mod validations;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::threshold::Unit;
use wec_record::{
    Chain, FailureClass, Level, LimitCause, LimitKind, Mark, MarkView, Reach, Stamp, StateCounts,
    write_mark_views,
};

use crate::schema;

pub use self::distribution::{DistributionCell, DistributionView, Example, TimesInBucket};
pub use self::failures::{FailureFigures, FailureScope, Trend};
pub use self::nodes::NodeFigures;
pub use self::observed::{Measure, ObservedFigures, ObservedOverTime, ObservedSeries};
pub use self::series::{ChainPercentiles, ChainSeries, Series, WindowView};
pub use self::validations::{HitFigures, HitSource, Perspectives, UnknownHit, ValidationFigures};
pub use crate::distribution::Timing;
pub use crate::schema::SNAPSHOT_VERSION;

/// All figures of a run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The version of this JSON. It grows when a key changes its meaning or is removed.
    #[schema(schema_with = schema::version)]
    pub version: u32,
    /// The run.
    pub run: Run,
    /// Wall clock of the latest record, nanoseconds since the Unix epoch; 0 before the first.
    pub at_unix_ns: u64,
    /// Time from the run's start to the latest record, nanoseconds; of a period, its length. Rates are over
    /// this time.
    pub elapsed_ns: u64,
    /// The part of the run that the figures are of; null for the whole run.
    #[serde(default)]
    pub period: Option<Period>,
    /// HTTP attempts: steps, nonce fetches, retries and polls together.
    pub requests: u64,
    /// HTTP attempts without the expected answer; those cut off are not included.
    pub requests_failed: u64,
    /// Those of them that were not sent because this run may not load the server that the CA named, or its
    /// address.
    #[serde(default)]
    pub refused_origins: u64,
    /// HTTP attempts per second, over `elapsed_ns`.
    pub rps: f64,
    /// done − due of all HTTP attempts that succeeded.
    #[serde(default)]
    pub response_time_ns: Timing,
    /// Certificates issued.
    #[serde(default)]
    pub issued: IssuedFigures,
    /// Every chain, also one without results.
    #[schema(schema_with = schema::every_chain::<ChainFigures>)]
    pub chains: BTreeMap<Chain, ChainFigures>,
    /// The endpoints that received requests, in order of first use, `other` last.
    pub endpoints: Vec<EndpointFigures>,
    /// Failures grouped by what failed, most frequent first.
    pub failures: Vec<FailureFigures>,
    /// Figures of nonces.
    pub nonces: NonceFigures,
    /// Further attempts of a step, after `badNonce`, 429 or 503.
    pub retries: u64,
    /// Polls for the state of an object.
    pub polls: u64,
    /// Connections.
    pub connections: ConnectionFigures,
    /// Bytes.
    pub bytes: ByteFigures,
    /// Validations that arrived at the challenge servers.
    pub hits: Vec<HitFigures>,
    /// Validations by the address that they came from, most frequent first: the first 64 addresses.
    #[serde(default)]
    pub hit_sources: Vec<HitSource>,
    /// The latest 50 validations for which no challenge data was stored, latest first.
    #[serde(default)]
    pub unknown_hits: Vec<UnknownHit>,
    /// How long authorizations took to be validated, by challenge type.
    #[serde(default)]
    pub validations: Vec<ValidationFigures>,
    /// What the state store held by the latest report of a requester. `workers` is the sum of the latest
    /// reports of all nodes; a node without a report for 10 s is not counted.
    pub state: StateCounts,
    /// Target number of workers, by the last mark of `workers`; null before the first.
    pub workers_target: Option<u32>,
    /// Target and actual load of each scenario, by name; empty before the first sample.
    pub scenarios: BTreeMap<String, ScenarioFigures>,
    /// What each requester did: the first 64 nodes, by id.
    #[serde(default)]
    pub nodes: Vec<NodeFigures>,
    /// Whether the load tester itself kept up.
    pub generator: GeneratorFigures,
    /// Ready orders that were dropped because they had expired by the CA's clock, or were about to expire.
    #[serde(default)]
    pub orders_expired: u64,
    /// How far the CA's clock is ahead of the requesters' clocks, seconds; negative when it is behind. The
    /// largest difference of all requesters; null while no answer has shown it.
    #[serde(default)]
    pub ca_clock_ahead_s: Option<i64>,
    /// The thresholds in the order in which they were given, with their results.
    #[serde(default)]
    pub thresholds: Vec<ThresholdResult>,
    /// Chains that the plan includes and that never succeeded. A run with any of them has not passed.
    #[serde(default)]
    pub never_succeeded: Vec<NeverSucceeded>,
    /// What the processes of the load tester warned of during the run, most frequent first: the first 50
    /// causes. Texts that differ only in numbers and generated names have one cause.
    #[serde(default)]
    pub warnings: Vec<WarningFigures>,
    /// Metrics of other programs beside the load, those that moved most with the response times first.
    #[serde(default)]
    pub observed: Vec<ObservedFigures>,
    /// Changes of the load, oldest first.
    #[serde(serialize_with = "write_mark_views")]
    #[schema(value_type = Vec<MarkView>)]
    pub marks: Vec<Mark>,
    /// The times in which the parts of all nodes were less than the target, oldest first.
    #[serde(default)]
    pub gaps: Vec<GapFigures>,
    /// Certificates that could not be verified, by reason. They have not failed.
    #[serde(default)]
    pub unverified: BTreeMap<String, u64>,
    /// Chains by certificate profile: those whose orders named it, and under `default` those whose orders
    /// named none. Empty if no order named any.
    #[serde(default)]
    #[schema(schema_with = schema::chains_by_name::<ProfileFigures>)]
    pub profiles: BTreeMap<String, BTreeMap<Chain, ProfileFigures>>,
    /// What the figures above do not include.
    pub missing: Missing,
}

/// A time in which the parts of all nodes were less than the target of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GapFigures {
    /// The scenario.
    pub scenario: String,
    /// When it began, nanoseconds since the Unix epoch.
    pub from_unix_ns: u64,
    /// When it ended, nanoseconds since the Unix epoch.
    pub to_unix_ns: u64,
    /// How many of `unit` the target required in this time; of workers, on average.
    pub required: u64,
    /// How many of these were no node's part.
    pub missing: u64,
    /// `chains`, `requests` or `workers`.
    pub unit: String,
}

/// A cause that processes of the load tester warned of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WarningFigures {
    /// How bad it is.
    pub level: Level,
    /// How often it happened.
    pub count: u64,
    /// When it happened first, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// When it happened last, nanoseconds since the Unix epoch.
    pub last_unix_ns: u64,
    /// The ids of the first ten nodes that reported it; `analytics` for analytics itself.
    pub nodes: Vec<String>,
    /// The part of the program, such as `wec_store::state`.
    pub target: String,
    /// The text of the first time.
    pub text: String,
}

/// The answer of `GET /api/v1/runs/ID/warnings`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Warnings {
    /// By cause, most frequent first: the first 50 causes.
    pub warnings: Vec<WarningFigures>,
    /// How many had further causes.
    pub others: u64,
}

/// A part of a run. A chain, a request or a validation belongs to the part in which it ended; a mark or a
/// sample to the part in which it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Period {
    /// Its start, nanoseconds since the run's start.
    pub from_ns: u64,
    /// Its end, which is not part of it, nanoseconds since the run's start.
    pub to_ns: u64,
}

/// One chain of one profile, without abandoned iterations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProfileFigures {
    /// Iterations that ended.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// done − due of the successful ones.
    pub response_time_ns: Timing,
    /// done − started of the successful ones.
    pub service_time_ns: Timing,
}

/// The run, from the log's header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Longest time of its load by its plan, without pauses, nanoseconds; null when no plan is known.
    #[serde(default)]
    pub run_time_ns: Option<u64>,
    /// Time from the run's start whose results are in the charts and in no figure, nanoseconds.
    #[serde(default)]
    pub warm_up_ns: u64,
    /// Machine and settings.
    pub stamp: Stamp,
}

/// Certificates that were issued, downloaded and not found wrong, of the chains certificate and refresh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IssuedFigures {
    /// Number of certificates.
    pub count: u64,
    /// Certificates per second, over `elapsed_ns`.
    pub per_second: f64,
    /// Response time of a whole issuance, newOrder to certificate of one order, without the time for which a
    /// ready order was stored and without key generation. Only issuances of which all parts were measured.
    pub response_time_ns: Timing,
}

impl Snapshot {
    /// The chains that tables list: those that ran, and those that run by default.
    pub fn listed_chains(&self) -> impl Iterator<Item = (&Chain, &ChainFigures)> {
        self.chains.iter().filter(|(chain, figures)| {
            figures.count > 0 || figures.cut_off > 0 || chain.facts().default_weight > 0.0
        })
    }
}

/// One chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainFigures {
    /// Iterations that ended and were not cut off.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Iterations that the load tester cut off. No other figure of the chain includes
    /// them.
    #[serde(default)]
    pub cut_off: u64,
    /// Iterations that left an order unfinished on purpose. They have not failed and are not in the times
    /// below.
    #[serde(default)]
    pub abandoned: u64,
    /// Iterations per second.
    pub rps: f64,
    /// done − due of the successful ones.
    pub response_time_ns: Timing,
    /// done − started of the successful ones.
    pub service_time_ns: Timing,
    /// done − due of the failed ones.
    pub failed_response_time_ns: Timing,
    /// done − started of the failed ones.
    pub failed_service_time_ns: Timing,
    /// Total time of key and CSR generation in all of them; never counted as the server's time.
    pub keygen_ns: u64,
    /// The parts of `service_time_ns`.
    #[serde(default)]
    pub time: TimeFigures,
    /// Failures by class; only classes with failures.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub classes: BTreeMap<FailureClass, u64>,
}

/// A chain that the plan includes and that never succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NeverSucceeded {
    /// The chain.
    pub chain: Chain,
    /// How often it was run.
    pub count: u64,
    /// The reason in a sentence, with the most frequent error and its remedy where one is known.
    pub why: String,
}

/// One endpoint: a method and a URI template under one of RFC 8555's names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointFigures {
    /// RFC 8555's name: `newOrder`; `other` for endpoints beyond the bounded table.
    pub endpoint: String,
    /// HTTP method.
    pub method: String,
    /// URI template, with ids replaced.
    pub uri: String,
    /// HTTP attempts.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those of them that the load tester cut off: they have not failed and are not in
    /// the times below.
    #[serde(default)]
    pub cut_off: u64,
    /// Those of them that were sent and of which it is not known if the server processed them: no answer, a
    /// 5xx, or an unreadable success. The server's own count is between `count − failed − cut_off` and the
    /// sum of that and these.
    #[serde(default)]
    pub outcome_unknown: u64,
    /// HTTP attempts per second.
    pub rps: f64,
    /// Bytes of the answers' bodies, of all that were not cut off.
    #[serde(default)]
    pub bytes_received: u64,
    /// done − due of the successful ones.
    pub response_time_ns: Timing,
    /// done − sent of the successful ones.
    pub service_time_ns: Timing,
    /// done − due of the failed ones.
    pub failed_response_time_ns: Timing,
    /// done − sent of the failed ones.
    pub failed_service_time_ns: Timing,
    /// Connections, and the parts of a request's time.
    #[serde(default)]
    pub phases: PhaseFigures,
}

/// The parts of `service_time_ns` of a chain's successful iterations. The means of the parts add up to its
/// mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimeFigures {
    /// Requests, including nonce fetches, retries and polls. Used by the CA and the network.
    pub requests_ns: Timing,
    /// Making connections, by DNS, TCP and TLS. Used by the CA and the network.
    pub connecting_ns: Timing,
    /// Waits that the CA asked for (Retry-After).
    pub asked_ns: Timing,
    /// Waits for the load tester's own poll interval or back-off, beyond what the CA asked for.
    pub polls_ns: Timing,
    /// Keys and CSRs. Used by the load tester.
    pub keys_ns: Timing,
    /// The rest, also used by the load tester: waits for a free connection, a processor or the challenge
    /// store, and signing.
    pub own_ns: Timing,
}

/// Connections of an endpoint's requests, and the phases of their time, successful or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhaseFigures {
    /// Requests that were the first on their connection, or had none.
    pub new: u64,
    /// Requests on a connection that had carried one before.
    pub reused: u64,
    /// Resolving the server's name, if necessary.
    pub dns_ns: Timing,
    /// Making new TCP connections.
    pub connect_ns: Timing,
    /// TLS handshakes of new connections.
    pub tls_ns: Timing,
    /// From sent to the head of the answer, for all requests with an answer.
    pub first_byte_ns: Timing,
}

/// Nonces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NonceFigures {
    /// Requests made only to fetch a nonce.
    pub fetched: u64,
    /// Signed requests that the CA refused with `badNonce`.
    pub rejected: u64,
    /// `rejected` as a share of all POSTs, 0 to 1; null without POSTs.
    pub rejected_share: Option<f64>,
    /// Age of nonces at their use.
    #[serde(default)]
    pub age_ns: Timing,
}

/// Connections, as seen by requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionFigures {
    /// Requests that were the first on their connection.
    pub new: u64,
    /// Requests on a connection that had carried one before.
    pub reused: u64,
    /// How often a request was sent again on a new connection because its reused one was closed or reset
    /// before any answer.
    #[serde(default)]
    pub reconnects: u64,
}

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ByteFigures {
    /// Heads and bodies of requests.
    pub sent: u64,
    /// Bodies of answers.
    pub received: u64,
}

/// One scenario, over all nodes that run it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScenarioFigures {
    /// The executor's name, as in a scenario.
    pub executor: String,
    /// Target number of workers now; with a rate, the largest number allowed. Here and in the next four, a
    /// node without a sample for 10 s is not counted.
    pub workers_target: u64,
    /// Current number of workers.
    pub workers: u64,
    /// Workers that are running an iteration.
    pub busy: u64,
    /// Workers that back off because their last iteration failed.
    #[serde(default)]
    pub backing_off: u64,
    /// Target rate now, of all nodes together, in `rate_unit` per second; null without a rate. For a run that was
    /// stopped, the mean over the scenario's active time.
    pub rate_target: Option<f64>,
    /// How much of `rate_target` no node has as its part now: because a node is lost, or because all together cannot
    /// make it; null without a rate.
    #[serde(default)]
    pub rate_missing: Option<f64>,
    /// Actual rate in the latest second, in `rate_unit` per second; chains per second where there is no unit.
    /// For a run that was stopped, the mean over the scenario's active time.
    pub rate: f64,
    /// `chains`, `requests`, or empty without a rate.
    pub rate_unit: String,
    /// How many of `rate_unit` the target has required so far: its integral over time. Without a rate, the
    /// number of iterations that ends the scenario, or 0.
    pub asked: u64,
    /// How many of `asked` were no node's part: the sum of the scenario's gaps.
    #[serde(default)]
    pub missing: u64,
    /// Iterations in flight when the warm-up ended or the part of the run began: they count in `ended` and not in
    /// `asked`. 0 for a rate of requests.
    #[serde(default)]
    pub carried: u64,
    /// Iterations that were due.
    pub due: u64,
    /// Iterations started.
    pub started: u64,
    /// Iterations that ended and were not interrupted.
    pub ended: u64,
    /// HTTP requests ended.
    pub requests: u64,
    /// Iterations dropped: they were due, but no worker was free and no more workers were allowed.
    pub dropped: u64,
    /// How often a worker found no chain that it could run.
    pub idle: u64,
    /// How close the rate is to its target, for the executor that adapts its workers to it, on the live node
    /// that is furthest from it; null for other executors.
    #[serde(default)]
    pub reach: Option<Reach>,
    /// Active time on the node where it was longest, without pauses and waits for other scenarios,
    /// nanoseconds.
    #[serde(default)]
    pub active_ns: u64,
    /// Time for which the cap on workers kept the rate below its target, on the node where it was longest,
    /// nanoseconds.
    #[serde(default)]
    pub capped_ns: u64,
    /// Time for which more workers did not increase the rate, on the node where it was longest, nanoseconds.
    #[serde(default)]
    pub saturated_ns: u64,
}

/// Whether the load tester itself kept up with its schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GeneratorFigures {
    /// Whether any bound was exceeded for long enough to count. Then the figures are not those of the CA
    /// alone.
    pub limited: bool,
    /// Whether a bound is exceeded now.
    pub limited_now: bool,
    /// Time for which a bound was exceeded, on the node where it was longest, nanoseconds.
    pub limited_ns: u64,
    /// The same by cause, which is what a person has to change. All three are always there.
    #[serde(default)]
    #[schema(schema_with = schema::every_cause::<CauseFigures>)]
    pub causes: BTreeMap<LimitCause, CauseFigures>,
    /// The exceeded bounds, longest first; at most 50.
    pub limits: Vec<LimitFigures>,
    /// How much lag adds to response times, if lag exceeded its bound.
    #[serde(default)]
    pub distortion: Option<Distortion>,
    /// Scheduling lag: how late work ran, over the run and all nodes. Precise to a microsecond below 256 µs, and to 0.8 % above.
    pub lag_ns: Timing,
    /// Share of the latest second for which the busiest worker thread ran, 0 to 1; null where the system does
    /// not report it.
    pub cpu_share: Option<f64>,
    /// Its maximum so far.
    pub cpu_share_max: Option<f64>,
    /// Share of the latest second for which that thread was ready but had no processor.
    pub cpu_wait_share: Option<f64>,
    /// Its maximum so far.
    pub cpu_wait_share_max: Option<f64>,
    /// Processors used by all requesters in the latest second, summed.
    pub processors: Option<f64>,
    /// Fill level of the fullest queue of results, 0 to 1.
    pub backlog_share: f64,
    /// Its maximum so far.
    pub backlog_share_max: f64,
    /// Iterations that were due, over all scenarios.
    pub due: u64,
    /// Those of them that were dropped.
    pub dropped: u64,
    /// `dropped` as a share of `due`; null while nothing was due.
    pub dropped_share: Option<f64>,
}

/// Time for which one cause limited the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CauseFigures {
    /// Whether a bound with this cause is exceeded now.
    pub limited_now: bool,
    /// Time for which one was exceeded, on the node where it was longest, nanoseconds.
    pub limited_ns: u64,
}

/// How much scheduling lag can have added to the response times of requests, over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Distortion {
    /// The median lag, nanoseconds.
    pub p50_ns: u64,
    /// As a share of the median response time.
    pub p50_share: f64,
    /// The 99th percentile of lag, nanoseconds; null with too few samples.
    pub p99_ns: Option<u64>,
    /// As a share of the 99th percentile of response times.
    pub p99_share: Option<f64>,
}

/// A bound of the load tester that one node exceeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitFigures {
    /// The node's id.
    pub node: String,
    /// The bound.
    pub what: LimitKind,
    /// The cause, by what a person has to change.
    #[serde(default)]
    pub cause: LimitCause,
    /// The thread or scenario; may be empty.
    pub place: String,
    /// Whether it is exceeded now.
    pub now: bool,
    /// The worst second: nanoseconds for `lag`, else a share from 0 to 1.
    pub worst: f64,
    /// The bound in that second, in the same unit.
    pub bound: f64,
    /// For lag, the median response time that it is compared with, nanoseconds; otherwise 0.
    #[serde(default)]
    pub against_ns: u64,
    /// When it was first exceeded, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// Total time for which it was exceeded, nanoseconds.
    pub total_ns: u64,
    /// The same as a sentence, with the remedy.
    pub reason: String,
}

/// One threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ThresholdResult {
    /// The threshold in its normal form.
    pub expression: String,
    /// The unit of `value` and `limit`.
    pub unit: Unit,
    /// The value of the run so far; with a window, of the worst one; if it ended the run, the value at that
    /// moment. Null while there is none.
    pub value: Option<f64>,
    /// The limit.
    pub limit: f64,
    /// Null while undecided. A threshold that is undecided at the end of the run has not passed.
    pub passed: Option<bool>,
    /// Number of samples in the value.
    pub n: u64,
    /// Windows judged; null without a window.
    pub windows: Option<u64>,
    /// Those of them that failed; null without a window.
    pub windows_failed: Option<u64>,
    /// Start of the worst window, nanoseconds since the Unix epoch; null without one.
    pub worst_unix_ns: Option<u64>,
    /// Whether it ended the run early.
    pub aborted: bool,
}

/// What exceeded a bound and is not in the figures. All zero in a healthy run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// Results that senders lost because queue and spool were full, or because they were refused permanently.
    /// The log's `lost` records have the reason.
    pub lost_results: u64,
    /// Results of chains unknown to this version: in the log, but in no chain's figures.
    pub unknown_chains: u64,
    /// Records of a kind unknown to this version, or with an unknown value: unchanged in the log, but in no
    /// figure.
    #[serde(default)]
    pub unknown_records: u64,
    /// Warnings beyond the bounded list of causes.
    #[serde(default)]
    pub other_warnings: u64,
    /// Times above one hour, counted as one hour.
    pub clamped_times: u64,
    /// Requests counted under the endpoint `other`.
    pub other_endpoints: u64,
    /// Failures counted under the name `other`.
    pub other_failures: u64,
    /// Marks beyond the bounded list.
    pub dropped_marks: u64,
    /// Scenarios in samples beyond the first 64.
    pub other_scenarios: u64,
    /// Chosen series of observed programs that were not sampled, because there were too many, or because their value was
    /// NaN or infinite.
    #[serde(default)]
    pub observed_left_out: u64,
    /// Samples of observed series beyond the first 256.
    #[serde(default)]
    pub other_observed: u64,
    /// Records whose time is outside of the series.
    pub outside_series: u64,
    /// Hits without an authorization of the same name so far.
    #[serde(default)]
    pub unjoined_hits: u64,
}
