//! What a change of a run is in the keys of its plan, and the other way round.

use std::collections::BTreeMap;

use wec_board::{ChangeTo, DEFAULT_SCENARIO, LiveKind, LiveValue, SessionPlan};
use wec_record::Plan;
use wec_requester::SessionKeys;
use wec_requester::executor::{self, RateKey};

use super::PlanRefusal;
use crate::control;

/// A plan after these changes of its run, if it has any of them, and why it does not have the others.
pub(super) fn with_changes(
    before: &BTreeMap<String, String>,
    scenario: Option<&str>,
    changes: &[ChangeTo],
) -> (Option<SessionKeys>, Vec<String>) {
    let now = match SessionKeys::of_keys(before) {
        Ok(now) => now,
        Err(mistakes) => return (None, vec![mistakes.to_string()]),
    };
    let (mut now, mut changed, mut left) = (now, false, Vec::new());
    for change in changes {
        match SessionKeys::of_keys(&with_change(&now, scenario, change)) {
            Ok(after) => (now, changed) = (after, true),
            Err(mistakes) => left.push(mistakes.to_string()),
        }
    }
    (changed.then_some(now), left)
}

/// The keys of a session after this change of its run.
fn with_change(
    SessionKeys { keys, plan }: &SessionKeys,
    scenario: Option<&str>,
    change: &ChangeTo,
) -> BTreeMap<String, String> {
    let mut after = keys.clone();
    let mut named = keys.keys().filter_map(|key| key.strip_prefix("scenarios.")?.split('.').next());
    // The only scenario need not be named.
    let prefix = named.next().map(|first| format!("scenarios.{}.", scenario.unwrap_or(first)));
    let own = |key: &str| format!("{}{key}", prefix.as_deref().unwrap_or_default());
    match change {
        ChangeTo::Rate(rate) => {
            if let Some(key) = rate_key(plan, scenario) {
                let given = keys.get(&own(key.name)).or_else(|| keys.get(key.name));
                after.insert(own(key.name), key.text(*rate, given.map(String::as_str)));
            }
        }
        ChangeTo::Weights(weights) => {
            after.extend(
                weights.iter().map(|(chain, weight)| (own(&format!("weights.{chain}")), weight.to_string())),
            );
        }
        ChangeTo::Limit(limited, limit) => {
            let key = format!("limit_{}", limited.name());
            match limit {
                Some(limit) => after.insert(key, limit.to_string()),
                None => after.remove(&key),
            };
        }
        // An event is of the run in which it happens.
        ChangeTo::State(_) | ChangeTo::Event(_) => {}
        // Other numbers have a key of the same name.
        change => {
            if let Some(number) = change.number() {
                after.insert(own(change.live().key), number.to_string());
            }
        }
    }
    after
}

/// The key that has the rate of a scenario, if its executor has a rate. The only scenario need not be named.
fn rate_key(plan: &Plan, scenario: Option<&str>) -> Option<&'static RateKey> {
    let named = |name| plan.scenarios.iter().find(|scenario| scenario.name == name);
    executor::rate_key(scenario.map_or(plan.scenarios.first(), named)?.load.executor())
}

/// Refuses a change during a run, with what can be changed.
pub(super) fn not_live(plan: &SessionPlan, fixed: &[String]) -> PlanRefusal {
    let rate = plan.plan.as_deref().and_then(|plan| rate_key(plan, None));
    let rate = rate.map(|rate| format!(", {} in the same unit", rate.name)).unwrap_or_default();
    PlanRefusal::Conflict(format!(
        "cannot update session {:?}: it is running, and {} can be changed only when it has ended (wec session stop {}); \
         during a run these can be changed: workers{rate}, weights.CHAIN and limit_*, and directory, which begins another \
         run",
        plan.id,
        fixed.join(", "),
        plan.id
    ))
}

/// Changes of a run by scenario; those of the whole run have none.
pub(super) type LiveChanges = BTreeMap<Option<String>, Vec<ChangeTo>>;

/// The changes of a run that make its session have these keys.
///
/// # Errors
/// The keys that cannot be changed during a run.
pub(super) fn live_changes(
    before: &SessionPlan,
    keys: &BTreeMap<String, String>,
) -> Result<LiveChanges, Vec<String>> {
    let different = keys.iter().filter(|(key, value)| before.keys.get(*key) != Some(value));
    let mut fixed: Vec<_> = before.keys.keys().filter(|key| !keys.contains_key(*key)).cloned().collect();
    let several = keys.keys().any(|key| key.starts_with("scenarios."));
    // A session of another version may have no plan.
    let plan = before.plan.clone().or_else(|| Some(SessionKeys::of_keys(&before.keys).ok()?.plan));
    let mut changes = LiveChanges::new();
    for (key, value) in different {
        let (scenario, name) = match key.strip_prefix("scenarios.").and_then(|rest| rest.split_once('.')) {
            Some((scenario, name)) => (Some(scenario.to_owned()), name),
            None => ((!several).then(|| DEFAULT_SCENARIO.to_owned()), key.as_str()),
        };
        let rate = plan.as_ref().and_then(|plan| rate_key(plan, scenario.as_deref()));
        let change = live_change((name, rate), before.keys.get(key), value);
        let Some((of_scenario, change)) =
            change.filter(|(of_scenario, _)| !of_scenario || scenario.is_some())
        else {
            fixed.push(key.clone());
            continue;
        };
        let changes = changes.entry(scenario.filter(|_| of_scenario)).or_default();
        match (changes.last_mut(), change) {
            (Some(ChangeTo::Weights(weights)), ChangeTo::Weights(more)) => weights.extend(more),
            (_, change) => changes.push(change),
        }
    }
    if fixed.is_empty() { Ok(changes) } else { Err(fixed) }
}

