//! `Plan`: what a run was asked to do, as it stands in the header of its log and in the API.
//!
//! Readers take times, loads and thresholds from here and compute nothing again. How a plan is written (flags,
//! environment, file) is the requester's; secrets never stand in it.

mod read;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Threshold;

pub(crate) use self::read::lenient;
pub use self::values::{Shares, Span, Time, Weights};

/// Version of the plan's form. Grows when a reader of the old one would misread the new one.
pub const VERSION: u32 = 1;

/// Keys that this version does not know: they are written again as they were read.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

/// A validated run: what to load, how hard, with what. Keys that a log does not have are as by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Plan {
    /// Version of the plan's form; 0 in logs of before there were versions.
    pub version: u32,
    /// The CA's directory.
    pub directory: String,
    /// PEM bundle that the CA's HTTPS certificate must chain to; the system's roots without.
    pub cacert: Option<String>,
    /// Whether any HTTPS certificate is accepted.
    pub insecure: bool,
    /// Where the certificate shown in TLS handshakes was read from.
    pub client_cert: Option<String>,
    /// Whether requests have a W3C traceparent.
    pub traceparent: bool,
    /// The response header with the CA's own id of a request.
    pub request_id_header: String,
    /// PEM file with CA certificates that issued certificates must lead to.
    pub issuer_root: Option<String>,
    /// How long challenge data stays after its authorization is final.
    #[schema(value_type = String)]
    pub challenge_linger: Time,
    /// The loads, in the order of their names.
    pub scenarios: Vec<Scenario>,
    /// From the last iteration's start to interruption.
    #[schema(value_type = String)]
    pub graceful_stop: Time,
    /// Hard limits on what is made.
    pub limits: Limits,
    /// The domain that names lie below.
    pub base_domain: String,
    /// Which HTTP is spoken to the CA: `1.1` or `2`.
    pub http: String,
    /// Contacts of new accounts.
    pub contact: Vec<String>,
    /// Key identifier of the external account binding.
    pub eab: Option<String>,
    /// Seed of the random choices.
    pub seed: u64,
    /// Where the requester answers validations.
    pub listen: Listen,
    /// Connections to the CA, each runtime.
    pub max_connections: usize,
    /// How the CA's servers are connected to.
    pub dialling: Dialling,
    /// Bound of one request.
    #[schema(value_type = String)]
    pub request_timeout: Time,
    /// The wait before the first poll.
    #[schema(value_type = String)]
    pub poll_interval: Time,
    /// Bound of one poll loop.
    #[schema(value_type = String)]
    pub poll_timeout: Time,
    /// Retries of one request that the CA refused with 429 or 503 and a Retry-After.
    pub max_retries: u32,
    /// The longest Retry-After that is waited for.
    #[schema(value_type = String)]
    pub max_retry_after: Time,
    /// Runtimes.
    pub threads: usize,
    /// From where on the load tester itself is taken for the limit.
    pub bounds: Bounds,
    /// Whether a run that was limited so ends with an exit code of its own.
    pub strict: bool,
    /// What the run must hold to pass.
    #[schema(value_type = Vec<String>)]
    pub thresholds: Vec<Threshold>,
    /// What later versions wrote.
    #[serde(flatten)]
    #[schema(ignore)]
    pub unknown: Unknown,
}

