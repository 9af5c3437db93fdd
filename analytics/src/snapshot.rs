//! What people and programs are shown of a run: the JSON of the web API and of `--json`.
//!
//! A [`Snapshot`] and a [`Series`] are made from records alone, so a live run and a replay of its log give equal
//! ones. What only a running service knows (the board, its own queue and disk) stands beside them in [`Live`].
//! Every duration is in nanoseconds and says so in its key; a figure that cannot be given is `null`.

mod live;
mod runs;
mod series;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::threshold::Unit;
use wec_record::{
    Chain, ChallengeType, FailureClass, LimitCause, LimitKind, Mark, Reach, Stamp, StateCounts, Verdict,
};

use crate::schema;

pub use self::live::{
    CapacityStep, CapacityView, Health, LimitsView, Live, NodeView, ScenarioView, SessionView, StepOutcome,
};
pub use self::runs::{RunEnd, RunEntry, Runs, SessionEntry, Sessions};
pub use self::series::{ChainSeries, Series};
pub use crate::schema::SNAPSHOT_VERSION;

/// All figures of a run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The version of this JSON. Grows when a key changes its meaning or goes away.
    #[schema(schema_with = schema::version)]
    pub version: u32,
    /// Which run.
    pub run: Run,
    /// Wall clock of the latest record, nanoseconds since the Unix epoch; 0 before the first.
    pub at_unix_ns: u64,
    /// From the run's start to the latest record: what rates are over.
    pub elapsed_ns: u64,
    /// HTTP attempts: steps, nonce fetches, retries and polls together.
    pub requests: u64,
    /// HTTP attempts that did not get the right answer; those that were cut off at the end of the run are not among them.
    pub requests_failed: u64,
    /// Those of them that were not sent: the CA named a server, or its name an address, that this run may not load.
    #[serde(default)]
    pub refused_origins: u64,
    /// HTTP attempts a second, over `elapsed_ns`.
    pub rps: f64,
    /// Certificates issued: the headline.
    #[serde(default)]
    pub issued: IssuedFigures,
    /// The five chains, each always there.
    #[schema(schema_with = schema::every_chain::<ChainFigures>)]
    pub chains: BTreeMap<Chain, ChainFigures>,
    /// The endpoints that were asked, in order of first use, `other` last.
    pub endpoints: Vec<EndpointFigures>,
    /// Failures grouped by what failed, most frequent first.
    pub failures: Vec<FailureFigures>,
    /// How the CA and the client got on with nonces.
    pub nonces: NonceFigures,
    /// Further attempts of a step, after `badNonce`, 429 or 503.
    pub retries: u64,
    /// Looks whether an object had reached its state yet.
    pub polls: u64,
    /// Connections.
    pub connections: ConnectionFigures,
    /// Bytes.
    pub bytes: ByteFigures,
    /// Validations that arrived at the challenge servers.
    pub hits: Vec<HitFigures>,
    /// How long authorizations took to be validated, by challenge type.
    #[serde(default)]
    pub validations: Vec<ValidationFigures>,
    /// What the state store held when a requester last said so. `workers` is the sum over all nodes, as each last
    /// said; a node silent for 10 s is not counted.
    pub state: StateCounts,
    /// How many workers the run was asked to have, by the last mark of `workers`; null before the first.
    pub workers_target: Option<u32>,
    /// By name, what each scenario was asked to do and did; empty before the first sample.
    pub scenarios: BTreeMap<String, ScenarioFigures>,
    /// Whether the load tester itself kept up.
    pub generator: GeneratorFigures,
    /// Ready orders that were dropped because they had expired by the CA's clock, or were about to.
    #[serde(default)]
    pub orders_expired: u64,
    /// How many seconds the CA's clock is ahead of the requesters', negative when it is behind, where they differ most; null while
    /// no answer has shown it.
    #[serde(default)]
    pub ca_clock_ahead_s: Option<i64>,
    /// What the run must hold to pass, in the order in which it was given, and how far it does.
    #[serde(default)]
    pub thresholds: Vec<ThresholdResult>,
    /// Chains that the plan wants and that never succeeded: with any of them the run has not passed.
    #[serde(default)]
    pub never_succeeded: Vec<NeverSucceeded>,
    /// Changes of the load, oldest first.
    pub marks: Vec<Mark>,
    /// Certificates that could be shown neither right nor wrong, by reason. They have not failed.
    #[serde(default)]
    pub unverified: BTreeMap<String, u64>,
    /// By certificate profile, the chains whose orders named it, and under `default` those whose orders named none; empty where
    /// no order named any.
    #[serde(default)]
    #[schema(schema_with = schema::chains_by_name::<ProfileFigures>)]
    pub profiles: BTreeMap<String, BTreeMap<Chain, ProfileFigures>>,
    /// What the figures above do not contain.
    pub missing: Missing,
}

