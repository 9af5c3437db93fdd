//! Reads plans in logs of other versions.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Plan, Scenario, Unknown};

/// Reads a plan of any version; a key that cannot be read has its default. None for a value that is not a
/// plan.
pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Plan>>, D::Error> {
    Ok(plan(Value::deserialize(deserializer)?).map(Box::new))
}

/// A URL as it is shown and recorded: without its query, also where an earlier version recorded one.
pub(crate) fn shown_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    Ok(wec_text::without_query(&url).into_owned())
}

fn plan(value: Value) -> Option<Plan> {
    let object = value.as_object()?;
    // The first logs had one load, at the top level.
    let scenarios = match object.get("scenarios") {
        Some(scenarios) => scenarios.as_array().cloned().unwrap_or_default(),
        None if object.contains_key("executor") || object.contains_key("run_time") => vec![value.clone()],
        None => Vec::new(),
    };
    let scenarios: Vec<Scenario> = scenarios.into_iter().map(scenario).collect();
    if let Ok(plan) = Plan::deserialize(&value) {
        return Some(Plan { scenarios, ..plan });
    }
    // Key by key, so that a value of another form does not affect the other keys.
    let mut known = serde_json::to_value(Plan::default()).ok()?;
    for (key, given) in object {
        let mut with = known.clone();
        with[key] = given.clone();
        if Plan::deserialize(&with).is_ok() {
            known = with;
        } else if let (true, Some(listed)) = (key == "thresholds", given.as_array()) {
            let readable =
                |text: &&Value| text.as_str().is_some_and(|text| text.parse::<crate::Threshold>().is_ok());
            known[key] = listed.iter().filter(readable).cloned().collect();
        }
    }
    Plan::deserialize(known).ok().map(|plan| Plan { scenarios, ..plan })
}

fn scenario(value: Value) -> Scenario {
    let read = known_of(value.clone());
    // Keys that are not written back are unknown.
    let written = serde_json::to_value(&read).unwrap_or_default();
    let mut unknown = match value {
        Value::Object(object) => object,
        _ => Unknown::default(),
    };
    unknown.retain(|key, _| written.get(key).is_none());
    Scenario { unknown, ..read }
}

fn known_of(value: Value) -> Scenario {
    let mut value = value;
    if value.get("executor").is_none() && value.get("workers").is_some() {
        value["executor"] = "workers".into();
    }
    if let Ok(scenario) = Scenario::deserialize(&value) {
        return scenario;
    }
    let Ok(mut known) = serde_json::to_value(Scenario::default()) else { return Scenario::default() };
    let Some(object) = value.as_object() else { return Scenario::default() };
    // An executor is read completely, or not at all.
    let load = super::Load::deserialize(&value);
    for (key, given) in object {
        let mut with = known.clone();
        with[key] = given.clone();
        if Scenario::deserialize(&with).is_ok() {
            known = with;
        }
    }
    let scenario = Scenario::deserialize(known).unwrap_or_default();
    Scenario { load: load.unwrap_or_default(), ..scenario }
}
