//! Makes a plan from settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;
use wec_acme::{ExternalAccount, HttpVersion, Roots};
use wec_board::DEFAULT_SCENARIO;
use wec_chains::Mix;
use wec_record::plan::Limits;
use wec_record::threshold::{self, ThresholdMistakes};
use wec_record::{ChallengeType, Listener, Threshold};
use wec_store::ValidationFault;
use wec_store::challenge::CaaRules;

use super::flags::PlanOptions;
use super::scenario::{Push, scenario};
use super::secrets::Secrets;
use super::{client, contact, dialling, plain};
use crate::guard::Permission;
use crate::plan::{Challenges, Listen, Patience, Plan};
use crate::saturation::Bounds;
use crate::scenario::Scenario;
use crate::settings::values::{any_duration, boolean, duration, is_name, list, share, text, whole};
use crate::settings::{Mistakes, Scope, Settings};

/// Values that a command sets itself, whatever flags and files have.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// The CA's directory; if none, from the settings.
    pub directory: Option<Url>,
    /// What sets the load of scenarios.
    pub push: Push,
    /// Where challenges are answered; if none, from the settings.
    pub listen: Option<Listen>,
    /// Where the secrets are that the settings refer to.
    pub secrets: Secrets,
}

impl PlanOptions {
    /// Validates the given values, with `eab_hmac_key` from the environment.
    ///
    /// # Errors
    /// All errors.
    pub fn resolve(&self, eab_hmac_key: Option<String>) -> Result<Plan, Mistakes> {
        self.resolve_as(Decided::default(), eab_hmac_key)
    }

    /// As [`Self::resolve`], for a command that sets some of the values itself.
    ///
    /// # Errors
    /// All errors.
    pub fn resolve_as(&self, decided: Decided, eab_hmac_key: Option<String>) -> Result<Plan, Mistakes> {
        let mut settings = self.settings();
        let plan = plan(&mut settings, decided, eab_hmac_key);
        settings.finish().map(|()| plan)
    }
}

