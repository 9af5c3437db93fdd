//! `Plan`: the description of a run in the header of its log and in the API.
//!
//! Readers take times, loads and thresholds from here and do not compute them again. Flags, environment and
//! file are read in the requester. The plan contains no secrets.

mod choices;
mod plain;
mod read;
mod values;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Object, Threshold};

pub use self::choices::{Connections, HttpVersion, OnFailure, StopBefore};
pub use self::plain::{PlainScenarioValues, PlainValues};
pub use self::read::lenient;
pub(crate) use self::read::shown_url;
pub use self::values::{Count, Shares, Span, Time, Weights};

/// Version of the plan's format. It grows when a reader of the old format would misread the new one.
pub const VERSION: u32 = 1;

/// Largest number of workers of a scenario.
pub const MAX_WORKERS: u32 = 1_000_000;
/// Largest rate of a scenario, per second.
pub const MAX_RATE: f64 = 1e6;
/// Largest weight in a choice, as of chains or key types.
pub const MAX_WEIGHT: f64 = 1e6;

/// Keys that this version does not know. They are written back as they were read.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

/// A validated run: the target, the load and the settings. Keys missing in a log have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Plan {
    /// Version of the plan's format; 0 in logs from before versions.
    pub version: u32,
    /// The CA's directory, without the query of its URL.
    #[serde(deserialize_with = "shown_url")]
    pub directory: String,
    /// PEM bundle that the CA's HTTPS certificate must chain to; none for the system's roots.
    pub cacert: Option<String>,
    /// Whether any HTTPS certificate is accepted.
    pub insecure: bool,
    /// Path from which the certificate shown in TLS handshakes was read.
    pub client_cert: Option<String>,
    /// Whether requests have a W3C traceparent.
    pub traceparent: bool,
    /// The response header in which the CA sends its own id of a request.
    pub request_id_header: String,
    /// PEM file with the CA certificates that issued certificates must chain to.
    pub issuer_root: Option<String>,
    /// The scenarios, ordered by name.
    pub scenarios: Vec<Scenario>,
    /// Time from the run's start whose results are in no figure and no verdict.
    #[schema(value_type = String)]
    pub warm_up: Time,
    /// Hard limits on the objects that the run makes.
    pub limits: Limits,
    /// The HTTP version for the CA.
    pub http: HttpVersion,
    /// Contacts of new accounts.
    pub contact: Vec<String>,
    /// Key identifier of the external account binding.
    pub eab: Option<String>,
    /// Seed of the random choices.
    pub seed: u64,
    /// The addresses at which the requester answers validations.
    pub listen: Listen,
    /// The CAA records that the requester's DNS has by rule; empty without any.
    pub caa: String,
    /// How connections to the CA's servers are made.
    pub dialling: Dialling,
    /// The wait before the first poll.
    #[schema(value_type = String)]
    pub poll_interval: Time,
    /// Time limit of one poll loop.
    #[schema(value_type = String)]
    pub poll_timeout: Time,
    /// Retries of a request that the CA refused with 429 or 503 and a Retry-After.
    pub max_retries: u32,
    /// The longest Retry-After that the client waits for.
    #[schema(value_type = String)]
    pub max_retry_after: Time,
    /// Number of runtimes.
    pub threads: usize,
    /// Above these bounds the load tester itself counts as the limit.
    pub bounds: Bounds,
    /// The conditions for the run to pass.
    #[schema(value_type = Vec<String>)]
    pub thresholds: Vec<Threshold>,
    /// Values that the run uses as they are recorded.
    #[serde(flatten)]
    pub plain: PlainValues,
    /// Keys that later versions wrote.
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: Unknown,
}

