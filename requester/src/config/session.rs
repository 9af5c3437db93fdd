//! The keys of a scenario as a session on the board has them, and the plan that an agent makes of them.
//!
//! A session has the keys of a scenario file, with values as text. What an agent must consent to is never
//! among them: hosts that may be loaded, paths, listeners, stores and other destinations are [local](Key::local)
//! keys, which each agent has in its own configuration. Secrets are references, which each agent resolves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::flags::PlanOptions;
use super::plan::{Decided, plan};
use super::secrets::{SOME_KEY, Secrets};
use crate::plan::Plan;
use crate::settings::{Key, KeyPlace, Mistake, Mistakes, Origin, Settings};

/// The keys of a session, and the plan that they make wherever it runs.
#[derive(Clone, Debug)]
pub struct SessionKeys {
    /// By name, with values as in flags; keys of scenarios as `scenarios.NAME.KEY`.
    pub keys: BTreeMap<String, String>,
    /// The plan, without what is local to agents.
    pub plan: Box<wec_record::Plan>,
}

impl SessionKeys {
    /// Reads a scenario file; `path` is for messages.
    ///
    /// # Errors
    /// All errors, each with its line.
    pub fn of_file(path: &str, text: &str) -> Result<Self, Mistakes> {
        let mut settings = Settings::default();
        settings.text(path, text);
        Self::of(settings)
    }

    /// Reads keys as a session has them.
    ///
    /// # Errors
    /// All errors.
    pub fn of_keys(keys: &BTreeMap<String, String>) -> Result<Self, Mistakes> {
        let mut settings = Settings::default();
        settings.session(keys);
        Self::of(settings)
    }

    fn of(mut settings: Settings) -> Result<Self, Mistakes> {
        let keys = settings.texts();
        refuse_what_is_local(&mut settings);
        // Whatever answers validations, it is known to the agents.
        settings.give("challenges", "redis://agent", Origin::Session);
        let decided = Decided { secrets: Secrets::Elsewhere, ..Decided::default() };
        let plan = plan(&mut settings, decided, Some(SOME_KEY.to_owned()));
        settings.finish()?;
        Ok(Self { keys, plan: Box::new((&plan).into()) })
    }
}

/// The plan of a session for an agent with this configuration.
///
/// # Errors
/// All errors, and all keys that a session may not have.
pub fn plan_for_agent(
    keys: &BTreeMap<String, String>,
    local: &PlanOptions,
    secrets: Secrets,
) -> Result<Plan, Mistakes> {
    // What the agent has is given first, and so overrides the session.
    let mut settings = local.settings();
    let mut theirs = Settings::default();
    theirs.session(keys);
    refuse_what_is_local(&mut theirs);
    settings.session(keys);
    let hmac_key = secrets.variable(HMAC_KEY);
    let plan = plan(&mut settings, Decided { secrets, ..Decided::default() }, hmac_key);
    let mistakes = [theirs.finish(), settings.finish()].into_iter().filter_map(Result::err);
    let mut all: Vec<Mistake> = Vec::new();
    for mistake in mistakes.flat_map(|mistakes| mistakes.0) {
        if !all.contains(&mistake) {
            all.push(mistake);
        }
    }
    if all.is_empty() { Ok(plan) } else { Err(Mistakes(all)) }
}

/// Checks the files of an agent's configuration: one that cannot be read would fail every session.
///
/// # Errors
/// All errors in them.
pub fn check_files_of_agent(local: &PlanOptions) -> Result<(), Mistakes> {
    let some_session = [("directory", "https://127.0.0.1/directory"), ("workers", "1")];
    let keys = some_session.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let Err(Mistakes(mut mistakes)) = plan_for_agent(&keys, local, Secrets::Elsewhere) else { return Ok(()) };
    // What else is wrong may be right with the keys of another session.
    mistakes.retain(|mistake| FILES.contains(&mistake.key.as_str()));
    if mistakes.is_empty() { Ok(()) } else { Err(Mistakes(mistakes)) }
}

/// The keys of an agent's configuration whose values are files to read.
const FILES: [&str; 5] = ["cacert", "client_cert", "client_key", "eab_file", "issuer_root"];

/// The environment variable of the external account's HMAC key.
const HMAC_KEY: &str = "WEC_EAB_HMAC_KEY";