/// One chain of one profile, abandoned iterations left out.
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

/// Which run, from the log's header.
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
    /// How long its load is to last at most by its plan, pauses not counted, nanoseconds; null when no plan is known.
    #[serde(default)]
    pub run_time_ns: Option<u64>,
    /// Machine and settings.
    pub stamp: Stamp,
}

/// Certificates that were issued, downloaded and not found wrong, by the certificate and the refresh chain together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IssuedFigures {
    /// How many.
    pub count: u64,
    /// How many a second, over `elapsed_ns`.
    pub per_second: f64,
    /// Response time of a whole issuance, from newOrder to the certificate of one order, without the time that a ready order lay in the
    /// state store and without key generation. Of those of which all parts were measured.
    pub response_time_ns: Timing,
}

/// One chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainFigures {
    /// Iterations that ended by themselves.
    pub count: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Iterations that the load tester cut off at the end of the run. They are in no other figure of the chain.
    #[serde(default)]
    pub cut_off: u64,
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
    /// What `service_time_ns` was spent on.
    #[serde(default)]
    pub time: TimeFigures,
    /// Failures by class; only classes that occurred.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub classes: BTreeMap<FailureClass, u64>,
}

/// A chain that the plan wants and that never succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NeverSucceeded {
    /// Which.
    pub chain: Chain,
    /// How often it was run.
    pub count: u64,
    /// The reason in a sentence, with the most frequent error and the way out where one is known.
    pub why: String,
}

/// One endpoint: a method and a URI template under one of RFC 8555's names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Those of them that the load tester cut off at the end of the run: neither failed nor in the times below.
    #[serde(default)]
    pub cut_off: u64,
    /// Those of them that were sent and of which nothing tells whether the server carried them out: no answer came, or a 5xx, or one of
    /// success that cannot be read. The server's own count lies between `count − failed − cut_off` and that plus these.
    #[serde(default)]
    pub outcome_unknown: u64,
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
    /// Connections, and the parts of a request's time.
    #[serde(default)]
    pub phases: PhaseFigures,
}

/// Whose time a chain's was: the parts of `service_time_ns` of the successful iterations. Their means add up to its mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimeFigures {
    /// In requests, nonce fetches, retries and polls among them: the CA's and the network's.
    pub requests_ns: Timing,
    /// Making connections for them, by DNS, TCP and TLS: the CA's and the network's.
    pub connecting_ns: Timing,
    /// Waited because the CA asked for it (Retry-After).
    pub asked_ns: Timing,
    /// Waited by the load tester's own poll interval or back-off, beyond what the CA asked for.
    pub polls_ns: Timing,
    /// Keys and CSRs: the load tester's.
    pub keys_ns: Timing,
    /// The rest, the load tester's as well: waiting for a free connection, for a processor, for the challenge store, signing.
    pub own_ns: Timing,
}

