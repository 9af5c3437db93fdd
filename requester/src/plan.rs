//! What a run is asked to do: the flags as typed ([`PlanOptions`]), and what the program uses ([`Plan`]).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use url::Url;
use wec_acme::{ExternalAccount, HttpVersion};
use wec_board::{DEFAULT_SCENARIO, Session, StagePoint, Target};
use wec_chains::Mix;
use wec_record::threshold::{self, ThresholdMistakes};
use wec_record::{Chain, ChallengeType, Threshold};
use wec_store::Limits;

use crate::executor::Unit;
use crate::guard::Permission;
use crate::saturation::Bounds;
use crate::scenario::{SCENARIO_KEYS, Scenario, is_name, scenario};
use crate::settings::{Mistakes, Scope, Settings};
use crate::values::{boolean, duration, list, share, text, whole};

/// The load and its target, as typed. Every flag has a key of the same name in a configuration file
/// (`--run-time` is `run_time`) and an environment variable (`WEC_RUN_TIME`); flag over environment over file
/// over default.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PlanOptions {
    /// Configuration file (TOML); its keys are these flags' names with underscores
    #[arg(long, value_name = "FILE", env = "WEC_CONFIG")]
    pub config: Option<PathBuf>,
    /// The CA's ACME directory
    #[arg(long, value_name = "URL", env = "WEC_DIRECTORY")]
    pub directory: Option<String>,
    /// PEM file with the roots that sign the CA's own HTTPS certificate [default: the system's roots]
    #[arg(long, value_name = "FILE", env = "WEC_CACERT")]
    pub cacert: Option<String>,
    /// Accept any HTTPS certificate of the CA
    #[arg(long, env = "WEC_INSECURE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure: Option<String>,
    /// Who starts iterations: workers, arrival-rate, target-rps or iterations [default: by which of --rate,
    /// --target-rps and --iterations is given, else workers]
    #[arg(long, value_name = "NAME", env = "WEC_EXECUTOR")]
    pub executor: Option<String>,
    /// Virtual users that run chains side by side [default: 50]; the most of them with --rate or --target-rps
    /// [default: 1000]
    #[arg(short = 'u', long, value_name = "N", env = "WEC_WORKERS", allow_negative_numbers = true)]
    pub workers: Option<String>,
    /// Open model: start so many chains a second, however long they take: 50/s, 3000/min, "500 requests/s"
    #[arg(short, long, value_name = "RATE", env = "WEC_RATE", allow_negative_numbers = true)]
    pub rate: Option<String>,
    /// How arrivals of --rate lie in time: poisson or even [default: poisson]
    #[arg(long, value_name = "HOW", env = "WEC_SPACING")]
    pub spacing: Option<String>,
    /// Reach so many requests a second by adjusting the number of workers
    #[arg(long, value_name = "RPS", env = "WEC_TARGET_RPS", allow_negative_numbers = true)]
    pub target_rps: Option<String>,
    /// Run so many chains in all, shared by the workers
    #[arg(short = 'n', long, value_name = "N", env = "WEC_ITERATIONS", allow_negative_numbers = true)]
    pub iterations: Option<String>,
    /// Linear changes of workers or rate, one after the other: 30s:100,1h:5000
    #[arg(long, value_name = "TIME:TARGET,…", env = "WEC_STAGES")]
    pub stages: Option<String>,
    /// What a worker waits between two chains: 2s, or a range 1s..5s [default: nothing]
    #[arg(long, value_name = "TIME|A..B", env = "WEC_THINK_TIME")]
    pub think_time: Option<String>,
    /// How long to run: 30s, 5m, 1h30m [default: 60s, or as long as the stages; 10m at most with --iterations]
    #[arg(short = 't', long, value_name = "TIME", env = "WEC_RUN_TIME")]
    pub run_time: Option<String>,
    /// How long running chains may take to finish after the end [default: 30s]
    #[arg(long, value_name = "TIME", env = "WEC_GRACEFUL_STOP")]
    pub graceful_stop: Option<String>,
    /// Weight of a chain among those allowed: certificate=4,revoke=0
    #[arg(long, value_name = "CHAIN=W", env = "WEC_WEIGHTS", value_delimiter = ',')]
    pub weight: Vec<String>,
    /// No registrations past this many in the state store [default: none]
    #[arg(long, value_name = "N", env = "WEC_LIMIT_REGISTRATIONS")]
    pub limit_registrations: Option<String>,
    /// No authorizations past this many in the state store [default: none]
    #[arg(long, value_name = "N", env = "WEC_LIMIT_AUTHORIZATIONS")]
    pub limit_authorizations: Option<String>,
    /// No certificates past this many in the state store [default: none]
    #[arg(long, value_name = "N", env = "WEC_LIMIT_CERTIFICATES")]
    pub limit_certificates: Option<String>,
    /// Names in an order: 1, or a range 1..5 [default: 1]
    #[arg(long, value_name = "N|A..B", env = "WEC_NAMES_PER_ORDER")]
    pub names_per_order: Option<String>,
    /// The domain below which every ordered name lies [default: wec.test]
    #[arg(long, value_name = "DOMAIN", env = "WEC_BASE_DOMAIN")]
    pub base_domain: Option<String>,
    /// Challenge types to use, with weights: http-01=3,dns-01=1 [default: those that something answers]
    #[arg(long, value_name = "TYPE=W,…", env = "WEC_CHALLENGE_TYPES")]
    pub challenge_types: Option<String>,
    /// Types of the certificates' keys, with weights: p256=8,p384=1,rsa2048=1; also rsa3072 and rsa4096. RSA keys are
    /// made before the run and used in turn [default: p256]
    #[arg(long, value_name = "TYPE=W,…", env = "WEC_KEY_TYPES")]
    pub key_types: Option<String>,
    /// Who shares connections: shared, per-worker, or per-chain, where each chain begins as a client that the CA has
    /// never seen [default: shared]
    #[arg(long, value_name = "MODEL", env = "WEC_CONNECTIONS")]
    pub connections: Option<String>,
    /// The HTTP version to speak to the CA: 1.1 or 2 [default: 1.1]
    #[arg(long, value_name = "VERSION", env = "WEC_HTTP")]
    pub http: Option<String>,
    /// Share of the new orders that are left unfinished: 10% [default: none]
    #[arg(long, value_name = "SHARE", env = "WEC_ABANDON")]
    pub abandon: Option<String>,
    /// End chains before this step, which can be finalize: the CA does everything but issue [default: nowhere]
    #[arg(long, value_name = "STEP", env = "WEC_STOP_BEFORE")]
    pub stop_before: Option<String>,
    /// Contacts of new accounts, by commas: mailto:ops@ca.test [default: none]
    #[arg(long, value_name = "URLS", env = "WEC_CONTACT")]
    pub contact: Option<String>,
    /// Key identifier for external account binding; its HMAC key comes from WEC_EAB_HMAC_KEY (base64url)
    #[arg(long, value_name = "KID", env = "WEC_EAB_KID")]
    pub eab_kid: Option<String>,
    /// Seed of every random choice, for runs that choose alike [default: random]
    #[arg(long, value_name = "N", env = "WEC_SEED")]
    pub seed: Option<String>,
    /// State store: sqlite://FILE or postgres://USER@HOST/DB [default: sqlite://wec-state.sqlite]
    #[arg(long, value_name = "URL", env = "WEC_STATE", hide_env_values = true)]
    pub state: Option<String>,
    /// Where challenge data goes: memory (the challenge server of this process), redis://HOST, or the management
    /// API of a challtestsrv, challtestsrv+http://HOST:8055 [default: memory]
    #[arg(long, value_name = "WHERE", env = "WEC_CHALLENGES", hide_env_values = true)]
    pub challenges: Option<String>,
    /// Where dns-01 records go when the CA's resolver is not ours: challtestsrv+http://HOST:8055 [default: as --challenges]
    #[arg(long, value_name = "WHERE", env = "WEC_DNS_CHALLENGES")]
    pub dns_challenges: Option<String>,
    /// Where this process answers http-01; off for none [default: 127.0.0.1:5002 with --challenges memory]
    #[arg(long, value_name = "ADDR", env = "WEC_HTTP01_LISTEN")]
    pub http01_listen: Option<String>,
    /// Where this process answers tls-alpn-01; off for none [default: 127.0.0.1:5001 with --challenges memory]
    #[arg(long, value_name = "ADDR", env = "WEC_TLSALPN01_LISTEN")]
    pub tlsalpn01_listen: Option<String>,
    /// Where this process answers DNS over UDP and TCP; off for none [default: off]
    #[arg(long, value_name = "ADDR", env = "WEC_DNS_LISTEN")]
    pub dns_listen: Option<String>,
    /// Connections to the CA at most that workers share, for each of this process's runtimes; requests beyond them wait,
    /// and their response time says so [default: 256]
    #[arg(long, value_name = "N", env = "WEC_MAX_CONNECTIONS")]
    pub max_connections: Option<String>,
    /// How long one request may take [default: 30s]
    #[arg(long, value_name = "TIME", env = "WEC_REQUEST_TIMEOUT")]
    pub request_timeout: Option<String>,
    /// How long an authorization or order may take to reach the wanted state [default: 60s]
    #[arg(long, value_name = "TIME", env = "WEC_POLL_TIMEOUT")]
    pub poll_timeout: Option<String>,
    /// Runtimes, each on a thread of its own [default: one for each processor]
    #[arg(long, value_name = "N", env = "WEC_THREADS")]
    pub threads: Option<String>,
    /// The run is generator-limited when what is due runs later than this (the 99th percentile of a second) for 3 seconds
    /// on end [default: 20ms]
    #[arg(long, value_name = "TIME", env = "WEC_LIMITED_LAG")]
    pub limited_lag: Option<String>,
    /// The same, when a worker thread runs, or waits for a processor, for this share of the time [default: 90%]
    #[arg(long, value_name = "SHARE", env = "WEC_LIMITED_CPU")]
    pub limited_cpu: Option<String>,
    /// The same, when the queue of results is so full [default: 50%]
    #[arg(long, value_name = "SHARE", env = "WEC_LIMITED_BACKLOG")]
    pub limited_backlog: Option<String>,
    /// The same, when this share of the iterations that are due is dropped [default: 1%]
    #[arg(long, value_name = "SHARE", env = "WEC_LIMITED_DROPPED")]
    pub limited_dropped: Option<String>,
    /// End with exit code 108 when the run was generator-limited: its figures are not the CA's alone
    #[arg(long, env = "WEC_STRICT", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub strict: Option<String>,
    /// Host that may be loaded although its address is neither loopback nor private; may be repeated
    #[arg(long, value_name = "HOST", env = "WEC_ALLOW_HOST", value_delimiter = ',')]
    pub allow_host: Vec<String>,
    /// Who at the public CA agreed to this test
    #[arg(long, value_name = "WHO", env = "WEC_AUTHORISED_BY")]
    pub authorised_by: Option<String>,
    /// What the run must hold to pass, else it ends with 99: "chain.certificate{p(99)} < 2s"; may be repeated. In a file it
    /// is the list thresholds
    #[arg(long, value_name = "EXPR", env = "WEC_THRESHOLDS", visible_alias = "thresholds")]
    pub threshold: Vec<String>,
}