/// The change of a live value that gives a plan's key this value, and whether it is one of a scenario; none if the key
/// is no live value, or is of another unit than before. `rate` is the key that has the scenario's rate.
fn live_change(
    (key, rate): (&str, Option<&RateKey>),
    before: Option<&String>,
    value: &str,
) -> Option<(bool, ChangeTo)> {
    if let Some(RateKey { read, .. }) = rate.filter(|rate| rate.name == key) {
        let rate = read(value).ok()?;
        if before.and_then(|before| read(before).ok()).is_some_and(|before| before.unit != rate.unit) {
            return None;
        }
        let change = ChangeTo::Rate(rate.per_second);
        return control::within_bounds(&change).then_some((true, change));
    }
    let (name, of) = match (key.split_once('.'), key.split_once('_')) {
        (Some((name, of)), _) => (name, Some(of)),
        (None, Some(("limit", of))) => ("limits", Some(of)),
        (None, _) => (key, None),
    };
    // The rate has the key of its executor.
    let rate = ChangeTo::Rate(0.0).live().key;
    let live = LiveValue::ALL.iter().find(|live| live.key == name && live.key != rate)?;
    let change = match (&live.kind, of) {
        (LiveKind::Whole { to, .. }, None) => to(value.parse().ok()?),
        (LiveKind::Number { to, .. }, None) => to(value.parse().ok()?),
        (LiveKind::Text { to, .. }, None) => to(value).ok()?,
        (LiveKind::Weights, Some(chain)) => {
            ChangeTo::Weights(BTreeMap::from([(chain.to_owned(), value.parse().ok()?)]))
        }
        (LiveKind::Limits, Some(limit)) => {
            ChangeTo::Limit(control::limited(limit).ok()?, Some(value.parse().ok()?))
        }
        _ => return None,
    };
    control::within_bounds(&change).then_some((live.of_scenario, change))
}

#[cfg(test)]
mod tests {
    use wec_board::{Limited, Target};

    use super::*;

    fn keys(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// The keys of a plan, with a directory.
    fn planned(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut keys = keys(of);
        keys.insert("directory".to_owned(), "http://127.0.0.1:1/dir".to_owned());
        keys
    }

    fn changed(keys: &BTreeMap<String, String>, scenario: Option<&str>, change: &ChangeTo) -> SessionKeys {
        let (made, left) = with_changes(keys, scenario, std::slice::from_ref(change));
        assert_eq!(left, [""; 0], "{change:?}");
        made.unwrap()
    }

    /// A change of a run is the same as one by `wec session update` with these keys.
    #[test]
    fn a_change_of_a_run_is_in_the_keys_of_its_plan() {
        let weights = |weight: f64| ChangeTo::Weights(BTreeMap::from([("revoke".to_owned(), weight)]));
        let one = planned(&[("rate", "50 requests/s"), ("workers", "5"), ("weights.revoke", "1")]);
        let several =
            planned(&[("workers", "5"), ("scenarios.a.rate", "10/s"), ("scenarios.b.workers", "7")]);
        let shared = planned(&[("target_rps", "20"), ("scenarios.a.workers", "7")]);
        let certificates = |most: Option<u64>| ChangeTo::Limit(Limited::Certificates, most);
        type Case<'a> = (&'a BTreeMap<String, String>, Option<&'a str>, ChangeTo, &'a [(&'a str, &'a str)]);
        let cases: [Case<'_>; 8] = [
            (&one, Some("default"), ChangeTo::Workers(8), &[("workers", "8")]),
            (&one, None, ChangeTo::Rate(62.5), &[("rate", "62.5 requests/s")]),
            (&one, Some("default"), weights(2.0), &[("weights.revoke", "2")]),
            (&one, None, certificates(Some(9)), &[("limit_certificates", "9")]),
            (&several, Some("a"), ChangeTo::Rate(20.0), &[("scenarios.a.rate", "20/s")]),
            (&several, Some("b"), ChangeTo::Workers(1), &[("scenarios.b.workers", "1")]),
            (&several, Some("b"), weights(0.0), &[("scenarios.b.weights.revoke", "0")]),
            (&shared, None, ChangeTo::Rate(33.0), &[("scenarios.a.target_rps", "33")]),
        ];
        for (before, scenario, change, different) in cases {
            let after = changed(before, scenario, &change).keys;
            let mut expected = before.clone();
            expected.extend(keys(different));
            assert_eq!(after, expected, "{change:?}");
            let plan = SessionPlan::new("s", "wec", before.clone());
            let live: Vec<_> = live_changes(&plan, &after).unwrap().into_values().flatten().collect();
            assert_eq!(live, [change]);
        }
        let limited = changed(&one, None, &certificates(Some(9))).keys;
        assert_eq!(changed(&limited, None, &certificates(None)).keys, one);
    }

