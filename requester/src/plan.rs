//! `Plan`: the validated description of a run. [`config`](crate::config) reads it from flags, environment and
//! file.

mod recorded;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use wec_acme::{ClientCertificate, Correlation, Dialling, ExternalAccount, HttpVersion, Policy};
use wec_board::{Session, StagePoint, Target};
use wec_record::plan::{Limits, PlainValues, RateUnit};
use wec_record::{Chain, Threshold};
use wec_store::challenge::CaaRules;

use crate::guard::Permission;
use crate::saturation::Bounds;
use crate::scenario::Scenario;

/// A validated run: the target, the load and the settings.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The CA's directory.
    pub directory: Url,
    /// PEM bundle that the CA's HTTPS certificate must chain to; none for the system's roots.
    pub cacert: Option<PathBuf>,
    /// Whether any HTTPS certificate is accepted.
    pub insecure: bool,
    /// The client's certificate and the headers of its requests.
    pub client: ClientIdentity,
    /// PEM file with the CA certificates that issued certificates must chain to.
    pub issuer_root: Option<PathBuf>,
    /// The scenarios, ordered by name; at least one.
    pub scenarios: Vec<Scenario>,
    /// Time from the run's start whose results are in no figure and no verdict.
    pub warm_up: Duration,
    /// Hard limits on the objects that the run makes.
    pub limits: Limits,
    /// The HTTP version for the CA.
    pub http: HttpVersion,
    /// Contacts of new accounts.
    pub contact: Vec<String>,
    /// External account binding; logs have only its identifier.
    pub eab: Vec<ExternalAccount>,
    /// Seed of the random choices.
    pub seed: u64,
    /// State store URL; it may contain a password, so it is not logged.
    pub state: String,
    /// The challenge store.
    pub challenges: Challenges,
    /// The challtestsrv that stores dns-01 records instead of `challenges`.
    pub dns_challenges: Option<Url>,
    /// The addresses at which this process answers validations.
    pub listen: Listen,
    /// The CAA records that this process's DNS has by rule.
    pub caa: CaaRules,
    /// How connections to the CA's servers are made.
    pub dialling: Dialling,
    /// Limits on polls and retries.
    pub patience: Patience,
    /// Number of runtimes.
    pub threads: usize,
    /// Above these bounds the load tester itself counts as the limit.
    pub bounds: Bounds,
    /// The user's permissions for the target.
    pub permission: Permission,
    /// The conditions for the run to pass; they are in the log's header, and a replay takes them from there.
    pub thresholds: Vec<Threshold>,
    /// Values that rows of the table of keys read, and that the log records as they are.
    pub plain: PlainValues,
}

/// The challenge store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenges {
    /// In this process, with its challenge server.
    Memory,
    /// In Redis, from which external challenge servers read.
    Redis(String),
    /// In a challtestsrv, by its management API.
    ChallTestSrv(Url),
}

/// Addresses at which this process answers validations; none means off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// http-01.
    pub http01: Option<SocketAddr>,
    /// tls-alpn-01.
    pub tlsalpn01: Option<SocketAddr>,
    /// DNS, UDP and TCP.
    pub dns: Option<SocketAddr>,
}

impl Plan {
    /// How long challenge data can be needed: the longest time of the largest order's authorizations, and the
    /// linger time. A store with expiry removes it then.
    pub fn challenge_ttl(&self) -> Duration {
        let names = self.scenarios.iter().map(|scenario| scenario.choices.names.most()).max().unwrap_or(1);
        let polls = self.patience.poll_timeout.saturating_mul(names.max(1));
        [self.plain.request_timeout.0, self.plain.challenge_linger.0, Duration::from_secs(60)]
            .into_iter()
            .fold(polls, Duration::saturating_add)
    }

    /// Longest time from the run's start to the start of the last iteration, without pauses.
    pub fn run_time(&self) -> Duration {
        self.scenarios
            .iter()
            .map(|scenario| self.start_of(scenario) + scenario.run_time)
            .max()
            .unwrap_or_default()
    }

    /// The latest start of a scenario.
    fn start_of(&self, scenario: &Scenario) -> Duration {
        let mut start = scenario.start_at;
        let mut before = scenario.after.as_ref();
        while let Some(other) =
            before.and_then(|name| self.scenarios.iter().find(|other| other.name == *name))
        {
            start += other.start_at + other.run_time;
            before = other.after.as_ref();
        }
        start
    }