fn refuse_what_is_local(settings: &mut Settings) {
    let local: Vec<_> = super::keys::KEYS.iter().filter(|key| key.local).collect();
    for Key { name, .. } in &local {
        if settings.is_given(name) {
            let flag = super::keys::flag_of(name);
            let message = format!(
                "belongs to the configuration of each agent, and never to a session: wec agent {flag}"
            );
            settings.mistake(name, message);
        }
    }
    for key in super::keys::KEYS.iter().filter(|key| key.place == KeyPlace::Search) {
        if settings.is_given(key.name) {
            settings.mistake(key.name, "belongs to a search: a session has no search, use wec capacity");
        }
    }
}

/// A scenario file as JSON, with numbers, lists and tables, or with values as text; as the keys of a session.
///
/// # Errors
/// The keys whose values no file can have.
pub fn keys_of_json(file: &Value) -> Result<BTreeMap<String, String>, Vec<String>> {
    let (mut keys, mut mistakes) = (BTreeMap::new(), Vec::new());
    match file {
        Value::Object(_) => flatten("", file, &mut keys, &mut mistakes),
        other => mistakes.push(format!("{other} is not an object with the keys of a scenario file")),
    }
    if mistakes.is_empty() { Ok(keys) } else { Err(mistakes) }
}

fn flatten(name: &str, value: &Value, keys: &mut BTreeMap<String, String>, mistakes: &mut Vec<String>) {
    if let Value::Object(entries) = value {
        for (key, value) in entries {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            flatten(&name, value, keys, mistakes);
        }
        return;
    }
    match text_of(value) {
        Some(text) => drop(keys.insert(name.to_owned(), text)),
        None => mistakes.push(format!("{name}: {value} is not expected here")),
    }
}