/// Hard limits on what a run makes; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanLimits)]
pub struct Limits {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Orders made ready.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

/// Where a requester answers validations; none is off.
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

/// How servers are connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanDialling)]
pub struct Dialling {
    /// Whether new connections take all addresses of a name in turn.
    pub spread: bool,
    /// Other ways to servers: `HOST:PORT:ADDR:PORT`.
    pub connect_to: Vec<String>,
    /// Local addresses that connections are made from, in turn.
    #[schema(value_type = Vec<String>)]
    pub source_addresses: Vec<IpAddr>,
}

/// From where on the load tester, and not the CA alone, decides what is measured. Shares are 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanBounds)]
pub struct Bounds {
    /// Scheduling lag, 99th percentile of a second.
    #[schema(value_type = String)]
    pub lag: Time,
    /// The same as a share of the median response time of requests.
    pub lag_share: f64,
    /// Share of a second for which a worker thread runs or waits for a processor.
    pub cpu: f64,
    /// How full the queue of results may be.
    pub backlog: f64,
    /// Share of the iterations due in a second that may be dropped.
    pub dropped: f64,
    /// Share of their time that requests may wait for a free connection.
    pub connections: f64,
}

/// One load of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanScenario)]
pub struct Scenario {
    /// Unique in the plan.
    pub name: String,
    /// When it starts: so long after the run's start, or after the end of `after`.
    #[schema(value_type = String)]
    pub start_at: Time,
    /// The scenario whose end it waits for.
    pub after: Option<String>,
    /// From its start to its last iteration's start, at most; pauses not counted.
    #[schema(value_type = String)]
    pub run_time: Time,
    /// Who starts iterations, and when.
    #[serde(flatten)]
    pub load: Load,
    /// Between two iterations of one worker: `1s..5s`.
    #[schema(value_type = Option<String>)]
    pub think_time: Option<Span<Time>>,
    /// How the picker weighs chains.
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    pub weights: Weights,
    /// Names in an order: `1..5`.
    #[schema(value_type = Option<String>)]
    pub names_per_order: Option<Span<u32>>,
    /// Challenge types that chains may choose.
    #[schema(value_type = String)]
    pub challenge_types: Shares,
    /// What the certificates' keys are made of.
    #[schema(value_type = String)]
    pub key_types: Shares,
    /// What the accounts' keys are made of.
    #[schema(value_type = String)]
    pub account_key_types: Shares,
    /// Who shares connections to the CA: `shared`, `per-worker` or `per-chain`.
    pub connections: String,
    /// Share of new orders that are left unfinished, 0 to 1.
    pub abandon: f64,
    /// The step before which chains end: `finalize`.
    pub stop_before: Option<String>,
    /// Certificate profiles of new orders; `default` is none.
    #[schema(value_type = String)]
    pub profile: Shares,
    /// Reasons of revocations; `none` is none.
    #[schema(value_type = String)]
    pub revoke_reasons: Shares,
    /// Share of revocations that are signed by the certificate's key, 0 to 1.
    pub revoke_by_certificate_key: f64,
    /// What workers do when chains fail for the CA's or the network's reasons: `back-off` or `hammer`.
    pub on_failure: String,
    /// What later versions wrote. Filled when a log is read: serde cannot tell these keys from those of the load.
    #[serde(flatten, skip_deserializing)]
    #[schema(ignore)]
    pub unknown: Unknown,
}

/// How hard a scenario pushes, by its executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, strum::VariantNames, ToSchema)]
#[serde(tag = "executor", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
#[schema(as = PlanLoad)]
pub enum Load {
    /// A closed model: so many workers, each starting its next iteration when the last one has ended.
    Workers {
        /// At the start.
        workers: u32,
        /// Where it goes from there.
        #[serde(default)]
        stages: Vec<Stage>,
    },
    /// An open model: iterations start when they are due, whether or not earlier ones have ended.
    ArrivalRate {
        /// Per second, at the start.
        rate: f64,
        /// What the rate counts.
        #[serde(default)]
        unit: RateUnit,
        /// Whether arrivals are as those of independent users (Poisson), or in equal distances.
        #[serde(default)]
        poisson: bool,
        /// Where it goes from there.
        #[serde(default)]
        stages: Vec<Stage>,
        /// The most workers that may be used for it.
        workers: u32,
    },
    /// So many requests a second, by as many workers as that takes.
    TargetRps {
        /// Requests per second.
        target_rps: f64,
        /// Where it goes from there.
        #[serde(default)]
        stages: Vec<Stage>,
        /// The most workers that may be used for it.
        workers: u32,
    },
    /// A fixed number of iterations, shared by workers.
    Iterations {
        /// How many, all workers together.
        iterations: u64,
        /// How many workers share them.
        workers: u32,
    },
}

impl Default for Load {
    /// No worker at all: what is known of a load that cannot be read.
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
    /// Chains a second.
    #[default]
    Chains,
    /// Requests a second.
    Requests,
}

impl RateUnit {
    /// The name, as in scenario files, on the board and in the log.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A stretch over which a load changes linearly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlanStage)]
pub struct Stage {
    /// How long it takes.
    #[schema(value_type = String)]
    pub duration: Time,
    /// What it ends with: workers, or a rate per second.
    pub target: f64,
}

impl Plan {
    /// The longest that it takes from the start to the last iteration's start, pauses not counted. None when no
    /// scenario has a time.
    pub fn run_time(&self) -> Option<Duration> {
        let end = |scenario| self.start_of(scenario).saturating_add(scenario.run_time.0);
        self.scenarios.iter().map(end).max().filter(|end| !end.is_zero())
    }

    /// When a scenario starts at the latest.
    fn start_of(&self, scenario: &Scenario) -> Duration {
        let mut start = scenario.start_at.0;
        let mut before = scenario.after.as_ref();
        // A log's plan may have a circle, which no plan that was validated has.
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
    /// How many iterations there are, where that is fixed.
    pub const fn iterations(&self) -> Option<u64> {
        match self {
            Self::Iterations { iterations, .. } => Some(*iterations),
            Self::Workers { .. } | Self::ArrivalRate { .. } | Self::TargetRps { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