/// Connections of an endpoint's requests, and the parts of their time, successful or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhaseFigures {
    /// Requests that were the first on their connection, or had none.
    pub new: u64,
    /// Requests over a connection that had served one before.
    pub reused: u64,
    /// Resolving the server's name, where that was done.
    pub dns_ns: Timing,
    /// Making the TCP connection, of new ones.
    pub connect_ns: Timing,
    /// The TLS handshake, of new ones.
    pub tls_ns: Timing,
    /// From sent to the answer's head, of all that were answered.
    pub first_byte_ns: Timing,
}

/// A distribution of times, nanoseconds. A percentile with fewer than 10 samples in its tail is null.
///
/// The key of a percentile with `_ci` behind it holds the least and the largest value that the percentile has with
/// 95 % confidence; null with the percentile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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
    #[schema(schema_with = schema::interval)]
    pub p50_ci: Option<[u64; 2]>,
    /// Null below 100 samples.
    pub p90: Option<u64>,
    /// 95 % interval of `p90`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p90_ci: Option<[u64; 2]>,
    /// Null below 200 samples.
    pub p95: Option<u64>,
    /// 95 % interval of `p95`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p95_ci: Option<[u64; 2]>,
    /// Null below 1,000 samples.
    pub p99: Option<u64>,
    /// 95 % interval of `p99`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p99_ci: Option<[u64; 2]>,
    /// The 99.9th; null below 10,000 samples.
    pub p99_9: Option<u64>,
    /// 95 % interval of `p99_9`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p99_9_ci: Option<[u64; 2]>,
    /// Largest; null without samples.
    pub max: Option<u64>,
}

/// One group of failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// What the class leaves open: the rate limit that a 429 names, the kind of a wrong certificate. May be empty; `other` for what
    /// did not fit into the bounded table.
    #[serde(default)]
    pub detail: String,
    /// How often.
    pub count: u64,
    /// The shortest wait that the CA asked for (Retry-After), nanoseconds; null where it asked for none.
    #[serde(default)]
    pub retry_after_min_ns: Option<u64>,
    /// The longest.
    #[serde(default)]
    pub retry_after_max_ns: Option<u64>,
    /// The message of the first.
    pub example: String,
    /// The CA's own id of that request, where the run names the header that has it; else empty.
    #[serde(default)]
    pub request_id: String,
    /// The `traceparent` that was sent with that request, where the run sends one; else empty.
    #[serde(default)]
    pub traceparent: String,
}

/// What a group of failures is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureScope {
    /// Whole iterations.
    Chain,
    /// Single HTTP attempts.
    Request,
}

/// Nonces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NonceFigures {
    /// Requests made only to fetch one.
    pub fetched: u64,
    /// Signed requests that the CA refused with `badNonce`.
    pub rejected: u64,
    /// `rejected` as a share of all POSTs, 0 to 1; null without POSTs.
    pub rejected_share: Option<f64>,
    /// How old nonces were when they were used.
    #[serde(default)]
    pub age_ns: Timing,
}

/// Connections, as seen by requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionFigures {
    /// Requests that were the first on their connection.
    pub new: u64,
    /// Requests over a connection that had served one before.
    pub reused: u64,
    /// How often a request went again over a new connection, since its used one was closed or reset before any answer.
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

/// Authorizations that were proven by one type of challenge, from the challenge's answer to the settled authorization.
///
/// `time_ns` is by the requester's clock. The last three subdivide it by the hits on the challenge server, whose clock may be
/// another; they are of the `count − without_hits` authorizations that have hits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValidationFigures {
    /// Challenge type.
    #[serde(rename = "type")]
    pub challenge: ChallengeType,
    /// Authorizations that became valid or invalid.
    pub count: u64,
    /// Those of them for which no hit is known.
    pub without_hits: u64,
    /// Those whose first hit lies outside of their time, so that it was moved to its nearer end: the clocks differ.
    pub clipped: u64,
    /// From the challenge's POST to the first answer by which the authorization is final.
    pub time_ns: Timing,
    /// The part of it before the CA's first look.
    pub to_first_hit_ns: Timing,
    /// The part of it from the first look to the last, 0 where there was one.
    pub between_hits_ns: Timing,
    /// The part of it after the last look.
    pub after_last_hit_ns: Timing,
}