/// Hard limits on the objects that a run makes at one CA, by all its processes; none means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanLimits)]
pub struct Limits {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Ready orders.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

impl Limits {
    /// The limit on objects of this kind.
    pub const fn on(&self, kind: Object) -> Option<u64> {
        match kind {
            Object::Registration => self.registrations,
            Object::Order => self.authorizations,
            Object::Certificate => self.certificates,
        }
    }
}

/// Addresses at which a requester answers validations; none means off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanListen)]
pub struct Listen {
    /// http-01.
    #[schema(value_type = Option<String>)]
    pub http01: Option<SocketAddr>,
    /// tls-alpn-01.
    #[schema(value_type = Option<String>)]
    pub tlsalpn01: Option<SocketAddr>,
    /// DNS, UDP and TCP.
    #[schema(value_type = Option<String>)]
    pub dns: Option<SocketAddr>,
}

/// How connections to servers are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanDialling)]
pub struct Dialling {
    /// Whether new connections use all addresses of a name in turn.
    pub spread: bool,
    /// Replacements for the address of a server: `HOST:PORT:ADDR:PORT`.
    pub connect_to: Vec<String>,
    /// Local addresses for outgoing connections, used in turn.
    #[schema(value_type = Vec<String>)]
    pub source_addresses: Vec<IpAddr>,
}

/// Bounds above which the load tester, and not only the CA, limits the run. Shares are 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanBounds)]
pub struct Bounds {
    /// Scheduling lag, 99th percentile of a second.
    #[schema(value_type = String)]
    pub lag: Time,
    /// The same, as a share of the median response time of requests.
    pub lag_share: f64,
    /// Share of the time for which a worker thread runs or waits for a processor.
    pub cpu: f64,
    /// Fill level of the queue of results.
    pub backlog: f64,
    /// Share of the iterations due in a second that are dropped.
    pub dropped: f64,
    /// Share of their time for which requests wait for a free connection.
    pub connections: f64,
}

/// One load of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanScenario)]
pub struct Scenario {
    /// Unique in the plan.
    pub name: String,
    /// Start time: after the run's start, or after the end of `after`.
    #[schema(value_type = String)]
    pub start_at: Time,
    /// The scenario whose end it waits for.
    pub after: Option<String>,
    /// Longest time from its start to the start of its last iteration, without pauses.
    #[schema(value_type = String)]
    pub run_time: Time,
    /// The executor and its load.
    #[serde(flatten)]
    pub load: Load,
    /// Pause between two iterations of one worker: `1s..5s`.
    #[schema(value_type = Option<String>)]
    pub think_time: Option<Span<Time>>,
    /// Weights of chains in the picker.
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    pub weights: Weights,
    /// Number of names in an order: `1..5`, or weights, `1:70,2:20`.
    #[schema(value_type = Option<String>)]
    pub names_per_order: Option<Count>,
    /// Weights of the kinds of names.
    #[schema(value_type = String)]
    pub name_kinds: Shares,
    /// Networks of the addresses in orders, of each family one.
    pub ip_networks: String,
    /// The validity that new orders request; none: the CA chooses.
    #[schema(value_type = Option<String>)]
    pub validity: Option<Time>,
    /// Weights of the challenge types.
    #[schema(value_type = String)]
    pub challenge_types: Shares,
    /// Share of new orders of which one validation fails on purpose, 0 to 1.
    pub fail_validations: f64,
    /// Weights of the faults of these validations.
    #[schema(value_type = String)]
    pub validation_faults: Shares,
    /// Weights of the key types of certificates.
    #[schema(value_type = String)]
    pub key_types: Shares,
    /// Weights of the key types of accounts.
    #[schema(value_type = String)]
    pub account_key_types: Shares,
    /// How connections to the CA are shared.
    pub connections: Connections,
    /// Weights of the behaviours of the chains' clients.
    #[schema(value_type = String)]
    pub behaviours: Shares,
    /// Chains end before this step.
    pub stop_before: Option<StopBefore>,
    /// Weights of the certificate profiles of new orders; `default` means no profile.
    #[schema(value_type = String)]
    pub profile: Shares,
    /// Weights of the reasons of revocations; `none` means no reason.
    #[schema(value_type = String)]
    pub revoke_reasons: Shares,
    /// Share of revocations signed with the certificate's key, 0 to 1.
    pub revoke_by_certificate_key: f64,
    /// Share of revocations by another account with authorizations for all names, 0 to 1.
    pub revoke_by_other_account: f64,
    /// Weights of the requests of the refusals chain.
    #[schema(value_type = String)]
    pub refusals: Shares,
    /// The steps of the chain composed; empty without one.
    pub steps: String,
    /// What workers do after a failure of the CA or the network.
    pub on_failure: OnFailure,
    /// Values that the chains use as they are recorded.
    #[serde(flatten)]
    pub plain: PlainScenarioValues,
    /// Keys that later versions wrote. Filled when a log is read, because serde cannot separate them from the
    /// keys of `load`.
    #[serde(flatten, skip_deserializing)]
    #[schema(ignore)]
    pub unknown: Unknown,
}

/// The load of a scenario, by its executor.
#[derive(
    Clone, Debug, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames, ToSchema,
)]
#[serde(tag = "executor", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
#[schema(as = PlanLoad)]
pub enum Load {
    /// A closed model: each of a number of workers starts its next iteration when its last one has ended.
    Workers {
        /// Number of workers at the start.
        workers: u32,
        /// Later changes of the number.
        #[serde(default)]
        stages: Vec<Stage>,
    },
    /// An open model: iterations start when they are due, whether or not earlier ones have ended.
    ArrivalRate {
        /// Rate per second at the start.
        rate: f64,
        /// What the rate counts.
        #[serde(default)]
        unit: RateUnit,
        /// Whether arrivals are independent (Poisson), or at equal intervals.
        #[serde(default)]
        poisson: bool,
        /// Later changes of the rate.
        #[serde(default)]
        stages: Vec<Stage>,
        /// The largest number of workers.
        workers: u32,
    },
    /// A rate of requests, reached with as many workers as needed.
    TargetRps {
        /// Requests per second at the start.
        target_rps: f64,
        /// Later changes of the rate.
        #[serde(default)]
        stages: Vec<Stage>,
        /// The largest number of workers.
        workers: u32,
    },
    /// A fixed number of iterations, shared by workers.
    Iterations {
        /// Number of iterations, all workers together.
        iterations: u64,
        /// Number of workers that share them.
        workers: u32,
    },
    /// A fleet of certificates: iterations start when its clients renew.
    Fleet {
        /// Certificates at the start of the fleet's clock.
        certificates: u64,
        /// Their lifetime then.
        #[schema(value_type = String)]
        lifetime: Time,
        /// The classes of clients, each with its weight.
        #[serde(default)]
        classes: Vec<String>,
        /// What happens on the fleet's clock.
        #[serde(default)]
        events: Vec<String>,
        /// The time of the fleet's clock at which the run begins.
        #[schema(value_type = String)]
        from: Time,
        /// Seed of the fleet's random choices.
        #[serde(default)]
        seed: u64,
        /// Seconds of the fleet's clock in a second.
        speed: f64,
        /// The largest number of workers.
        workers: u32,
    },
}

