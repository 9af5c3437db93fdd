//! The table of keys of a plan and of a search.
//!
//! One entry defines the flag with its place in `--help`, the environment variable, the key of a file, and
//! the entry of the JSON schema and of `docs/reference/flags.md`. A key that only one executor has is in the file of
//! the executor ([`executor::own_keys`]). A row whose value the log records in the form in which the run uses it reads
//! it, too; the others are read in [`super::plan`], [`super::scenario`] and, for a search, in `wec capacity`; a test there
//! finds a key that is never read.

use std::sync::LazyLock;

use wec_record::plan as recorded;

use crate::executor;
use crate::settings::KeyKind::{
    Bool, List, Number, OneOf, Repeated, Stages, Text, Thresholds, Weights, Whole,
};
use crate::settings::values::{any_duration, any_share, boolean, domain, duration, whole};
use crate::settings::{Key, KeyKind, KeyPlace, LOAD, key, key as plan, put};

/// Prefix of the keys of a search; a dot follows.
pub(super) const CAPACITY: &str = "capacity";
/// Prefix of the keys of weights; a dot and the chain follow.
pub(super) const WEIGHTS: &str = "weights";

const TARGET: &str = "Target";
const CHAINS: &str = "Chains and orders";
const CHALLENGES: &str = "Challenges";
const VERDICT: &str = "Verdict";
const CONNECTIONS: &str = "Connections and requests";
const GENERATOR: &str = "Limits of the load tester";
const SEARCH: &str = "Search";

/// Every key, in the order of the help and the reference: after `workers` come `executor` and the keys of each executor.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let workers = COMMON.iter().position(|key| key.name == "workers").expect("a row of the table");
    let (first, last) = COMMON.split_at(workers + 1);
    let executor = scenario("executor", "NAME", KeyKind::Executor, LOAD, &EXECUTOR_HELP).sets_load();
    [first, &[executor], &executor::own_keys(), last].concat()
});

static EXECUTOR_HELP: LazyLock<String> = LazyLock::new(executor::help);

