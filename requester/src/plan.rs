//! `Plan`: what a run is asked to do, validated. How it is written is in [`config`](crate::config).

mod recorded;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use wec_acme::{ClientCertificate, Correlation, Dialling, ExternalAccount, HttpVersion, Policy};
use wec_board::{Session, StagePoint, Target};
use wec_record::plan::RateUnit;
use wec_record::{Chain, Threshold};
use wec_store::Limits;

use crate::guard::Permission;
use crate::saturation::Bounds;
use crate::scenario::Scenario;

/// A validated run: what to load, how hard, with what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The CA's directory.
    pub directory: Url,
    /// PEM bundle that the CA's HTTPS certificate must chain to; the system's roots without.
    pub cacert: Option<PathBuf>,
    /// Whether any HTTPS certificate is accepted.
    pub insecure: bool,
    /// Who the client is to the CA's server.
    pub client: ClientIdentity,
    /// PEM file with CA certificates that issued certificates must lead to.
    pub issuer_root: Option<PathBuf>,
    /// How long challenge data stays after its authorization is final.
    pub challenge_linger: Duration,
    /// The loads, in the order of their names; at least one.
    pub scenarios: Vec<Scenario>,
    /// From the last iteration's start to interruption.
    pub graceful_stop: Duration,
    /// Hard limits on what is made.
    pub limits: Limits,
    /// The domain that names lie below.
    pub base_domain: String,
    /// Which HTTP is spoken to the CA.
    pub http: HttpVersion,
    /// Contacts of new accounts.
    pub contact: Vec<String>,
    /// External account binding; of it, the identifier is written into logs.
    pub eab: Option<ExternalAccount>,
    /// Seed of the random choices.
    pub seed: u64,
    /// State store URL; holds a password perhaps, so it is not written into logs.
    pub state: String,
    /// Where challenge data goes.
    pub challenges: Challenges,
    /// The challtestsrv that takes dns-01 records in place of `challenges`.
    pub dns_challenges: Option<Url>,
    /// Where this process answers validations.
    pub listen: Listen,
    /// Connections to the CA, each runtime.
    pub max_connections: usize,
    /// How the CA's servers are connected to.
    pub dialling: Dialling,
    /// Bound of one request.
    pub request_timeout: Duration,
    /// Bounds on polls and retries.
    pub patience: Patience,
    /// Runtimes.
    pub threads: usize,
    /// From where on the load tester itself is taken for the limit.
    pub bounds: Bounds,
    /// Whether a run that was limited so ends with an exit code of its own.
    pub strict: bool,
    /// What the user said about the target.
    pub permission: Permission,
    /// What the run must hold to pass; in the log's header, from which a replay takes them.
    pub thresholds: Vec<Threshold>,
}

/// Where challenge data is put for whoever answers the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenges {
    /// In this process, whose challenge server answers.
    Memory,
    /// In Redis, from which challenge servers elsewhere read.
    Redis(String),
    /// Into a challtestsrv by its management API.
    ChallTestSrv(Url),
}

/// Where this process answers validations; none is off.
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
    /// How long challenge data can be of use: as long as the authorizations of the largest order may take, and it lingers. A
    /// store that forgets by itself forgets it then.
    pub fn challenge_ttl(&self) -> Duration {
        let names = self.scenarios.iter().map(|scenario| *scenario.names_per_order.end()).max().unwrap_or(1);
        let polls = self.patience.poll_timeout.saturating_mul(names.max(1));
        [self.request_timeout, self.challenge_linger, Duration::from_secs(60)]
            .into_iter()
            .fold(polls, Duration::saturating_add)
    }

    /// The longest that it takes from the start to the last iteration's start, pauses not counted.
    pub fn run_time(&self) -> Duration {
        self.scenarios
            .iter()
            .map(|scenario| self.start_of(scenario) + scenario.run_time)
            .max()
            .unwrap_or_default()
    }

    /// When a scenario starts at the latest.
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

    /// Where challenge data goes over the network, with the flag that names it.
    pub(crate) fn challenge_servers(&self) -> Vec<(&'static str, Url)> {
        let main = match &self.challenges {
            Challenges::Memory => None,
            // The guard judges http and https URLs; of a Redis it looks at host and port.
            Challenges::Redis(url) => Url::parse(url).ok().and_then(|url| {
                let host = url.host_str()?.to_owned();
                Url::parse(&format!("http://{host}:{}", url.port().unwrap_or(6379))).ok()
            }),
            Challenges::ChallTestSrv(url) => Some(url.clone()),
        };
        let dns = self.dns_challenges.clone().map(|url| ("--dns-challenges", url));
        main.map(|url| ("--challenges", url)).into_iter().chain(dns).collect()
    }

    /// The session that this plan asks for.
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
                waits: scenario.after.is_some(),
                begins_ns: None,
                over_on: Vec::new(),
                ended: false,
            };
            (scenario.name.clone(), target)
        });
        let Limits { registrations, authorizations, certificates } = self.limits;
        let limits = wec_board::Limits { registrations, authorizations, certificates };
        Session::new(id, targets.collect(), limits)
    }

    /// How many iterations end it, where every scenario has a number of them.
    pub fn iterations(&self) -> Option<u64> {
        self.scenarios.iter().map(|scenario| scenario.load.iterations()).sum()
    }

    /// Workers at the start, those of all scenarios that start with it.
    pub fn workers(&self) -> u32 {
        self.scenarios.iter().map(|scenario| scenario.load.workers().at(Duration::ZERO) as u32).sum()
    }
}

/// What the board is to know of a scenario's stages; nothing without any.
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

/// Who the client is to the CA's server.
#[derive(Clone, Debug, Default)]
pub struct ClientIdentity {
    /// Where the certificate shown in TLS handshakes was read from.
    pub client_cert: Option<PathBuf>,
    /// That certificate, with its key.
    pub certificate: Option<ClientCertificate>,
    /// By what requests are found again.
    pub correlation: Correlation,
}

/// Bounds on polls and retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The wait before the first poll; each further one is half as long again, up to 2 s or this, whichever is longer.
    pub poll_interval: Duration,
    /// Bound of one poll loop.
    pub poll_timeout: Duration,
    /// Retries of one request that the CA refused with 429 or 503 and a Retry-After.
    pub max_retries: u32,
    /// The longest Retry-After that is waited for.
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
    /// As the ACME client takes it.
    pub fn policy(&self) -> Policy {
        let Self { poll_interval, poll_timeout, max_retries: busy_retries, max_retry_after } = *self;
        Policy { poll_interval, poll_timeout, busy_retries, max_retry_after, ..Policy::default() }
    }
}