/// Reads the plan. Use it only if [`Settings::finish`] has no errors: missing and wrong values are replaced
/// by defaults.
pub fn plan(s: &mut Settings, decided: Decided, eab_hmac_key: Option<String>) -> Plan {
    let asked = s.take("directory", directory);
    let directory = decided.directory.or(asked);
    if directory.is_none() && !s.is_given("directory") {
        s.mistake(
            "directory",
            "missing: the URL of the CA's ACME directory, as in https://ca.test:14000/dir",
        );
    }
    let challenges = s.take("challenges", challenges).unwrap_or(Challenges::Memory);
    let dns_challenges = s.take("dns_challenges", challtestsrv);
    let asked = listen(s, &challenges);
    let listen = decided.listen.unwrap_or(asked);
    let caa = s.take("caa", CaaRules::from_str).unwrap_or_default();
    if !caa.is_empty() && listen.dns.is_none() {
        s.mistake(
            "caa",
            "nothing would answer CAA queries: give --dns-listen, or the rules to the challenge server",
        );
    }
    let challenge_types = challenge_types(s, &challenges, dns_challenges.is_some(), &listen);
    let scenarios = scenarios(s, &challenge_types, &decided.push);
    if matches!(challenges, Challenges::ChallTestSrv(_)) || dns_challenges.is_some() {
        served_by_another(s, &scenarios);
    }
    let eab_hmac_key = s.take("eab_key", |text| decided.secrets.resolve(&text.parse()?)).or(eab_hmac_key);
    let several = s.take("eab_file", external_accounts).unwrap_or_default();
    let eab = match (s.take("eab_kid", text), eab_hmac_key) {
        (Some(_), _) if !several.is_empty() => {
            s.mistake("eab_kid", "contradicts --eab-file: give one of them");
            None
        }
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
    let warm_up = s.take("warm_up", any_duration).unwrap_or_default();
    let plan = Plan {
        directory: directory
            .unwrap_or_else(|| Url::parse("http://localhost").expect("a constant URL parses")),
        cacert,
        insecure,
        client: client::identity(s),
        issuer_root: s.take("issuer_root", certificates),
        scenarios,
        warm_up,
        limits: Limits {
            registrations: s.take("limit_registrations", |text| whole(text, 0..=u64::MAX)),
            authorizations: s.take("limit_authorizations", |text| whole(text, 0..=u64::MAX)),
            certificates: s.take("limit_certificates", |text| whole(text, 0..=u64::MAX)),
        },
        http: s.take("http", HttpVersion::from_str).unwrap_or_default(),
        contact: s.take("contact", contact::contacts).unwrap_or_default(),
        eab: eab.map_or(several, |one| vec![one]),
        seed: s.take("seed", |text| whole(text, 0..=u64::MAX)).unwrap_or_else(rand::random),
        state: s.take("state", state).unwrap_or_else(|| "sqlite://wec-state.sqlite".into()),
        challenges,
        dns_challenges,
        listen,
        caa,
        dialling: dialling::dialling(s),
        patience: patience(s),
        threads: s
            .take("threads", |text| whole(text, 1..=1024))
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        bounds: bounds(s),
        permission: Permission {
            allowed_hosts: s.take("allow_host", list).unwrap_or_default(),
            authorised_by: s.take("authorised_by", text),
        },
        thresholds: thresholds(s),
        plain: plain::of_plan(s),
    };
    // This form also ends for scenarios that wait for each other.
    let run_time = wec_record::Plan::from(&plan).run_time().unwrap_or_default();
    if !warm_up.is_zero() && warm_up >= run_time {
        let message = format!(
            "{} is not shorter than the run, {}, so nothing would be measured",
            humantime::format_duration(warm_up),
            humantime::format_duration(run_time)
        );
        s.mistake("warm_up", message);
    }
    plan
}

fn patience(s: &mut Settings) -> Patience {
    let usual = Patience::default();
    Patience {
        poll_interval: s.take("poll_interval", duration).unwrap_or(usual.poll_interval),
        poll_timeout: s.take("poll_timeout", duration).unwrap_or(usual.poll_timeout),
        max_retries: s.take("max_retries", |text| whole(text, 0..=1000)).unwrap_or(usual.max_retries),
        max_retry_after: s.take("max_retry_after", any_duration).unwrap_or(usual.max_retry_after),
    }
}

fn bounds(s: &mut Settings) -> Bounds {
    let usual = Bounds::default();
    Bounds {
        lag: s.take("limited_lag", duration).unwrap_or(usual.lag),
        lag_share: s.take("limited_lag_share", share).unwrap_or(usual.lag_share),
        cpu: s.take("limited_cpu", share).unwrap_or(usual.cpu),
        backlog: s.take("limited_backlog", share).unwrap_or(usual.backlog),
        dropped: s.take("limited_dropped", share).unwrap_or(usual.dropped),
        connections: s.take("limited_connections", share).unwrap_or(usual.connections),
    }
}

/// The scenarios by name; without tables of scenarios, the top level is the only one.
fn scenarios(s: &mut Settings, challenge_types: &Mix<ChallengeType>, push: &Push) -> Vec<Scenario> {
    let names = s.scenarios();
    if names.is_empty() {
        return vec![scenario(&mut Scope::of(s, None), DEFAULT_SCENARIO, challenge_types, push)];
    }
    let scenarios: Vec<_> = names
        .iter()
        .map(|name| scenario(&mut Scope::of(s, Some(name)), name, challenge_types, push))
        .collect();
    for name in &names {
        if !is_name(name) {
            let message = "is not a scenario name: up to 40 letters, digits, hyphens and underscores";
            Scope::of(s, Some(name)).mistake_of_all(message);
        }
    }
    for one in &scenarios {
        let mut before = one;
        // Only in a cycle are there as many steps as scenarios.
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
                Scope::of(s, Some(&one.name)).mistake("after", "is part of a cycle: it would never start");
                break;
            }
            before = found;
        }
    }
    scenarios
}

/// A challtestsrv serves what it is given: it knows no detours, and no faults but wrong answers.
fn served_by_another(s: &mut Settings, scenarios: &[Scenario]) {
    if let Some(one) = scenarios.iter().find(|one| one.choices.plain.detours > 0.0) {
        let message = format!(
            "scenario {}: a challtestsrv cannot serve redirects and CNAMEs of challenges: only a challenge server of wec \
             can",
            one.name
        );
        s.mistake("detours", message);
    }
    for one in scenarios.iter().filter(|one| one.choices.fail_validations > 0.0) {
        let others = one.choices.validation_faults.items().filter(|fault| *fault != ValidationFault::Wrong);
        let others: Vec<_> = others.map(ValidationFault::name).collect();
        if !others.is_empty() {
            let message = format!(
                "scenario {}: a challtestsrv cannot serve the faults {}: give --validation-faults wrong, or a challenge \
                 server of wec",
                one.name,
                others.join(", ")
            );
            s.mistake("fail_validations", message);
        }
    }
}