    /// Each row of the table with each executor, so that a new one is a change of the run and of its plan, too.
    #[test]
    fn each_live_value_of_each_executor_is_changed_in_the_run_and_in_the_plan() {
        let loads = [
            ("executor", "workers"),
            ("rate", "50/s"),
            ("target_rps", "20"),
            ("iterations", "100"),
            ("fleet_certificates", "100"),
        ];
        let mut executors: Vec<_> = executor::names().collect();
        for load in loads {
            let before = planned(&[load, ("workers", "5")]);
            let planned = &SessionKeys::of_keys(&before).unwrap().plan.scenarios[0].load;
            executors.retain(|name| *name != planned.executor());
            let rate = planned.rate();
            let target = Target { workers: 5, rate, ..Target::default() };
            let of_scenario = LiveValue::all(true).filter_map(|live| live.sample(&target));
            let limits = Limited::ALL.map(|limited| ChangeTo::Limit(limited, Some(7)));
            for change in of_scenario.chain(limits) {
                if matches!(change, ChangeTo::Rate(_)) && rate.is_none() {
                    continue;
                }
                if planned.executor() == "fleet" && matches!(change, ChangeTo::Weights(_)) {
                    let (_, left) =
                        with_changes(&before, Some(DEFAULT_SCENARIO), std::slice::from_ref(&change));
                    assert!(left[0].contains("they run refresh, and nothing else"), "{left:?}");
                    continue;
                }
                let SessionKeys { keys: after, plan } = changed(&before, Some(DEFAULT_SCENARIO), &change);
                let changes = live_changes(&SessionPlan::new("s", "wec", before.clone()), &after).unwrap();
                let scenario = change.live().of_scenario.then(|| DEFAULT_SCENARIO.to_owned());
                // An event is of the run in which it happens, and no key of the plan.
                let expected = match &change {
                    ChangeTo::Event(_) => LiveChanges::new(),
                    change => LiveChanges::from([(scenario, vec![change.clone()])]),
                };
                assert_eq!(changes, expected, "{load:?}");
                let now = &plan.scenarios[0];
                let numbers = match &change {
                    ChangeTo::Workers(_) => Some(f64::from(now.load.workers())),
                    ChangeTo::Rate(_) => now.load.rate(),
                    _ => None,
                };
                assert_eq!(numbers, change.number(), "{load:?} {change:?}");
            }
        }
        assert_eq!(executors, [""; 0], "give a load with each executor");
    }

    #[test]
    fn a_plan_has_all_changes_that_it_can_have_and_tells_why_not_others() {
        let fleet = planned(&[("fleet_certificates", "100"), ("workers", "5")]);
        let (made, left) = with_changes(&fleet, None, &[ChangeTo::Rate(0.0), ChangeTo::Workers(8)]);
        let made = made.unwrap();
        assert_eq!((made.keys["workers"].as_str(), made.plan.scenarios[0].load.workers()), ("8", 8));
        assert!(!made.keys.contains_key("fleet_speed"));
        assert_eq!(left.len(), 1);
        assert!(left[0].contains("fleet_speed: \"0\" is not a speed from 0.001 to 86400"), "{left:?}");
        let (made, left) = with_changes(&keys(&[("worker", "5")]), None, &[ChangeTo::Workers(8)]);
        assert!(made.is_none() && left[0].contains("worker: unknown key"), "{left:?}");
    }

    #[test]
    fn what_cannot_be_changed_during_a_run_is_no_change_of_it() {
        let before = [("rate", "50/s"), ("workers", "5"), ("weights.revoke", "1")];
        let plan = SessionPlan::new("s", "wec", planned(&before));
        let other = [
            ("rate", "50 requests/s"),
            ("target_rps", "20"),
            ("workers", "1000000000"),
            ("weights.revoke", "-1"),
            ("weights.nothing", "1"),
            ("limit_nothing", "1"),
            ("run_time", "1h"),
            ("state", "stopped"),
        ];
        for (key, value) in other {
            let mut after = planned(&before);
            after.insert(key.to_owned(), value.to_owned());
            assert_eq!(live_changes(&plan, &after), Err(vec![key.to_owned()]), "{key}={value}");
        }
        let mut after = planned(&before);
        after.remove("workers");
        after.extend(keys(&[("seed", "4"), ("stages", "10s:40"), ("weights.revoke", "2")]));
        let fixed = live_changes(&plan, &after).unwrap_err();
        assert_eq!(fixed, ["workers", "seed", "stages"]);
        let planned = SessionKeys::of_keys(&planned(&before)).unwrap().plan;
        let refusal = not_live(&SessionPlan { plan: Some(planned), ..plan }, &fixed).to_string();
        for part in [
            "cannot update session \"s\": it is running, and workers, seed, stages can be changed only",
            "workers, rate in the same unit, weights.CHAIN",
        ] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