/// The keys that do not belong to one executor only.
// Formatted, each would take seven lines.
#[rustfmt::skip]
static COMMON: &[Key] = &[
    command("config", "FILE", Text, TARGET,
        "Configuration file (TOML) of the plan; its keys are in docs/reference/flags.md and in the output of wec schema").of_ca().usual().local(),
    plan("directory", "URL", Text, TARGET,
        "The CA's ACME directory").of_ca().usual(),
    plan("cacert", "FILE", Text, TARGET,
        "PEM file with the roots that sign the CA's own HTTPS certificate [default: the system's roots]").of_ca().usual().local(),
    plan("insecure", "BOOL", Bool, TARGET,
        "Accept any HTTPS certificate of the CA").of_ca().local(),
    plan("client_cert", "FILE", Text, TARGET,
        "PEM file with the client certificate that the CA's server requires, followed by the intermediates").of_ca().local(),
    plan("client_key", "FILE", Text, TARGET,
        "PEM file with the key of --client-cert, not encrypted").of_ca().local(),
    plan("allow_host", "HOST", Repeated, TARGET,
        "Host that may be loaded although its address is neither loopback nor private; may be repeated").of_ca().usual().local(),
    plan("authorised_by", "WHO", Text, TARGET,
        "The person at the public CA who agreed to this test").of_ca().local(),
    plan("contact", "URLS", List, TARGET,
        "Contacts of new accounts, separated by commas: mailto:ops@ca.test [default: none]"),
    plan("eab_kid", "KID", Text, TARGET,
        "Key identifier for external account binding; its HMAC key comes from WEC_EAB_HMAC_KEY (base64url)"),
    plan("eab_file", "FILE", Text, TARGET,
        "File with several keys for external account binding, one per line: KID HMAC-KEY; each new account gets one of them at random").local(),
    plan("eab_key", "REF", Text, TARGET,
        "Source of the HMAC key of --eab-kid: env:NAME for an environment variable, or file:PATH [default: env:WEC_EAB_HMAC_KEY]"),

    scenario("workers", "N", Whole, LOAD,
        "Virtual users that run chains concurrently [default: 50, or 0 with stages]; with a rate, the largest number [default: 1000]").short('u').usual().sets_load(),
    scenario("stages", "TIME:TARGET,…", Stages, LOAD,
        "Linear changes of workers or rate, one after the other: 30s:100,1h:5000").usual().sets_load(),
    scenario("run_time", "TIME", Text, LOAD,
        "How long to run: 30s, 5m, 1h30m [default: 60s, or the length of the stages; with iterations at most 10m]").short('t').usual(),
    scenario("think_time", "TIME|A..B", Text, LOAD,
        "Pause of a worker between two chains, for the executors workers and iterations: 2s, or a range 1s..5s [default: none]").sets_load(),
    scenario("start_at", "TIME", Text, LOAD,
        "Start of the scenario: this time after the run's start, or after the end of the scenario that the key after names \
         [default: at once]").only_in_files().sets_load(),
    scenario("after", "NAME", Text, LOAD,
        "Start when the scenario with this name has ended [default: none]").only_in_files().sets_load(),
    plan("warm_up", "TIME", Text, LOAD,
        "Time from the run's start that figures, thresholds and the verdict leave out; its load is driven, logged and drawn: 2m [default: none]").sets_load(),
    plan("graceful_stop", "TIME", Text, LOAD,
        "How long running chains may take to finish after the end [default: 30s]")
            .of_plan("30s", |to, text| put(&mut to.graceful_stop, duration(text))),
    scenario("on_failure", "HOW", OneOf(recorded::OnFailure::KNOWN), LOAD,
        "What workers do after failures of the CA or the network: back-off (wait longer after each), or hammer (continue at once) [default: back-off]"),
    plan("seed", "N", Whole, LOAD,
        "Seed of every random choice; the same seed gives the same choices [default: random]"),

    search("capacity.from", "RATE", Number, SEARCH,
        "The first rate, chains per second [default: 1/s]").usual(),
    search("capacity.to", "RATE", Number, SEARCH,
        "The last rate; the search ends when it is sustained [default: none]").usual(),
    search("capacity.step", "xN|RATE", Text, SEARCH,
        "Growth from one step to the next while steps are sustained: a factor like x2, or an increment like 10/s [default: x2]").usual(),
    search("capacity.resolution", "SHARE|RATE", Text, SEARCH,
        "Precision of the knee: a share of it like 5%, or chains per second like 2/s [default: 5%]"),
    search("capacity.step_time", "TIME", Text, SEARCH,
        "How long each step is measured, once it has settled [default: 15s]"),
    search("capacity.settle", "A..B", Text, SEARCH,
        "Time for a step to settle: shortest..longest [default: 5s..60s]"),
    search("capacity.recover", "TIME", Text, SEARCH,
        "How long the CA may take to recover after a step that failed [default: 2m]"),
    search("capacity.max_time", "TIME", Text, SEARCH,
        "Longest time of the search; a step begins only if it can end within this time [default: 30m]").usual(),
    search("capacity.hold_at", "SHARE|off", Text, SEARCH,
        "The search ends with a hold at this share of the knee; off for none [default: 80%]"),
    search("capacity.hold", "TIME", Text, SEARCH,
        "How long the hold lasts [default: 30s]"),

    scenario("weights", "CHAIN=W", Weights, CHAINS,
        "Weight of each chain when the next one is drawn among those allowed; 0 means never: certificate=4,revoke=0").usual().sets_load(),
    scenario("names_per_order", "N|A..B|N:W,…", Number, CHAINS,
        "Names in an order: 1, a range 1..5, or numbers with weights, 1:70,2:20,10:9,100:1 [default: 1]").usual(),
    scenario("name_kinds", "KIND=W,…", List, CHAINS,
        "Kinds of the names in orders, with weights: plain=90,wildcard=5,ipv4=1,ipv6=1,idn=1,mixed-case=1,longest=1. \
         Wildcards need dns-01, addresses http-01 or tls-alpn-01 [default: plain]"),
    scenario("ip_networks", "NET,…", List, CHAINS,
        "Networks of the addresses in orders, one for each family: 10.0.0.0/8,fd00::/64 [default: \
         127.0.0.1/32,::1/128]"),
    scenario("repeat_names", "SHARE", Number, CHAINS,
        "Share of new orders with the names of an earlier certificate: 10% [default: none]")
            .of_scenario("0", |to, text| put(&mut to.repeat_names, any_share(text))),
    scenario("common_name", "SHARE", Number, CHAINS,
        "Share of the certification requests whose subject has the first name as its common name [default: none]")
            .of_scenario("0", |to, text| put(&mut to.common_name, any_share(text))),
    scenario("validity", "TIME", Text, CHAINS,
        "Request certificates that end after this time, by notBefore and notAfter of new orders: 90d. Not every CA \
         offers it [default: the CA chooses]"),
    scenario("new_account", "SHARE", Number, CHAINS,
        "Share of new orders for which an account is registered first: with 100%, one account for each certificate \
         [default: none]")
            .of_scenario("0", |to, text| put(&mut to.new_account, any_share(text))),
    scenario("largest_account", "SHARE", Number, CHAINS,
        "Share of new orders, and of the members of a fleet, that belong to one account, as for a large hoster: 40% [default: an equal share for each account]")
            .of_scenario("0", |to, text| put(&mut to.largest_account, any_share(text))),
    plan("base_domain", "DOMAIN", Text, CHAINS,
        "The domain of every ordered name [default: wec.test]")
            .of_plan("wec.test", |to, text| put(&mut to.base_domain, domain(text))),
    scenario("detours", "SHARE", Number, CHAINS,
        "Share of the validations that take a detour: a redirect for http-01, a CNAME for dns-01 [default: none]")
            .of_scenario("0", |to, text| put(&mut to.detours, any_share(text))),
    scenario("fail_validations", "SHARE", Number, CHAINS,
        "Share of new orders of which one validation fails on purpose: the CA must declare it invalid with the right \
         problem, else it is a failure [default: none]"),
    scenario("validation_faults", "FAULT=W,…", List, CHAINS,
        "What the challenge server does in validations that fail on purpose, with weights: wrong, nxdomain, servfail, \
         refused, reset, silence, slow; only faults that the challenge type can have are drawn [default: all]"),
    scenario("key_types", "TYPE=W,…", List, CHAINS,
        "Types of the certificates' keys, with weights: p256=8,p384=1,rsa2048=1; also rsa3072 and rsa4096. RSA \
         keys are made before the run and used in turn [default: p256]"),
    scenario("account_key_types", "TYPE=W,…", List, CHAINS,
        "Types of the accounts' keys, with weights: p256=3,rsa2048=1,p384; also rsa3072 and rsa4096. RSA keys are made before they are needed, a new one for each account [default: p256]"),
    scenario("profile", "NAME=W,…", List, CHAINS,
        "Certificate profiles of new orders, with weights: shortlived=1,classic=3; default is an order without a \
         profile. The CA's directory must offer them [default: default]"),
    scenario("abandon", "SHARE", Number, CHAINS,
        "Share of new orders that are left unfinished on purpose: 10% [default: none]")
            .of_scenario("0", |to, text| put(&mut to.abandon, any_share(text))),
    scenario("behaviours", "HOW=W,…", List, CHAINS,
        "How the clients of chains behave, with weights: proper=9,hasty-polls=1; also ignores-retry-after, \
         new-connections, slow-reader, abandons, downloads-again, hot-retries [default: proper]"),
    scenario("stop_before", "STEP", OneOf(recorded::StopBefore::KNOWN), CHAINS,
        "End chains before this step; the one possible value is finalize: the CA does everything except issuing [default: none]"),
    scenario("revoke_reasons", "REASON=W,…", List, CHAINS,
        "Reasons of revocations, with weights: none=4,0,1,4,5; none is a request without a reason, the numbers \
         are RFC 5280's [default: none,0,1,4,5]"),
    scenario("revoke_by_certificate_key", "SHARE", Number, CHAINS,
        "Share of the revocations that are signed with the certificate's key, the others with the account's; CAs may \
         refuse such a key from then on [default: 50%]"),
    scenario("revoke_by_other_account", "SHARE", Number, CHAINS,
        "Share of the revocations that another account makes, which first gets authorizations for all names \
         (RFC 8555 §7.6) [default: none]"),
    scenario("refusals", "KIND=W,…", List, CHAINS,
        "Requests of the chain refusals that the CA must refuse, with weights: replayed-nonce, foreign-nonce, \
         bad-signature, wrong-url, foreign-key, unsupported-algorithm, malformed-csr, mismatched-csr, weak-key, \
         early-finalize, foreign-order, unknown-profile, oversized-body [default: all]"),
    scenario("steps", "STEP,…", List, CHAINS,
        "The steps of the chain composed: order, authorize, wait 5s, finalize, download x3, revoke reason=4; also account \
         and deactivate [default: none]"),
    plan("issuer_root", "FILE", Text, CHAINS,
        "PEM file with CA certificates that issued certificates must chain to; also verifies those that are sent \
         without their issuer [default: the end of a chain is not checked]").local(),
    plan("limit_registrations", "N", Whole, CHAINS,
        "Make at most this many registrations in total, earlier runs with the same state included [default: none]"),
    plan("limit_authorizations", "N", Whole, CHAINS,
        "Make at most this many ready orders in total, earlier runs with the same state included [default: none]"),
    plan("limit_certificates", "N", Whole, CHAINS,
        "Make at most this many certificates in total, earlier runs with the same state included [default: none]"),
    plan("state", "URL", Text, CHAINS,
        "State store: sqlite://FILE or postgres://USER@HOST/DB [default: sqlite://wec-state.sqlite]").usual().local(),

    plan("challenge_types", "TYPE=W,…", List, CHALLENGES,
        "Challenge types to use, with weights: http-01=3,dns-01=1. dns-account-01 and dns-persist-01, which are drafts, are used only if they are named [default: those with a listener; if --challenges is not memory, all that an RFC defines]").usual(),
    plan("challenges", "WHERE", Text, CHALLENGES,
        "Where challenge data goes: memory (the challenge server of this process), redis://HOST, or the \
         management API of a challtestsrv, challtestsrv+http://HOST:8055 [default: memory]").usual().local(),
    plan("dns_challenges", "WHERE", Text, CHALLENGES,
        "Where dns-01 records are stored if the CA's resolver does not use this process: challtestsrv+http://HOST:8055 [default: as \
         --challenges]").local(),
    plan("http01_listen", "ADDR", Text, CHALLENGES,
        "Address at which this process answers http-01; off for none [default: 127.0.0.1:5002 with --challenges memory, \
         when no listener is given]").usual().local(),
    plan("tlsalpn01_listen", "ADDR", Text, CHALLENGES,
        "Address at which this process answers tls-alpn-01; off for none [default: 127.0.0.1:5001 with --challenges memory, \
         when no listener is given]").local(),
    plan("dns_listen", "ADDR", Text, CHALLENGES,
        "Address at which this process answers DNS over UDP and TCP; off for none [default: off]").local(),
    plan("caa", "RULES", Text, CHALLENGES,
        "CAA records that this process's DNS answers for all names: \"issue ca.test; validationmethods=dns-01\". A rule may have a share or a domain before it; | separates rules: \"10% issue ; | deny.test issuewild ;\" [default: none]"),
    plan("challenge_linger", "TIME", Text, CHALLENGES,
        "How long challenge data stays after its authorization is final, for late validations; 0s for \
         none [default: 10s]")
            .of_plan("10s", |to, text| put(&mut to.challenge_linger, any_duration(text))),

    plan("thresholds", "EXPR", Thresholds, VERDICT,
        "A condition for the run to pass; if it fails, the exit code is 99: \"chain.certificate{p(99)} < 2s\"; may be \
         repeated").usual(),
    plan("strict", "BOOL", Bool, VERDICT,
        "End with exit code 108 when the run was generator-limited: its figures are not the CA's alone")
            .of_plan("false", |to, text| put(&mut to.strict, boolean(text))),

    scenario("connections", "MODEL", OneOf(recorded::Connections::KNOWN), CONNECTIONS,
        "How connections are shared: shared, per-worker, or per-chain (each chain opens its own, as a client that is new to the CA) [default: shared]"),
    plan("http", "VERSION", Number, CONNECTIONS,
        "The HTTP version for the CA: 1.1 or 2 [default: 1.1]").of_ca(),
    plan("max_connections", "N", Whole, CONNECTIONS,
        "Largest number of shared connections to the CA, for each of this process's runtimes; further requests \
         wait, which is part of their response time [default: 256]")
            .of_plan("256", |to, text| put(&mut to.max_connections, whole(text, 1..=100_000_usize))),
    plan("spread_addresses", "BOOL", Bool, CONNECTIONS,
        "Connect to all addresses of a name in turn, instead of the one that worked last"),
    plan("connect_to", "HOST:PORT:ADDR:PORT", Repeated, CONNECTIONS,
        "Connect to ADDR:PORT instead of HOST:PORT, as curl does: ca.test:443:127.0.0.1:14000. An empty part \
         means any, or unchanged; IPv6 addresses in brackets; may be repeated").of_ca(),
    plan("source_address", "ADDR", Repeated, CONNECTIONS,
        "Local address of connections to the CA; may be repeated, then used in turn. Each has its own \
         local ports").of_ca().local(),
    plan("request_timeout", "TIME", Text, CONNECTIONS,
        "Time limit of one request [default: 30s]").of_ca()
            .of_plan("30s", |to, text| put(&mut to.request_timeout, duration(text))),
    plan("poll_timeout", "TIME", Text, CONNECTIONS,
        "Time limit for an authorization or order to reach its final state [default: 60s]"),
    plan("poll_interval", "TIME", Text, CONNECTIONS,
        "The wait before the first poll of an authorization or order; each further wait is 1.5 times as long, up \
         to 2s. A longer Retry-After of the CA overrides it [default: 50ms]"),
    plan("max_retries", "N", Whole, CONNECTIONS,
        "How often one request is sent again after 429 or 503 with Retry-After; 0 for never [default: 3]"),
    plan("max_retry_after", "TIME", Text, CONNECTIONS,
        "The longest Retry-After that is respected. A request or a poll fails when the CA asks for more; workers, accounts, orders and certificates rest for this time at most [default: 60s]"),
    plan("traceparent", "BOOL", Bool, CONNECTIONS,
        "Send a W3C traceparent with each request: a trace for each chain, a span for each request; both are \
         in the log"),
    plan("request_id_header", "NAME", Text, CONNECTIONS,
        "The response header with the CA's own id of a request, which is logged for each failed request [default: \
         x-request-id]"),

    plan("threads", "N", Whole, GENERATOR,
        "Runtimes, each on its own thread [default: one for each processor]").local(),
    plan("limited_lag", "TIME", Text, GENERATOR,
        "The run is generator-limited when work is later than this (the 99th percentile of a second) for 5 \
         seconds in a row, and later than --limited-lag-share allows [default: 20ms]"),
    plan("limited_lag_share", "SHARE", Text, GENERATOR,
        "Lag counts only above this share of the median response time of requests [default: 25%]"),
    plan("limited_cpu", "SHARE", Text, GENERATOR,
        "The run is generator-limited when a worker thread runs, or waits for a processor, for this share of the \
         time, for 3 seconds in a row [default: 90%]"),
    plan("limited_backlog", "SHARE", Text, GENERATOR,
        "The run is generator-limited when the queue of results is this full for 3 seconds in a row [default: 50%]"),
    plan("limited_dropped", "SHARE", Text, GENERATOR,
        "The run is generator-limited when this share of the iterations that are due is dropped for 3 seconds in a row [default: 1%]"),
    plan("limited_connections", "SHARE", Text, GENERATOR,
        "The run is generator-limited when requests wait for a free connection for this share of their time, for 3 seconds in a row [default: 10%]"),
];

