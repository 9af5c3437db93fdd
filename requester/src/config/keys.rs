//! The table of keys: all that a plan and a search can be asked for.
//!
//! One entry is the flag with its place in `--help`, the environment variable, the key of a file, the entry of the JSON
//! schema and of `docs/reference/flags.md`. What reads the values is in [`super::plan`], [`super::scenario`] and, for
//! a search, in `wec capacity`; a test there finds a key that nothing reads.

use std::sync::LazyLock;

use wec_record::Chain;

use self::Kind::{Bool, List, Number, OneOf, Repeated, Stages, Text, Thresholds, Weights, Whole};

/// One thing that can be asked for.
#[derive(Debug)]
pub struct Key {
    /// As files have it (`run_time`); of the table `[capacity]`, with its name and a dot in front.
    pub name: &'static str,
    /// How `--help` calls the value: `TIME`.
    pub value: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The heading in `--help`.
    pub group: &'static str,
    /// What it means, for people.
    pub help: &'static str,
    /// Where files have it.
    pub place: Place,
    /// Whether there is a flag.
    pub has_flag: bool,
    /// The flag in one letter.
    pub short: Option<char>,
    /// Whether `-h` shows it, which leaves most keys to `--help`.
    pub usual: bool,
}

/// Where a file has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: only the command line and the environment do.
    Command,
    /// At the top level.
    Plan,
    /// In the table of a scenario, or at the top level for all scenarios that have none of their own.
    Scenario,
    /// In the table `[capacity]`, which `wec capacity` alone reads.
    Search,
}

/// What a key's values are. It gives the flag's arity and the schema; the values themselves are checked when they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// `true` or `false`; a flag without a value is `true`.
    Bool,
    /// A whole number.
    Whole,
    /// A number, or text with a unit.
    Number,
    /// The name of an executor.
    Executor,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Several, by commas or as a list.
    List,
    /// As [`Kind::List`], and the flag may be repeated.
    Repeated,
    /// Thresholds, whose text may have commas; the flag is repeated.
    Thresholds,
    /// A weight for each chain: a table, or `CHAIN=W` with a flag.
    Weights,
    /// Stages of a load: tables, or text.
    Stages,
}

/// What the names of a search's keys begin with; a dot follows.
pub(super) const CAPACITY: &str = "capacity";
/// What the names of the keys of weights begin with; a dot and the chain follow.
pub(super) const WEIGHTS: &str = "weights";

const TARGET: &str = "Target";
const LOAD: &str = "Load";
const CHAINS: &str = "Chains and orders";
const CHALLENGES: &str = "Challenges";
const VERDICT: &str = "Verdict";
const CONNECTIONS: &str = "Connections and requests";
const GENERATOR: &str = "Limits of the load tester";
const SEARCH: &str = "Search";