    /// The servers to which challenge data is sent, each with its flag.
    pub(crate) fn challenge_servers(&self) -> Vec<(&'static str, Url)> {
        let main = match &self.challenges {
            Challenges::Memory => None,
            // The guard checks http and https URLs; for Redis, host and port are checked.
            Challenges::Redis(url) => Url::parse(url).ok().and_then(|url| {
                let host = url.host_str()?.to_owned();
                Url::parse(&format!("http://{host}:{}", url.port().unwrap_or(6379))).ok()
            }),
            Challenges::ChallTestSrv(url) => Some(url.clone()),
        };
        let dns = self.dns_challenges.clone().map(|url| ("--dns-challenges", url));
        main.map(|url| ("--challenges", url)).into_iter().chain(dns).collect()
    }

    /// The session for this plan.
    pub fn session(&self, id: &str) -> Session {
        let targets = self.scenarios.iter().map(|scenario| {
            let load = &scenario.load;
            let target = Target {
                workers: load.workers().at(Duration::ZERO) as u32,
                rate: load.rate().map(|rate| rate.at(Duration::ZERO)),
                rate_unit: load.rate_unit().map(RateUnit::name).unwrap_or_default().to_owned(),
                weights: Chain::ALL.map(|chain| (chain.name().to_owned(), scenario.weights.of(chain))).into(),
                scheduled: !load.stages().is_empty(),
                stages: stage_points(scenario),
                iterations: load.iterations(),
                events: load.fleet().is_some().then(Vec::new),
                waits: scenario.after.is_some(),
            };
            (scenario.name.clone(), target)
        });
        let mut session = Session::new(id, targets.collect(), self.limits);
        session.spec.plan = Some(Box::new(self.into()));
        session
    }

    /// The number of iterations that ends the run, if every scenario has one.
    pub fn iterations(&self) -> Option<u64> {
        self.scenarios.iter().map(|scenario| scenario.load.iterations()).sum()
    }

    /// Workers at the start, of all scenarios that start with the run.
    pub fn workers(&self) -> u32 {
        self.scenarios.iter().map(|scenario| scenario.load.workers().at(Duration::ZERO) as u32).sum()
    }
}

/// The points of a scenario's stages for the board; empty without stages.
fn stage_points(scenario: &Scenario) -> Vec<StagePoint> {
    if scenario.load.stages().is_empty() {
        return Vec::new();
    }
    let ramp = scenario.load.rate().unwrap_or_else(|| scenario.load.workers());
    let points = ramp.points().map(|(at, value)| StagePoint {
        at_ns: u64::try_from((scenario.start_at + at).as_nanos()).unwrap_or(u64::MAX),
        value,
    });
    points.collect()
}

/// The client's certificate for the CA's server, and the headers of its requests.
#[derive(Clone, Debug, Default)]
pub struct ClientIdentity {
    /// Path from which the certificate shown in TLS handshakes was read.
    pub client_cert: Option<PathBuf>,
    /// That certificate, with its key.
    pub certificate: Option<ClientCertificate>,
    /// Headers that identify requests in the CA's records.
    pub correlation: Correlation,
}

/// Limits on polls and retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The wait before the first poll; each further wait is half as long again, up to 2 s or this, whichever
    /// is longer.
    pub poll_interval: Duration,
    /// Time limit of one poll loop.
    pub poll_timeout: Duration,
    /// Retries of a request that the CA refused with 429 or 503 and a Retry-After.
    pub max_retries: u32,
    /// The longest Retry-After that is respected.
    pub max_retry_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let Policy { poll_interval, poll_timeout, busy_retries: max_retries, max_retry_after, .. } =
            Policy::default();
        Self { poll_interval, poll_timeout, max_retries, max_retry_after }
    }
}

impl Patience {
    /// In the form of the ACME client.
    pub fn policy(&self) -> Policy {
        let Self { poll_interval, poll_timeout, max_retries: busy_retries, max_retry_after } = *self;
        Policy { poll_interval, poll_timeout, busy_retries, max_retry_after, ..Policy::default() }
    }
}