/// Flags of the process itself, one a line: they are no part of the plan, so a file does not have them. Their
/// commands declare them; the test in `wec` that compares this list with those declarations writes it.
pub const FLAGS_ONLY: &str = include_str!("flags_only.txt");

const fn command(
    name: &'static str,
    value: &'static str,
    kind: KeyKind,
    group: &'static str,
    help: &'static str,
) -> Key {
    Key { place: KeyPlace::Command, ..key(name, value, kind, group, help) }
}

const fn scenario(
    name: &'static str,
    value: &'static str,
    kind: KeyKind,
    group: &'static str,
    help: &'static str,
) -> Key {
    Key { place: KeyPlace::Scenario, ..key(name, value, kind, group, help) }
}

const fn search(
    name: &'static str,
    value: &'static str,
    kind: KeyKind,
    group: &'static str,
    help: &'static str,
) -> Key {
    Key { place: KeyPlace::Search, ..key(name, value, kind, group, help) }
}

impl Key {
    /// The key with that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// Keys allowed in a scenario's table.
pub(super) static OF_SCENARIOS: LazyLock<Vec<String>> = LazyLock::new(|| in_files(&[KeyPlace::Scenario]));
/// Keys allowed at the top level of a file, or in one of its tables that are not scenarios.
pub(super) static OF_FILES: LazyLock<Vec<String>> =
    LazyLock::new(|| in_files(&[KeyPlace::Plan, KeyPlace::Search, KeyPlace::Scenario]));

/// In the order of `places`, which is the order in messages.
fn in_files(places: &[KeyPlace]) -> Vec<String> {
    let of = |place: &KeyPlace| {
        let place = *place;
        KEYS.iter().filter(move |key| key.place == place).flat_map(Key::in_files)
    };
    places.iter().flat_map(of).collect()
}

/// The flag for a key of a file, for messages: `--run-time`.
pub(super) fn flag_of(name: &str) -> String {
    let long = Key::named(name).map_or_else(|| name.replace(['_', '.'], "-"), Key::long);
    format!("--{long}")
}

/// The environment variable of a key, by its name in a file or by its flag's, for messages: `WEC_RUN_TIME`.
pub(super) fn variable_of(name: &str) -> String {
    let key = KEYS.iter().find(|key| key.name == name || key.long() == name);
    key.map_or_else(|| name.to_owned(), Key::variable)
}