/// Every key, in the order of the help and the reference.
// Formatted, each would take seven lines.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    command("config", "FILE", Text, TARGET,
        "Configuration file (TOML); its keys are these flags' names with underscores").usual(),
    plan("directory", "URL", Text, TARGET,
        "The CA's ACME directory").usual(),
    plan("cacert", "FILE", Text, TARGET,
        "PEM file with the roots that sign the CA's own HTTPS certificate [default: the system's roots]").usual(),
    plan("insecure", "BOOL", Bool, TARGET,
        "Accept any HTTPS certificate of the CA"),
    plan("client_cert", "FILE", Text, TARGET,
        "PEM file with the client certificate that the CA's server demands, and the intermediates behind it"),
    plan("client_key", "FILE", Text, TARGET,
        "PEM file with the key of --client-cert, not encrypted"),
    plan("allow_host", "HOST", Repeated, TARGET,
        "Host that may be loaded although its address is neither loopback nor private; may be repeated").usual(),
    plan("authorised_by", "WHO", Text, TARGET,
        "Who at the public CA agreed to this test"),
    plan("contact", "URLS", List, TARGET,
        "Contacts of new accounts, by commas: mailto:ops@ca.test [default: none]"),
    plan("eab_kid", "KID", Text, TARGET,
        "Key identifier for external account binding; its HMAC key comes from WEC_EAB_HMAC_KEY (base64url)"),

    scenario("workers", "N", Whole, LOAD,
        "Virtual users that run chains side by side [default: 50, or 0 with stages]; with a rate, the most of them [default: 1000]").short('u').usual(),
    scenario("rate", "RATE", Number, LOAD,
        "Open model: start so many chains a second, however long they take: 50/s, 3000/min, \"500 requests/s\"").short('r').usual(),
    scenario("target_rps", "RPS", Number, LOAD,
        "Reach so many requests a second by adjusting the number of workers"),
    scenario("iterations", "N", Whole, LOAD,
        "Run so many chains in all, shared by the workers").short('n').usual(),
    scenario("stages", "TIME:TARGET,…", Stages, LOAD,
        "Linear changes of workers or rate, one after the other: 30s:100,1h:5000").usual(),
    scenario("run_time", "TIME", Text, LOAD,
        "How long to run: 30s, 5m, 1h30m [default: 60s, or as long as stages take; 10m at most for iterations]").short('t').usual(),
    scenario("think_time", "TIME|A..B", Text, LOAD,
        "What a worker of the executors workers and iterations waits between two chains: 2s, or a range 1s..5s [default: nothing]"),
    scenario("executor", "NAME", Kind::Executor, LOAD,
        "How iterations are started: workers, arrival-rate, target-rps or iterations [default: by which of --rate, \
         --target-rps and --iterations is given, else workers]"),
    scenario("rate_unit", "UNIT", OneOf(&["chains", "requests"]), LOAD,
        "What rates count: chains or requests [default: chains]").only_in_files(),
    scenario("spacing", "HOW", OneOf(&["poisson", "even"]), LOAD,
        "How arrivals of --rate lie in time: poisson or even [default: poisson]"),
    scenario("start_at", "TIME", Text, LOAD,
        "When the scenario starts: so long after the run's start, or after the end of the one named by after \
         [default: at once]").only_in_files(),
    scenario("after", "NAME", Text, LOAD,
        "The scenario whose end this one waits for [default: none]").only_in_files(),
    plan("graceful_stop", "TIME", Text, LOAD,
        "How long running chains may take to finish after the end [default: 30s]"),
    scenario("on_failure", "HOW", OneOf(&["back-off", "hammer"]), LOAD,
        "What workers do when chains fail for the CA's or the network's reasons: back-off, or hammer, where they \
         go on at once [default: back-off]"),
    plan("seed", "N", Whole, LOAD,
        "Seed of every random choice, for runs that choose alike [default: random]"),

    search("capacity.from", "RATE", Number, SEARCH,
        "The first rate, chains a second [default: 1/s]").usual(),
    search("capacity.to", "RATE", Number, SEARCH,
        "The last rate; sustaining it ends the search well [default: none]").usual(),
    search("capacity.step", "xN|RATE", Text, SEARCH,
        "From one step to the next while all is well: a factor like x2, or so much more like 10/s [default: x2]").usual(),
    search("capacity.resolution", "SHARE|RATE", Text, SEARCH,
        "How narrow the knee is to be known: a share of it like 5%, or chains a second like 2/s [default: 5%]"),
    search("capacity.step_time", "TIME", Text, SEARCH,
        "How long each step is measured, once it has settled [default: 15s]").usual(),
    search("capacity.settle", "A..B", Text, SEARCH,
        "How long a step may take to settle: at least..at most [default: 5s..60s]"),
    search("capacity.recover", "TIME", Text, SEARCH,
        "How long the CA may take to recover after a step that failed [default: 2m]"),
    search("capacity.max_time", "TIME", Text, SEARCH,
        "No step begins that cannot end by then [default: 30m]").usual(),
    search("capacity.hold_at", "SHARE|off", Text, SEARCH,
        "In the end the CA is left running at this share of the knee; off for not [default: 80%]"),
    search("capacity.hold", "TIME", Text, SEARCH,
        "How long it is watched there [default: 30s]"),

    scenario("weights", "CHAIN=W", Weights, CHAINS,
        "How often each chain is chosen among those allowed, relative to the others; 0 is never: certificate=4,revoke=0").usual(),
    scenario("names_per_order", "N|A..B", Number, CHAINS,
        "Names in an order: 1, or a range 1..5 [default: 1]").usual(),
    plan("base_domain", "DOMAIN", Text, CHAINS,
        "The domain below which every ordered name lies [default: wec.test]"),
    scenario("key_types", "TYPE=W,…", List, CHAINS,
        "Types of the certificates' keys, with weights: p256=8,p384=1,rsa2048=1; also rsa3072 and rsa4096. RSA \
         keys are made before the run and used in turn [default: p256]").usual(),
    scenario("account_key_types", "TYPE=W,…", List, CHAINS,
        "Types of the accounts' keys, with weights: p256=3,rsa2048=1,p384; also rsa3072 and rsa4096. RSA keys \
         are made ahead, a new one for each account [default: p256]"),
    scenario("profile", "NAME=W,…", List, CHAINS,
        "Certificate profiles of new orders, with weights: shortlived=1,classic=3; default is an order without a \
         profile. The CA's directory must offer them [default: default]"),
    scenario("abandon", "SHARE", Number, CHAINS,
        "Share of the new orders that are left unfinished: 10% [default: none]"),
    scenario("stop_before", "STEP", OneOf(&["finalize"]), CHAINS,
        "End chains before this step, which can be finalize: the CA does everything but issue [default: \
         nowhere]"),
    scenario("revoke_reasons", "REASON=W,…", List, CHAINS,
        "Reasons of revocations, with weights: none=4,0,1,4,5; none is a request without a reason, the numbers \
         are RFC 5280's [default: none,0,1,4,5]"),
    scenario("revoke_by_certificate_key", "SHARE", Number, CHAINS,
        "Share of the revocations that are signed by the certificate's key, the others by the account's; CAs may \
         refuse such a key from then on [default: 50%]"),
    plan("issuer_root", "FILE", Text, CHAINS,
        "PEM file with CA certificates that issued certificates must lead to; verifies also those that come \
         without their issuer [default: the end of a chain is not judged]"),
    plan("limit_registrations", "N", Whole, CHAINS,
        "Make no more than this many registrations in all, earlier runs with the same state included [default: none]"),
    plan("limit_authorizations", "N", Whole, CHAINS,
        "Make no more than this many ready orders in all, earlier runs with the same state included [default: none]"),
    plan("limit_certificates", "N", Whole, CHAINS,
        "Make no more than this many certificates in all, earlier runs with the same state included [default: none]"),
    plan("state", "URL", Text, CHAINS,
        "State store: sqlite://FILE or postgres://USER@HOST/DB [default: sqlite://wec-state.sqlite]").usual(),

    plan("challenge_types", "TYPE=W,…", List, CHALLENGES,
        "Challenge types to use, with weights: http-01=3,dns-01=1 [default: those that something answers; all, if --challenges is not memory]").usual(),
    plan("challenges", "WHERE", Text, CHALLENGES,
        "Where challenge data goes: memory (the challenge server of this process), redis://HOST, or the \
         management API of a challtestsrv, challtestsrv+http://HOST:8055 [default: memory]").usual(),
    plan("dns_challenges", "WHERE", Text, CHALLENGES,
        "Where dns-01 records go when the CA's resolver is not ours: challtestsrv+http://HOST:8055 [default: as \
         --challenges]"),
    plan("http01_listen", "ADDR", Text, CHALLENGES,
        "Where this process answers http-01; off for none [default: 127.0.0.1:5002 with --challenges memory, \
         when no listener is named]").usual(),
    plan("tlsalpn01_listen", "ADDR", Text, CHALLENGES,
        "Where this process answers tls-alpn-01; off for none [default: 127.0.0.1:5001 with --challenges memory, \
         when no listener is named]"),
    plan("dns_listen", "ADDR", Text, CHALLENGES,
        "Where this process answers DNS over UDP and TCP; off for none [default: off]"),
    plan("challenge_linger", "TIME", Text, CHALLENGES,
        "How long challenge data stays after its authorization is final, for validations that come late; 0s for \
         none [default: 10s]"),

    plan("thresholds", "EXPR", Thresholds, VERDICT,
        "What the run must hold to pass, else it ends with 99: \"chain.certificate{p(99)} < 2s\"; may be \
         repeated").usual(),
    plan("strict", "BOOL", Bool, VERDICT,
        "End with exit code 108 when the run was generator-limited: its figures are not the CA's alone"),

    scenario("connections", "MODEL", OneOf(&["shared", "per-worker", "per-chain"]), CONNECTIONS,
        "Who shares connections: shared, per-worker, or per-chain, where each chain begins as a client that the \
         CA has never seen [default: shared]"),
    plan("http", "VERSION", Number, CONNECTIONS,
        "The HTTP version to speak to the CA: 1.1 or 2 [default: 1.1]"),
    plan("max_connections", "N", Whole, CONNECTIONS,
        "Connections to the CA at most that workers share, for each of this process's runtimes; requests beyond \
         them wait, and their response time says so [default: 256]"),
    plan("spread_addresses", "BOOL", Bool, CONNECTIONS,
        "Make connections to all addresses of a name in turn, and not to the one that worked last"),
    plan("connect_to", "HOST:PORT:ADDR:PORT", Repeated, CONNECTIONS,
        "Make connections for HOST:PORT to ADDR:PORT, as curl does: ca.test:443:127.0.0.1:14000. An empty part \
         is any, or as it was; IPv6 addresses in brackets; may be repeated"),
    plan("source_address", "ADDR", Repeated, CONNECTIONS,
        "Local address that connections to the CA come from; may be repeated, then in turn. Each has local ports \
         of its own"),
    plan("request_timeout", "TIME", Text, CONNECTIONS,
        "How long one request may take [default: 30s]"),
    plan("poll_timeout", "TIME", Text, CONNECTIONS,
        "How long an authorization or order may take to reach the wanted state [default: 60s]"),
    plan("poll_interval", "TIME", Text, CONNECTIONS,
        "The wait before an authorization or order is polled first; each further one is half as long again, up \
         to 2s. The CA's Retry-After goes before it when it is longer [default: 50ms]"),
    plan("max_retries", "N", Whole, CONNECTIONS,
        "How often one request is sent again after 429 or 503 with Retry-After; 0 for never [default: 3]"),
    plan("max_retry_after", "TIME", Text, CONNECTIONS,
        "The longest Retry-After that is waited for: by a request and by polls, which fail when the CA asks for \
         more, and by workers and accounts, orders and certificates that rest, which then rest so long [default: \
         60s]"),
    plan("traceparent", "BOOL", Bool, CONNECTIONS,
        "Send a W3C traceparent with each request: a trace for each chain, a span for each request; both stand \
         in the log"),
    plan("request_id_header", "NAME", Text, CONNECTIONS,
        "The response header with the CA's own id of a request, which is kept of each that failed [default: \
         x-request-id]"),

    plan("threads", "N", Whole, GENERATOR,
        "Runtimes, each on a thread of its own [default: one for each processor]"),
    plan("limited_lag", "TIME", Text, GENERATOR,
        "The run is generator-limited when work runs later than this (the 99th percentile of a second) for 5 \
         seconds on end, and later than --limited-lag-share allows [default: 20ms]"),
    plan("limited_lag_share", "SHARE", Text, GENERATOR,
        "Lag counts only above this share of the median response time of requests [default: 25%]"),
    plan("limited_cpu", "SHARE", Text, GENERATOR,
        "The run is generator-limited when a worker thread runs, or waits for a processor, for this share of the \
         time, for 3 seconds on end [default: 90%]"),
    plan("limited_backlog", "SHARE", Text, GENERATOR,
        "The same, when the queue of results is so full [default: 50%]"),
    plan("limited_dropped", "SHARE", Text, GENERATOR,
        "The same, when this share of the iterations that are due is dropped [default: 1%]"),
    plan("limited_connections", "SHARE", Text, GENERATOR,
        "The same, when requests wait for a free connection for this share of their time [default: 10%]"),
];