/// As [`Settings`] has the same value of a TOML file.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            items.iter().map(text_of).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        // Only inside an array: a stage.
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| Some(format!("{key}={}", text_of(value)?));
            entries.iter().map(entry).collect::<Option<Vec<_>>>().map(|all| format!("{{{}}}", all.join(";")))
        }
        Value::Null => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn told(keys: &BTreeMap<String, String>) -> String {
        SessionKeys::of_keys(keys).map(|_| ()).unwrap_err().to_string()
    }

    const TARGET: (&str, &str) = ("directory", "http://127.0.0.1:1/dir");

    #[test]
    fn a_file_and_the_same_in_json_make_the_same_session() {
        let file = "directory = \"http://127.0.0.1:1/dir\"\nseed = 7\nchallenge_types = [\"dns-01\", \"http-01\"]\n\
                    [weights]\nrevoke = 0\n[scenarios.a]\nstages = [{ duration = \"30s\", workers = 5 }]\n";
        let json = json!({
            "directory": "http://127.0.0.1:1/dir",
            "seed": 7,
            "challenge_types": ["dns-01", "http-01"],
            "weights": {"revoke": 0},
            "scenarios": {"a": {"stages": [{"duration": "30s", "workers": 5}]}},
        });
        let file = SessionKeys::of_file("s.toml", file).unwrap();
        let json = SessionKeys::of_keys(&keys_of_json(&json).unwrap()).unwrap();
        assert_eq!((&file.keys, &file.plan), (&json.keys, &json.plan));
        assert_eq!(file.keys["scenarios.a.stages"], "{duration=30s;workers=5}");
        let agent = plan_for_agent(
            &file.keys,
            &PlanOptions::default().with("dns_listen", "127.0.0.1:0").with("http01_listen", "127.0.0.1:0"),
            Secrets::Here,
        )
        .unwrap();
        assert_eq!(wec_record::Plan::from(&agent).scenarios, file.plan.scenarios);
        assert_eq!(
            keys_of_json(&json!({"seed": null, "weights": {"revoke": null}})).unwrap_err(),
            ["seed: null is not expected here", "weights.revoke: null is not expected here"]
        );
    }

    #[test]
    fn what_an_agent_consents_to_is_refused_in_a_session() {
        for key in super::super::keys::KEYS.iter().filter(|key| key.local && key.place != KeyPlace::Command) {
            let refused = told(&keys(&[TARGET, (key.name, "/etc/passwd")]));
            let expected = format!("{}: belongs to the configuration of each agent", key.name);
            assert!(refused.contains(&expected), "{refused}");
            let agent =
                plan_for_agent(&keys(&[TARGET, (key.name, "1")]), &PlanOptions::default(), Secrets::Here);
            assert!(agent.unwrap_err().to_string().contains(&expected), "{}", key.name);
        }
        let local: Vec<_> =
            super::super::keys::KEYS.iter().filter(|key| key.local).map(|key| key.name).collect();
        assert_eq!(
            local,
            [
                "config",
                "cacert",
                "insecure",
                "client_cert",
                "client_key",
                "allow_host",
                "authorised_by",
                "eab_file",
                "issuer_root",
                "state",
                "challenges",
                "dns_challenges",
                "http01_listen",
                "tlsalpn01_listen",
                "dns_listen",
                "source_address",
                "threads"
            ]
        );
        let file = "directory = \"http://127.0.0.1:1/dir\"\nstate = \"sqlite://x\"\n";
        let refused = SessionKeys::of_file("s.toml", file).unwrap_err().to_string();
        assert!(refused.starts_with("s.toml:2: state: belongs to"), "{refused}");
        assert!(told(&keys(&[TARGET, ("capacity.from", "1/s")])).contains("use wec capacity"));
        let unknown = told(&keys(&[TARGET, ("worker", "1"), ("scenarios.a.seed", "1")]));
        assert!(unknown.contains("worker: unknown key; did you mean workers?"), "{unknown}");
        assert!(unknown.contains("scenarios.a.seed: belongs at the top level"), "{unknown}");
    }

    #[test]
    fn an_agent_has_its_own_configuration_beside_the_session() {
        let local = PlanOptions::default().with("allow_host", "ca.example").with("state", "sqlite://own");
        let plan = plan_for_agent(&keys(&[TARGET, ("workers", "7")]), &local, Secrets::Here).unwrap();
        assert_eq!((plan.state.as_str(), plan.workers()), ("sqlite://own", 7));
        assert_eq!(plan.permission.allowed_hosts, ["ca.example"]);
    }

    #[test]
    fn files_of_an_agent_are_checked_before_its_sessions() {
        let refused = |key: &str| {
            let local = PlanOptions::default().with(key, "no-such-file.pem");
            check_files_of_agent(&local).err().map(|mistakes| mistakes.to_string()).unwrap_or_default()
        };
        for key in ["cacert", "eab_file", "issuer_root"] {
            assert!(refused(key).contains("no-such-file.pem"), "{key}: {}", refused(key));
        }
        // Whether it is right depends on the session.
        assert_eq!(refused("http01_listen"), "");
        assert_eq!(check_files_of_agent(&PlanOptions::default()), Ok(()));
    }

    #[test]
    fn secrets_are_references_that_the_agent_allows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hmac");
        std::fs::write(&path, format!("{SOME_KEY}\n")).unwrap();
        let file = format!("file:{}", path.display());
        let eab = |reference: &str| keys(&[TARGET, ("eab_kid", "kid-1"), ("eab_key", reference)]);
        assert!(told(&eab("c2VjcmV0")).contains("never the secret itself"));
        assert!(!told(&eab("c2VjcmV0")).contains("c2VjcmV0"));
        assert!(SessionKeys::of_keys(&eab("env:NOT_HERE")).is_ok(), "it is resolved on the agent");
        let agent = |reference: &str, allowed: &[&str]| {
            let references = allowed.iter().map(|text| text.parse().unwrap()).collect();
            let variables = [("BESIDE".to_owned(), SOME_KEY.to_owned())].into();
            let secrets = Secrets::Allowed { references, variables };
            plan_for_agent(&eab(reference), &PlanOptions::default(), secrets)
        };
        assert_eq!(agent(&file, &[&file]).unwrap().eab[0].hmac_key, [0; 32]);
        assert_eq!(agent("env:BESIDE", &["env:BESIDE"]).unwrap().eab[0].hmac_key, [0; 32]);
        let refused = agent("env:HOME", &[]).unwrap_err().to_string();
        assert!(refused.contains("env:HOME is not a secret that this agent allows"), "{refused}");
        let missing = agent("env:WEC_NOT_SET", &["env:WEC_NOT_SET"]).unwrap_err().to_string();
        assert!(missing.contains("WEC_NOT_SET is not set"), "{missing}");
    }
}