/// Validations of one type that were answered in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Workers that wait because their last iteration failed, and back off.
    #[serde(default)]
    pub backing_off: u64,
    /// What is asked for now, in `rate_unit` a second; null without a rate. Of a run that was stopped, the mean over the time in which
    /// the scenario was active.
    pub rate_target: Option<f64>,
    /// What was reached in the latest second, in `rate_unit` a second; chains where there is no unit. Of a run that was stopped, the
    /// mean over the time in which the scenario was active.
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
    /// Iterations ended by themselves.
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
    /// For how long it was to start iterations, on the node where it was longest; pauses and waits for other scenarios left out.
    /// Nanoseconds.
    #[serde(default)]
    pub active_ns: u64,
    /// For how long the cap on workers held the rate below its target, on the node where it was longest, nanoseconds.
    #[serde(default)]
    pub capped_ns: u64,
    /// For how long more workers brought no more, on the node where it was longest, nanoseconds.
    #[serde(default)]
    pub saturated_ns: u64,
}

/// Whether the load tester itself kept up with what it was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GeneratorFigures {
    /// Whether any bound was exceeded for long enough to count, at any time: the figures are then not the CA's alone.
    pub limited: bool,
    /// Whether one is now.
    pub limited_now: bool,
    /// For how long, on the node where it was longest, nanoseconds.
    pub limited_ns: u64,
    /// The same by cause: what a person has to change. All three are always there.
    #[serde(default)]
    #[schema(schema_with = schema::every_cause::<CauseFigures>)]
    pub causes: BTreeMap<LimitCause, CauseFigures>,
    /// Which bounds, longest first; at most 50.
    pub limits: Vec<LimitFigures>,
    /// What lag adds to response times, where lag is among the limits.
    #[serde(default)]
    pub distortion: Option<Distortion>,
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

/// For how long one cause limited the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CauseFigures {
    /// Whether a bound with this cause is exceeded now.
    pub limited_now: bool,
    /// For how long one was, on the node where it was longest, nanoseconds.
    pub limited_ns: u64,
}

/// What scheduling lag can have added to the response times of requests, over the whole run.
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

/// A bound of the generator that one node exceeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitFigures {
    /// The node's id.
    pub node: String,
    /// Which bound.
    pub what: LimitKind,
    /// What a person has to change.
    #[serde(default)]
    pub cause: LimitCause,
    /// Which thread or scenario; may be empty.
    pub place: String,
    /// Whether it is exceeded now.
    pub now: bool,
    /// The worst second: nanoseconds for `lag`, a share from 0 to 1 for all else.
    pub worst: f64,
    /// The bound in that second, in the same unit.
    pub bound: f64,
    /// For lag, the median response time that it was compared with, nanoseconds; 0 for all else.
    #[serde(default)]
    pub against_ns: u64,
    /// When it first was, nanoseconds since the Unix epoch.
    pub first_unix_ns: u64,
    /// For how long, all times together, nanoseconds.
    pub total_ns: u64,
    /// All of this and the way out, for people.
    pub reason: String,
}

/// One threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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

/// What was bounded away. All zero in a healthy run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// Results that senders lost: without room in queue and spool, or refused for good. The log's `lost` records have the reason.
    pub lost_results: u64,
    /// Results that name no chain known to this version: logged, not in any chain's figures.
    pub unknown_chains: u64,
    /// Records of kinds that this version does not know: in the log as they came, and in no figure.
    #[serde(default)]
    pub unknown_records: u64,
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
    /// Hits whose name is of no authorization known by now.
    #[serde(default)]
    pub unjoined_hits: u64,
}