const fn key(
    name: &'static str,
    value: &'static str,
    kind: Kind,
    group: &'static str,
    help: &'static str,
) -> Key {
    let place = Place::Plan;
    Key { name, value, kind, group, help, place, has_flag: true, short: None, usual: false }
}

use self::key as plan;

const fn command(
    name: &'static str,
    value: &'static str,
    kind: Kind,
    group: &'static str,
    help: &'static str,
) -> Key {
    Key { place: Place::Command, ..key(name, value, kind, group, help) }
}

const fn scenario(
    name: &'static str,
    value: &'static str,
    kind: Kind,
    group: &'static str,
    help: &'static str,
) -> Key {
    Key { place: Place::Scenario, ..key(name, value, kind, group, help) }
}

const fn search(
    name: &'static str,
    value: &'static str,
    kind: Kind,
    group: &'static str,
    help: &'static str,
) -> Key {
    Key { place: Place::Search, ..key(name, value, kind, group, help) }
}

impl Key {
    /// The key of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    const fn usual(self) -> Self {
        Self { usual: true, ..self }
    }

    const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    const fn only_in_files(self) -> Self {
        Self { has_flag: false, ..self }
    }

    /// `run_time` as a flag: `run-time`. What a flag gives one by one is in the singular; flags of a search have their names
    /// without the table's.
    pub fn long(&self) -> String {
        let name = match self.kind {
            Kind::Thresholds | Kind::Weights => self.name.trim_end_matches('s'),
            _ => self.name.rsplit('.').next().unwrap_or(self.name),
        };
        name.replace('_', "-")
    }

    /// The environment variable that stands for the flag: `WEC_RUN_TIME`.
    pub fn variable(&self) -> String {
        format!("WEC_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// What it is called in files: itself, or of weights, one name for each chain.
    pub(super) fn in_files(&self) -> Vec<String> {
        match (self.place, self.kind) {
            (Place::Command, _) => Vec::new(),
            (_, Kind::Weights) => Chain::ALL.map(|chain| format!("{}.{chain}", self.name)).into(),
            _ => vec![self.name.to_owned()],
        }
    }
}

/// What can stand in a scenario's table.
pub(super) static OF_SCENARIOS: LazyLock<Vec<String>> = LazyLock::new(|| in_files(&[Place::Scenario]));
/// What can stand at the top level of a file, or in one of its tables that are no scenarios.
pub(super) static OF_FILES: LazyLock<Vec<String>> =
    LazyLock::new(|| in_files(&[Place::Plan, Place::Search, Place::Scenario]));

/// In that order of places: messages list them so.
fn in_files(places: &[Place]) -> Vec<String> {
    let of = |place: &Place| {
        let place = *place;
        KEYS.iter().filter(move |key| key.place == place).flat_map(Key::in_files)
    };
    places.iter().flat_map(of).collect()
}

/// The flag of a key of a file, for messages: `--run-time`.
pub(super) fn flag_of(name: &str) -> String {
    let long = Key::named(name).map_or_else(|| name.replace(['_', '.'], "-"), Key::long);
    format!("--{long}")
}

/// The environment variable of a key, by its name in a file or by its flag's, for messages: `WEC_RUN_TIME`.
pub(super) fn variable_of(name: &str) -> String {
    let key = KEYS.iter().find(|key| key.name == name || key.long() == name);
    key.map_or_else(|| name.to_owned(), Key::variable)
}