/// Every key of a plan that is not a scenario's ([`SCENARIO_KEYS`]); those can stand at the top level too. The table `[capacity]` is
/// read by `wec capacity` alone ([`SearchOptions`](crate::SearchOptions)): one file may serve a search and a run.
pub const PLAN_KEYS: &[&str] = &[
    "directory",
    "cacert",
    "insecure",
    "graceful_stop",
    "limit_registrations",
    "limit_authorizations",
    "limit_certificates",
    "base_domain",
    "challenge_types",
    "http",
    "contact",
    "eab_kid",
    "seed",
    "state",
    "challenges",
    "dns_challenges",
    "http01_listen",
    "tlsalpn01_listen",
    "dns_listen",
    "max_connections",
    "request_timeout",
    "poll_timeout",
    "threads",
    "limited_lag",
    "limited_cpu",
    "limited_backlog",
    "limited_dropped",
    "strict",
    "allow_host",
    "authorised_by",
    "thresholds",
    "capacity.from",
    "capacity.to",
    "capacity.step",
    "capacity.resolution",
    "capacity.step_time",
    "capacity.settle",
    "capacity.recover",
    "capacity.max_time",
    "capacity.hold_at",
    "capacity.hold",
];

/// A validated run: what to load, how hard, with what.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The CA's directory.
    #[serde(serialize_with = "as_text")]
    pub directory: Url,
    /// PEM bundle that the CA's HTTPS certificate must chain to; the system's roots without.
    pub cacert: Option<PathBuf>,
    /// Whether any HTTPS certificate is accepted.
    pub insecure: bool,
    /// The loads, in the order of their names; at least one.
    pub scenarios: Vec<Scenario>,
    /// From the last iteration's start to interruption.
    #[serde(serialize_with = "as_people_write")]
    pub graceful_stop: Duration,
    /// Hard limits on what is made.
    pub limits: Limits,
    /// The domain that names lie below.
    pub base_domain: String,
    /// Which HTTP is spoken to the CA.
    #[serde(serialize_with = "as_name")]
    pub http: HttpVersion,
    /// Contacts of new accounts.
    pub contact: Vec<String>,
    /// External account binding; of it, the identifier is written into logs.
    #[serde(serialize_with = "kid_of")]
    pub eab: Option<ExternalAccount>,
    /// Seed of the random choices.
    pub seed: u64,
    /// State store URL; holds a password perhaps, so it is not written into logs.
    #[serde(skip)]
    pub state: String,
    /// Where challenge data goes.
    #[serde(skip)]
    pub challenges: Challenges,
    /// The challtestsrv that takes dns-01 records in place of `challenges`.
    #[serde(skip)]
    pub dns_challenges: Option<Url>,
    /// Where this process answers validations.
    pub listen: Listen,
    /// Connections to the CA, each runtime.
    pub max_connections: usize,
    /// Bound of one request.
    #[serde(serialize_with = "as_people_write")]
    pub request_timeout: Duration,
    /// Bound of one poll loop.
    #[serde(serialize_with = "as_people_write")]
    pub poll_timeout: Duration,
    /// Runtimes.
    pub threads: usize,
    /// From where on the load tester itself is taken for the limit.
    pub bounds: Bounds,
    /// Whether a run that was limited so ends with an exit code of its own.
    pub strict: bool,
    /// What the user said about the target.
    #[serde(skip)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// http-01.
    pub http01: Option<SocketAddr>,
    /// tls-alpn-01.
    pub tlsalpn01: Option<SocketAddr>,
    /// DNS, UDP and TCP.
    pub dns: Option<SocketAddr>,
}