/// All errors of all thresholds: they are read one by one.
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
    // Pebble's default validation ports, so that a run against it needs no flags. If any listener is given,
    // only the given ones are opened.
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
                    "needs --challenges memory: with any other store, external challenge servers answer",
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
    let is_answered = |kind: ChallengeType| match (challenges, kind.listener()) {
        (Challenges::Memory, Listener::Http) => listen.http01.is_some(),
        (Challenges::Memory, Listener::Dns) => listen.dns.is_some() || dns_elsewhere,
        (Challenges::Memory, Listener::Tls) => listen.tlsalpn01.is_some(),
        (Challenges::Redis(_) | Challenges::ChallTestSrv(_), _) => true,
    };
    let answered: Vec<ChallengeType> =
        ChallengeType::ALL.into_iter().filter(|kind| is_answered(*kind)).collect();
    let Some(wanted) = s.take("challenge_types", Mix::<ChallengeType>::from_str) else {
        if answered.is_empty() {
            s.mistake("http01_listen", "nothing would answer the CA's validations: give --http01-listen, --tlsalpn01-listen or --dns-listen, or --challenges redis://… for an external challenge server");
        }
        // Types of drafts must be named.
        return answered.into_iter().filter(|kind| !kind.is_draft()).collect::<Vec<_>>().into();
    };
    for kind in wanted.items() {
        if !answered.contains(&kind) {
            let listener = match kind.listener() {
                Listener::Http => "--http01-listen",
                Listener::Tls => "--tlsalpn01-listen",
                Listener::Dns => "--dns-listen",
            };
            s.mistake("challenge_types", format!("nothing would answer {kind}: give {listener} (if one listener is given, only the given ones are opened)"));
        }
    }
    wanted
}

fn directory(value: &str) -> Result<Url, String> {
    let url = Url::parse(value)
        .map_err(|error| format!("{value:?} is not a URL: {error}; as in https://ca.test:14000/dir"))?;
    match url.scheme() {
        // The URL is shown, stored and logged. The value is not repeated, because it contains a password.
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Err("contains a user or password: ACME uses neither, its accounts sign with their keys".into())
        }
        "http" | "https" if url.has_host() => Ok(url),
        scheme => {
            Err(format!("{value:?} has the scheme {scheme:?}: an ACME directory is an http or https URL"))
        }
    }
}

/// A file of certificates in PEM. TLS checks their use.
fn certificates(text: &str) -> Result<PathBuf, String> {
    let path = readable(text)?;
    match std::fs::read(&path) {
        Ok(pem) if pem.windows(17).any(|window| window == b"BEGIN CERTIFICATE") => {
            Roots::Pem(pem).check().map(|()| path).map_err(|why| format!("{text}: {why}"))
        }
        Ok(_) => Err(format!("{text} has no certificate in PEM: no `BEGIN CERTIFICATE`")),
        Err(error) => Err(format!("cannot read {text}: {error}")),
    }
}

/// The external accounts of a file; a line that begins with # is a comment. Errors do not contain keys.
fn external_accounts(path: &str) -> Result<Vec<ExternalAccount>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut accounts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (kid, key) = line.split_once(char::is_whitespace).ok_or_else(|| {
            format!("{path}:{number}: not a key identifier and an HMAC key with a blank between")
        })?;
        let account = ExternalAccount::new(kid, key);
        accounts.push(account.map_err(|failure| format!("{path}:{number}: {}", failure.message))?);
    }
    if accounts.is_empty() { Err(format!("{path} has no keys")) } else { Ok(accounts) }
}

fn readable(value: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    std::fs::File::open(&path).map_err(|error| format!("cannot read {value}: {error}"))?;
    Ok(path)
}

fn state(value: &str) -> Result<String, String> {
    match value.split_once(':') {
        Some(("sqlite" | "postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(value.into()),
        // The value may contain a password: only its scheme is repeated.
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
    if value.starts_with("redis://") || value.starts_with("rediss://") {
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
mod tests;