/// The name of the executor [`Load::Fleet`].
pub const FLEET: &str = "fleet";

/// For people: `50 chains/s, at most 1000 workers, 2 stages`.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = match self {
            Self::Workers { workers, stages } => {
                write!(f, "{workers} workers")?;
                stages
            }
            Self::ArrivalRate { rate, unit, stages, workers, .. } => {
                write!(f, "{rate} {}/s, at most {workers} workers", unit.name())?;
                stages
            }
            Self::TargetRps { target_rps, stages, workers } => {
                write!(f, "{target_rps} requests/s, at most {workers} workers")?;
                stages
            }
            Self::Iterations { iterations, workers } => {
                return write!(f, "{iterations} iterations by {workers} workers");
            }
            Self::Fleet { certificates, speed, workers, .. } => {
                return write!(
                    f,
                    "a fleet of {certificates} certificates at {speed} times its speed, at most {workers} workers"
                );
            }
        };
        match stages.len() {
            0 => Ok(()),
            1 => f.write_str(", 1 stage"),
            n => write!(f, ", {n} stages"),
        }
    }
}

impl Default for Load {
    /// No workers: stands for a load that cannot be read.
    fn default() -> Self {
        Self::Workers { workers: 0, stages: Vec::new() }
    }
}

/// What a rate counts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
#[schema(as = PlanRateUnit)]
pub enum RateUnit {
    /// Chains per second.
    #[default]
    Chains,
    /// Requests per second.
    Requests,
}

impl RateUnit {
    /// The name in scenario files, on the board and in the log.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A period in which a load changes linearly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlanStage)]
pub struct Stage {
    /// Its length.
    #[schema(value_type = String)]
    pub duration: Time,
    /// The load at its end: workers, or a rate per second.
    pub target: f64,
}

impl Plan {
    /// Longest time from the run's start to the start of the last iteration, without pauses. None when no
    /// scenario has a time.
    pub fn run_time(&self) -> Option<Duration> {
        let end = |scenario| self.start_of(scenario).saturating_add(scenario.run_time.0);
        self.scenarios.iter().map(end).max().filter(|end| !end.is_zero())
    }

    /// The latest start of a scenario.
    fn start_of(&self, scenario: &Scenario) -> Duration {
        let mut start = scenario.start_at.0;
        let mut before = scenario.after.as_ref();
        // A log's plan may have a cycle of `after`; a validated plan has none.
        for _ in &self.scenarios {
            let Some(other) = before.and_then(|name| self.scenario(name)) else { break };
            start = start.saturating_add(other.start_at.0).saturating_add(other.run_time.0);
            before = other.after.as_ref();
        }
        start
    }

    /// The scenario of that name.
    pub fn scenario(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }
}

impl Load {
    /// The name of its executor.
    pub fn executor(&self) -> &'static str {
        self.into()
    }

    /// The rate per second at the start; none without one.
    pub const fn rate(&self) -> Option<f64> {
        match self {
            Self::ArrivalRate { rate, .. } => Some(*rate),
            Self::TargetRps { target_rps, .. } => Some(*target_rps),
            Self::Fleet { speed, .. } => Some(*speed),
            Self::Workers { .. } | Self::Iterations { .. } => None,
        }
    }

    /// Number of workers at the start, or the largest number allowed.
    pub const fn workers(&self) -> u32 {
        match self {
            Self::Workers { workers, .. }
            | Self::ArrivalRate { workers, .. }
            | Self::TargetRps { workers, .. }
            | Self::Iterations { workers, .. }
            | Self::Fleet { workers, .. } => *workers,
        }
    }

    /// The number of iterations, if it is fixed.
    pub const fn iterations(&self) -> Option<u64> {
        match self {
            Self::Iterations { iterations, .. } => Some(*iterations),
            Self::Workers { .. } | Self::ArrivalRate { .. } | Self::TargetRps { .. } | Self::Fleet { .. } => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