impl Plan {
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

    /// The session that this plan asks for.
    pub fn session(&self, id: &str) -> Session {
        let targets = self.scenarios.iter().map(|scenario| {
            let load = &scenario.load;
            let target = Target {
                workers: load.workers().at(Duration::ZERO) as u32,
                rate: load.rate().map(|rate| rate.at(Duration::ZERO)),
                rate_unit: load.rate_unit().map(Unit::name).unwrap_or_default().to_owned(),
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

impl PlanOptions {
    /// Validates what was typed, with `eab_hmac_key` from the environment.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn resolve(&self, eab_hmac_key: Option<String>) -> Result<Plan, Mistakes> {
        let mut settings = self.settings();
        if let Some(path) = &self.config {
            settings.file(path, PLAN_KEYS, SCENARIO_KEYS);
        }
        resolve(settings, eab_hmac_key)
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in [
            ("directory", &self.directory),
            ("cacert", &self.cacert),
            ("insecure", &self.insecure),
            ("executor", &self.executor),
            ("workers", &self.workers),
            ("rate", &self.rate),
            ("spacing", &self.spacing),
            ("target_rps", &self.target_rps),
            ("iterations", &self.iterations),
            ("stages", &self.stages),
            ("think_time", &self.think_time),
            ("run_time", &self.run_time),
            ("graceful_stop", &self.graceful_stop),
            ("limit_registrations", &self.limit_registrations),
            ("limit_authorizations", &self.limit_authorizations),
            ("limit_certificates", &self.limit_certificates),
            ("names_per_order", &self.names_per_order),
            ("base_domain", &self.base_domain),
            ("challenge_types", &self.challenge_types),
            ("key_types", &self.key_types),
            ("connections", &self.connections),
            ("http", &self.http),
            ("abandon", &self.abandon),
            ("stop_before", &self.stop_before),
            ("contact", &self.contact),
            ("eab_kid", &self.eab_kid),
            ("seed", &self.seed),
            ("state", &self.state),
            ("challenges", &self.challenges),
            ("dns_challenges", &self.dns_challenges),
            ("http01_listen", &self.http01_listen),
            ("tlsalpn01_listen", &self.tlsalpn01_listen),
            ("dns_listen", &self.dns_listen),
            ("max_connections", &self.max_connections),
            ("request_timeout", &self.request_timeout),
            ("poll_timeout", &self.poll_timeout),
            ("threads", &self.threads),
            ("limited_lag", &self.limited_lag),
            ("limited_cpu", &self.limited_cpu),
            ("limited_backlog", &self.limited_backlog),
            ("limited_dropped", &self.limited_dropped),
            ("strict", &self.strict),
            ("authorised_by", &self.authorised_by),
        ] {
            settings.flag(key, value.as_deref());
        }
        if !self.allow_host.is_empty() {
            settings.flag("allow_host", Some(&self.allow_host.join(",")));
        }
        if !self.threshold.is_empty() {
            settings.flag("thresholds", Some(&self.threshold.join(",")));
        }
        for weight in &self.weight {
            match weight.split_once('=') {
                Some((chain, value)) if Chain::from_str(chain.trim()).is_ok() => {
                    settings.flag(&format!("weights.{}", chain.trim()), Some(value.trim()));
                }
                _ => settings.mistake("weight", format!("{weight:?} is not CHAIN=WEIGHT, as in certificate=4; chains are registration, authorization, certificate, refresh, revoke")),
            }
        }
        settings
    }
}

fn resolve(mut settings: Settings, eab_hmac_key: Option<String>) -> Result<Plan, Mistakes> {
    let s = &mut settings;
    let directory = s.take("directory", directory);
    if directory.is_none() && !s.is_given("directory") {
        s.mistake(
            "directory",
            "missing: the URL of the CA's ACME directory, as in https://ca.test:14000/dir",
        );
    }
    let challenges = s.take("challenges", challenges).unwrap_or(Challenges::Memory);
    let dns_challenges = s.take("dns_challenges", challtestsrv);
    let listen = listen(s, &challenges);
    let challenge_types = challenge_types(s, &challenges, dns_challenges.is_some(), &listen);
    let scenarios = scenarios(s, &challenge_types);
    let eab = match (s.take("eab_kid", text), eab_hmac_key) {
        (Some(kid), Some(hmac_key)) => ExternalAccount::new(kid, &hmac_key)
            .map_err(|failure| s.mistake("eab_kid", format!("WEC_EAB_HMAC_KEY: {}", failure.message)))
            .ok(),
        (Some(kid), None) => {
            s.mistake(
                "eab_kid",
                format!("{kid:?} needs its HMAC key in the environment variable WEC_EAB_HMAC_KEY"),
            );
            None
        }
        (None, _) => None,
    };
    let cacert = s.take("cacert", certificates);
    let insecure = s.take("insecure", boolean).unwrap_or(false);
    if insecure && cacert.is_some() {
        s.mistake("insecure", "contradicts --cacert: give one of them");
    }
    let plan = Plan {
        directory: directory
            .clone()
            .unwrap_or_else(|| Url::parse("http://localhost").expect("a constant URL parses")),
        cacert,
        insecure,
        scenarios,
        graceful_stop: s.take("graceful_stop", duration).unwrap_or(Duration::from_secs(30)),
        limits: Limits {
            registrations: s.take("limit_registrations", |text| whole(text, 0..=u64::MAX)),
            authorizations: s.take("limit_authorizations", |text| whole(text, 0..=u64::MAX)),
            certificates: s.take("limit_certificates", |text| whole(text, 0..=u64::MAX)),
        },
        base_domain: s.take("base_domain", domain).unwrap_or_else(|| "wec.test".into()),
        http: s.take("http", HttpVersion::from_str).unwrap_or_default(),
        contact: s.take("contact", list).unwrap_or_default(),
        eab,
        seed: s.take("seed", |text| whole(text, 0..=u64::MAX)).unwrap_or_else(rand::random),
        state: s.take("state", state).unwrap_or_else(|| "sqlite://wec-state.sqlite".into()),
        challenges,
        dns_challenges,
        listen,
        max_connections: s.take("max_connections", |text| whole(text, 1..=100_000)).unwrap_or(256),
        request_timeout: s.take("request_timeout", duration).unwrap_or(Duration::from_secs(30)),
        poll_timeout: s.take("poll_timeout", duration).unwrap_or(Duration::from_secs(60)),
        threads: s
            .take("threads", |text| whole(text, 1..=1024))
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        bounds: bounds(s),
        strict: s.take("strict", boolean).unwrap_or(false),
        permission: Permission {
            allowed_hosts: s.take("allow_host", list).unwrap_or_default(),
            authorised_by: s.take("authorised_by", text),
        },
        thresholds: thresholds(s),
    };
    settings.finish().map(|()| plan)
}

fn bounds(s: &mut Settings) -> Bounds {
    let usual = Bounds::default();
    Bounds {
        lag: s.take("limited_lag", duration).unwrap_or(usual.lag),
        cpu: s.take("limited_cpu", share).unwrap_or(usual.cpu),
        backlog: s.take("limited_backlog", share).unwrap_or(usual.backlog),
        dropped: s.take("limited_dropped", share).unwrap_or(usual.dropped),
    }
}

/// The scenarios by name; without any table of them, the top level is the only one.
fn scenarios(s: &mut Settings, challenge_types: &Mix<ChallengeType>) -> Vec<Scenario> {
    let names = s.scenarios();
    if names.is_empty() {
        return vec![scenario(&mut Scope::of(s, None), DEFAULT_SCENARIO, challenge_types)];
    }
    let scenarios: Vec<_> =
        names.iter().map(|name| scenario(&mut Scope::of(s, Some(name)), name, challenge_types)).collect();
    for name in &names {
        if !is_name(name) {
            let message = "is no name of a scenario: up to 40 letters, digits, hyphens and underscores";
            Scope::of(s, Some(name)).mistake_of_all(message);
        }
    }
    for one in &scenarios {
        let mut before = one;
        // As many steps as there are scenarios come back to where they were only in a circle.
        for _ in 0..scenarios.len() {
            let Some(after) = &before.after else { break };
            let Some(found) = scenarios.iter().find(|other| other.name == *after) else {
                if before.name == one.name {
                    let message = format!("there is no scenario {after:?}: name one of {}", names.join(", "));
                    Scope::of(s, Some(&one.name)).mistake("after", message);
                }
                break;
            };
            if found.name == one.name {
                Scope::of(s, Some(&one.name))
                    .mistake("after", "waits for itself in the end: it would never start");
                break;
            }
            before = found;
        }
    }
    scenarios
}

/// Every mistake of every threshold: they are read one by one, and none hides another's.
fn thresholds(s: &mut Settings) -> Vec<Threshold> {
    let listed = s.take("thresholds", |text| Ok(text.to_owned())).unwrap_or_default();
    let mut thresholds = Vec::new();
    for text in threshold::split(&listed) {
        match text.parse() {
            Ok(threshold) => thresholds.push(threshold),
            Err(mistakes) => s.mistake("thresholds", ThresholdMistakes::to_string(&mistakes)),
        }
    }
    thresholds
}

fn listen(s: &mut Settings, challenges: &Challenges) -> Listen {
    let default = |port: u16| {
        matches!(challenges, Challenges::Memory).then(|| SocketAddr::from(([127, 0, 0, 1], port)))
    };
    let asked = [
        s.take("http01_listen", address),
        s.take("tlsalpn01_listen", address),
        s.take("dns_listen", address),
    ];
    // Pebble's own default validation ports: a run against it needs no flags. Whoever names a listener gets just those named.
    let none_named = asked.iter().all(Option::is_none);
    let listen = Listen {
        http01: asked[0].unwrap_or_else(|| default(5002).filter(|_| none_named)),
        tlsalpn01: asked[1].unwrap_or_else(|| default(5001).filter(|_| none_named)),
        dns: asked[2].flatten(),
    };
    if !matches!(challenges, Challenges::Memory) {
        for (key, given) in [
            ("http01_listen", listen.http01),
            ("tlsalpn01_listen", listen.tlsalpn01),
            ("dns_listen", listen.dns),
        ] {
            if given.is_some() {
                s.mistake(
                    key,
                    "needs --challenges memory: with any other store, challenge servers elsewhere answer",
                );
            }
        }
    }
    listen
}

fn challenge_types(
    s: &mut Settings,
    challenges: &Challenges,
    dns_elsewhere: bool,
    listen: &Listen,
) -> Mix<ChallengeType> {
    let answered: Vec<ChallengeType> = match challenges {
        Challenges::Memory => [
            (ChallengeType::Http01, listen.http01.is_some()),
            (ChallengeType::Dns01, listen.dns.is_some() || dns_elsewhere),
            (ChallengeType::TlsAlpn01, listen.tlsalpn01.is_some()),
        ]
        .into_iter()
        .filter_map(|(kind, answered)| answered.then_some(kind))
        .collect(),
        _ => ChallengeType::ALL.to_vec(),
    };
    let Some(wanted) = s.take("challenge_types", Mix::<ChallengeType>::from_str) else {
        if answered.is_empty() {
            s.mistake("http01_listen", "nothing would answer the CA's validations: give --http01-listen, --tlsalpn01-listen or --dns-listen, or --challenges redis://… for a challenge server elsewhere");
        }
        return answered.into();
    };
    for kind in wanted.items() {
        if !answered.contains(&kind) {
            let listener = match kind {
                ChallengeType::Http01 => "--http01-listen",
                ChallengeType::TlsAlpn01 => "--tlsalpn01-listen",
                ChallengeType::Dns01 => "--dns-listen",
            };
            s.mistake("challenge_types", format!("nothing would answer {kind}: give {listener}"));
        }
    }
    wanted
}

fn as_text<S: serde::Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str())
}

fn as_name<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_people_write<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*time))
}

fn kid_of<S: serde::Serializer>(eab: &Option<ExternalAccount>, serializer: S) -> Result<S::Ok, S::Error> {
    eab.as_ref().map(|eab| &eab.kid).serialize(serializer)
}

fn directory(value: &str) -> Result<Url, String> {
    let url = Url::parse(value)
        .map_err(|error| format!("{value:?} is no URL: {error}; as in https://ca.test:14000/dir"))?;
    match url.scheme() {
        // It is shown, stored and logged. The value is not repeated: it holds a password.
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err("has a user or password in it: ACME knows neither, its accounts sign with their keys".into())
        }
        "http" | "https" if url.has_host() => Ok(url),
        scheme => {
            Err(format!("{value:?} has the scheme {scheme:?}: an ACME directory is an http or https URL"))
        }
    }
}

/// A file of certificates in PEM. What they are good for is TLS's to say.
fn certificates(text: &str) -> Result<PathBuf, String> {
    let path = readable(text)?;
    match std::fs::read(&path) {
        Ok(pem) if pem.windows(17).any(|window| window == b"BEGIN CERTIFICATE") => Ok(path),
        Ok(_) => Err(format!("{text} has no certificate in PEM: no `BEGIN CERTIFICATE`")),
        Err(error) => Err(format!("cannot read {text}: {error}")),
    }
}

fn readable(value: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    std::fs::File::open(&path).map_err(|error| format!("cannot read {value}: {error}"))?;
    Ok(path)
}

fn domain(value: &str) -> Result<String, String> {
    let domain = value.trim().trim_end_matches('.').to_ascii_lowercase();
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A unique label of up to 30 bytes and a dot come in front of it.
    if domain.len() <= 222 && domain.split('.').all(label_fits) {
        Ok(domain)
    } else {
        Err(format!("{value:?} is not a domain name of letters, digits, hyphens and dots"))
    }
}

fn state(value: &str) -> Result<String, String> {
    match value.split_once(':') {
        Some(("sqlite" | "postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(value.into()),
        // The value may hold a password: only its scheme is repeated.
        Some((scheme, _)) => {
            Err(format!("the scheme {scheme:?} is not one of sqlite://FILE, postgres://USER@HOST/DB"))
        }
        None => Err("not a URL: sqlite://FILE or postgres://USER@HOST/DB".into()),
    }
}

fn challenges(value: &str) -> Result<Challenges, String> {
    if value == "memory" {
        return Ok(Challenges::Memory);
    }
    if value.starts_with("redis://") {
        return Ok(Challenges::Redis(value.into()));
    }
    challtestsrv(value)
        .map(Challenges::ChallTestSrv)
        .map_err(|_| "not one of memory, redis://HOST[:PORT], challtestsrv+http://HOST:8055".into())
}

/// `challtestsrv+http://HOST:PORT`: the management API's address.
fn challtestsrv(value: &str) -> Result<Url, String> {
    value
        .strip_prefix("challtestsrv+")
        .and_then(|url| Url::parse(url).ok())
        .filter(|url| url.scheme() == "http" && url.has_host())
        .ok_or_else(|| "not challtestsrv+http://HOST:8055".into())
}

fn address(value: &str) -> Result<Option<SocketAddr>, String> {
    if value == "off" {
        return Ok(None);
    }
    value
        .parse()
        .map(Some)
        .map_err(|_| format!("{value:?} is not an address like 127.0.0.1:5002 or [::1]:5002, nor off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> PlanOptions {
        PlanOptions { directory: Some("https://127.0.0.1:14000/dir".into()), ..PlanOptions::default() }
    }

    #[test]
    fn needs_nothing_but_a_directory() {
        let plan = options().resolve(None).unwrap();
        assert_eq!(plan.workers(), 50);
        assert_eq!(plan.run_time(), Duration::from_secs(60));
        assert_eq!(plan.scenarios[0].challenge_types.to_string(), "http-01=1,tls-alpn-01=1");
        assert_eq!(plan.listen.http01, Some("127.0.0.1:5002".parse().unwrap()));
        assert_eq!(plan.listen.dns, None);
    }

    #[test]
    fn the_shipped_scenarios_are_plans() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenarios");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 7, "{files:?}");
        for file in files {
            let options = PlanOptions { config: Some(file.clone()), ..PlanOptions::default() };
            let plan =
                options.resolve(None).unwrap_or_else(|mistakes| panic!("{}:\n{mistakes}", file.display()));
            assert!(!plan.run_time().is_zero(), "{}", file.display());
        }
    }

    #[test]
    fn scenarios_take_from_the_top_what_they_do_not_say_and_flags_hold_for_all() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenarios");
        let config = Some(std::path::Path::new(folder).join("renewal-storm.toml"));
        let plan = PlanOptions { config: config.clone(), ..PlanOptions::default() }.resolve(None).unwrap();
        let shown: Vec<_> = plan
            .scenarios
            .iter()
            .map(|one| {
                (one.name.as_str(), one.load.executor(), one.run_time.as_secs(), *one.names_per_order.end())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("clean-up", "iterations", 600, 1),
                ("everyday", "arrival-rate", 600, 1),
                ("storm", "arrival-rate", 180, 1)
            ]
        );
        assert_eq!(plan.run_time(), Duration::from_secs(1200), "the clean-up waits for the everyday load");
        let names_per_order = Some("3".into());
        let plan =
            PlanOptions { config, names_per_order, run_time: Some("5s".into()), ..PlanOptions::default() };
        let plan = plan.resolve(None).unwrap();
        assert!(
            plan.scenarios.iter().all(|one| *one.names_per_order.end() == 3 && one.run_time.as_secs() == 5)
        );
    }

    #[test]
    fn reports_every_mistake_of_a_file_at_once_with_its_line() {
        let mut settings = Settings::default();
        let text = "directory = \"https://127.0.0.1:14000/dir\"\nrat = \"5/s\"\n\
                    [scenarios.a]\nrate = \"fast\"\nthink_time = \"1s\"\nafter = \"b\"\n\
                    [scenarios.b]\nexecutor = \"workers\"\nrate = \"5/s\"\nafter = \"a\"\nworker = 1\n\
                    [scenarios.c]\nexecutor = \"arrival-rate\"\nafter = \"d\"\nstages = [{ duration = \"1m\", workers = 5 }]\n";
        settings.text("s.toml", text, PLAN_KEYS, SCENARIO_KEYS);
        let shown = resolve(settings, None).unwrap_err().to_string();
        let lines: Vec<_> = shown.lines().map(|line| line.split_once(": ").unwrap().0).collect();
        for line in [2, 4, 5, 6, 9, 10, 11, 13, 14, 15] {
            assert!(
                lines.contains(&format!("s.toml:{line}").as_str()),
                "no mistake of line {line} in\n{shown}"
            );
        }
        assert!(
            shown.contains("s.toml:11: scenarios.b.worker: unknown key; did you mean workers?"),
            "{shown}"
        );
        assert!(
            shown.contains("s.toml:14: scenarios.c.after: there is no scenario \"d\": name one of a, b, c"),
            "{shown}"
        );
    }

    #[test]
    fn a_mistake_that_several_scenarios_share_is_told_once_and_a_wrong_name_where_it_stands() {
        let told = |text: &str| {
            let mut settings = Settings::default();
            settings.text("s.toml", text, PLAN_KEYS, SCENARIO_KEYS);
            settings.flag("directory", Some("https://127.0.0.1:14000/dir"));
            resolve(settings, None).unwrap_err().to_string()
        };
        let kinds =
            "[scenarios.a]\nexecutor = \"workers\"\n[scenarios.b]\nrate = 5\n[scenarios.c]\ntarget_rps = 5\n";
        let stages =
            "stages = [{ duration = \"1m\", workers = 5 }, { duration = \"x\", target = 5 }, \"1m:some\"]\n";
        assert_eq!(
            told(&format!("{stages}{kinds}")),
            "s.toml:1: stages: stage 2: \"x\" is not a time (expected number at 0); as in 30s, 5m, 1h30m\n\
             s.toml:1: stages: stage 3: \"some\" is not a whole number from 0 to 1000000\n\
             s.toml:1: stages: stage 1: \"workers\" is unknown in a stage; known are duration, rate; target fits every executor"
        );
        let none = "registration = 0\nauthorization = 0\ncertificate = 0\nrefresh = 0\nrevoke = 0\n";
        assert_eq!(
            told(&format!("[weights]\n{none}[scenarios.a]\nworkers = 1\n")),
            "s.toml:2: weights: every chain weighs 0, so none could ever run"
        );
        assert_eq!(
            told("[scenarios.\"a b\"]\nrate = 5\nexecutor = \"arrival-rate\"\n"),
            "s.toml:2: scenarios.a b: is no name of a scenario: up to 40 letters, digits, hyphens and underscores"
        );
    }

    #[test]
    fn what_follows_from_a_mistake_is_not_told_as_another_one() {
        let told = |text: &str| {
            let mut settings = Settings::default();
            settings.text("s.toml", text, PLAN_KEYS, SCENARIO_KEYS);
            resolve(settings, None).unwrap_err().to_string()
        };
        let broken = told("directory = \"https://ca\nworkers = \nrat = 5\n");
        let lines: Vec<_> = broken.lines().map(|line| line.split_once(": ").unwrap().0).collect();
        assert_eq!(lines, ["s.toml:1", "s.toml:2", "s.toml:3"], "{broken}");
        for text in ["[[scenarios]]\nname = \"a\"\n", "[scenario.a]\nworkers = 5\n"] {
            assert!(told(text).contains("each scenario is a table of its own: [scenarios.NAME]"), "{text}");
        }
    }

    #[test]
    fn two_ways_to_push_at_once_are_told_apart() {
        let options = PlanOptions {
            directory: Some("https://127.0.0.1:14000/dir".into()),
            rate: Some("50/s".into()),
            iterations: Some("3".into()),
            ..PlanOptions::default()
        };
        assert_eq!(
            options.resolve(None).unwrap_err().to_string(),
            "--rate: contradicts iterations: give one of them, or each to a scenario of its own in a file"
        );
    }

    #[test]
    fn reports_every_mistake_at_once() {
        let options = PlanOptions {
            directory: Some("ca.test".into()),
            workers: Some("-1".into()),
            run_time: Some("0s".into()),
            weight: vec!["certificates=1".into(), "revoke=-1".into()],
            names_per_order: Some("5..2".into()),
            base_domain: Some("a..b".into()),
            state: Some("mysql://root:secret@db/x".into()),
            challenges: Some("http://x".into()),
            http01_listen: Some("localhost".into()),
            cacert: Some("no-such-file.pem".into()),
            eab_kid: Some("kid-1".into()),
            ..PlanOptions::default()
        };
        let Mistakes(mistakes) = options.resolve(None).unwrap_err();
        let mut keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(
            keys,
            [
                "base_domain",
                "cacert",
                "challenges",
                "directory",
                "eab_kid",
                "http01_listen",
                "names_per_order",
                "run_time",
                "state",
                "weight",
                "weights.revoke",
                "workers"
            ]
        );
        let shown = Mistakes(mistakes).to_string();
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_directory_with_a_password_is_refused_without_repeating_it() {
        let mut options = options();
        options.directory = Some("https://ops:hunter2@127.0.0.1:14000/dir".into());
        let shown = options.resolve(None).unwrap_err().to_string();
        assert!(shown.starts_with("--directory: ") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn naming_one_listener_turns_the_default_ones_off() {
        let mut options = options();
        options.dns_listen = Some("127.0.0.1:5053".into());
        let plan = options.resolve(None).unwrap();
        assert_eq!(plan.listen.http01, None);
        assert_eq!(plan.scenarios[0].challenge_types.to_string(), "dns-01=1");
    }

    #[test]
    fn a_challenge_type_that_nothing_answers_is_a_mistake() {
        let mut options = options();
        options.challenge_types = Some("http-01,dns-01".into());
        let shown = options.resolve(None).unwrap_err().to_string();
        assert_eq!(shown, "--challenge-types: nothing would answer dns-01: give --dns-listen");
    }

    #[test]
    fn what_clients_do_has_weights_shares_and_names() {
        let options = PlanOptions {
            key_types: Some("p256=8, rsa2048".into()),
            challenge_types: Some("http-01=3,tls-alpn-01=0".into()),
            connections: Some("per-chain".into()),
            http: Some("2".into()),
            abandon: Some("2.5%".into()),
            stop_before: Some("finalize".into()),
            ..options()
        };
        let plan = options.resolve(None).unwrap();
        let scenario = &plan.scenarios[0];
        assert_eq!(scenario.key_types.to_string(), "p256=8,rsa2048=1");
        assert_eq!(scenario.challenge_types.to_string(), "http-01=3,tls-alpn-01=0");
        assert_eq!((scenario.abandon, scenario.connections.name()), (0.025, "per-chain"));
        assert!(scenario.stop_before.is_some() && plan.http == HttpVersion::Http2);
        let stamp = serde_json::to_value(&plan).unwrap();
        assert_eq!(stamp["http"], "2");
        assert_eq!(stamp["scenarios"][0]["key_types"], "p256=8,rsa2048=1");
        assert_eq!(stamp["scenarios"][0]["connections"], "per-chain");
        assert_eq!(stamp["scenarios"][0]["stop_before"], "finalize");
    }

    #[test]
    fn what_clients_cannot_do_is_said_with_what_they_can() {
        let options = PlanOptions {
            key_types: Some("p521".into()),
            challenge_types: Some("http-01=-1".into()),
            connections: Some("pooled".into()),
            http: Some("3".into()),
            abandon: Some("110%".into()),
            stop_before: Some("newOrder".into()),
            ..options()
        };
        let shown = options.resolve(None).unwrap_err().to_string();
        for part in [
            "--key-types: \"p521\" is not a key type: there are p256, p384",
            "--challenge-types: -1 is no weight",
            "--connections: \"pooled\" is no connection model: there are shared, per-worker, per-chain",
            "--http: \"3\" is no HTTP version: there are 1.1 and 2",
            "--abandon: \"110%\" is not a share",
            "--stop-before: \"newOrder\" is no step that can be stopped before: there is finalize",
        ] {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
        let nothing_left = PlanOptions {
            stop_before: Some("finalize".into()),
            weight: ["registration=0", "authorization=0", "refresh=0", "revoke=0"].map(String::from).into(),
            ..super::tests::options()
        };
        let shown = nothing_left.resolve(None).unwrap_err().to_string();
        assert!(shown.contains("stops before finalize"), "{shown}");
    }

    #[test]
    fn listeners_belong_to_the_memory_store() {
        let mut options = options();
        options.challenges = Some("redis://127.0.0.1".into());
        assert_eq!(
            options.clone().resolve(None).unwrap().scenarios[0].challenge_types,
            Mix::even(ChallengeType::ALL)
        );
        options.http01_listen = Some("127.0.0.1:80".into());
        assert!(options.resolve(None).unwrap_err().to_string().contains("needs --challenges memory"));
    }

    #[test]
    fn dns01_may_be_answered_elsewhere_alone() {
        let mut options = options();
        options.http01_listen = Some("127.0.0.1:0".into());
        options.dns_challenges = Some("challtestsrv+http://10.77.77.77:8055".into());
        let plan = options.clone().resolve(None).unwrap();
        assert_eq!(plan.challenges, Challenges::Memory);
        assert_eq!(plan.scenarios[0].challenge_types.to_string(), "http-01=1,dns-01=1");
        options.dns_challenges = Some("redis://127.0.0.1".into());
        let shown = options.resolve(None).unwrap_err().to_string();
        assert_eq!(shown, "--dns-challenges: not challtestsrv+http://HOST:8055");
    }

    #[test]
    fn secrets_are_in_no_debug_output_and_no_stamp() {
        let mut options = options();
        options.eab_kid = Some("kid-1".into());
        options.state = Some("postgres://wec:hunter2@db/wec".into());
        let plan = options.resolve(Some("aG1hYy1zZWNyZXQ".into())).unwrap();
        let stamp = serde_json::to_string(&plan).unwrap();
        assert!(
            stamp.contains("kid-1") && !stamp.contains("hunter2") && !stamp.contains("aG1hYy1zZWNyZXQ"),
            "{stamp}"
        );
        assert!(!format!("{plan:?}").contains("aG1hYy1zZWNyZXQ"));
    }
}
