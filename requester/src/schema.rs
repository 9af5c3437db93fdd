//! The JSON Schema of configuration files, for editors that complete and check TOML.
//!
//! Made from what reads the files: the known keys, and the help of the flags that they share a meaning with. It is as
//! strict as it can be without repeating the rules of values; those are checked, all at once, when the file is read.

use clap::Args as _;
use serde_json::{Map, Value, json};

use crate::plan::{PLAN_KEYS, PlanOptions};
use crate::scenario::SCENARIO_KEYS;
use crate::search::{CAPACITY, SearchOptions};

/// What keys without a flag of their name mean.
const WITHOUT_FLAG: &[(&str, &str)] = &[
    ("rate_unit", "What rates count: chains or requests"),
    (
        "start_at",
        "When the scenario starts: so long after the run's start, or after the end of the one named by after",
    ),
    ("after", "The scenario whose end this one waits for"),
    ("thresholds", "What the run must hold to pass, each as in chain.certificate{p(99)} < 2s"),
    ("weights", "How often each chain is chosen among those allowed, relative to the others; 0 is never"),
    (CAPACITY, "How wec capacity searches for the highest rate that the CA sustains; a run leaves it alone"),
];

/// The schema (draft 2020-12) of a plan's file.
pub fn plan_schema() -> Value {
    let flags = SearchOptions::augment_args(PlanOptions::augment_args(clap::Command::new("plan")));
    let properties = |keys: &[&str]| {
        let mut properties = Map::new();
        for key in keys {
            match key.split_once('.') {
                None => {
                    properties.insert((*key).to_owned(), property(&flags, key));
                }
                Some((name, key)) => {
                    let table = properties.entry(name).or_insert_with(|| {
                        let description = described(&flags, name);
                        json!({"type": "object", "description": description, "properties": {}, "additionalProperties": false})
                    });
                    table["properties"][key] = match name {
                        CAPACITY => property(&flags, key),
                        _ => json!({"type": "number", "minimum": 0}),
                    };
                }
            }
        }
        properties
    };
    let mut top = properties(PLAN_KEYS);
    top.extend(properties(SCENARIO_KEYS));
    top.insert(
        "scenarios".to_owned(),
        json!({
            "type": "object",
            "description": "Loads of one run, by name; each takes from the top level what it does not say itself",
            "propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,40}$"},
            "additionalProperties": {
                "type": "object",
                "properties": properties(SCENARIO_KEYS),
                "additionalProperties": false
            }
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Plan of a wec run",
        "type": "object",
        "properties": top,
        "additionalProperties": false
    })
}

fn property(flags: &clap::Command, key: &str) -> Value {
    let mut property = shape(key);
    property["description"] = described(flags, key).into();
    property
}

/// What the flag of that name says, or what stands here.
fn described(flags: &clap::Command, key: &str) -> String {
    let here = WITHOUT_FLAG.iter().find(|(known, _)| *known == key).map(|(_, text)| (*text).to_owned());
    let flag = || flags.get_arguments().find(|flag| flag.get_id() == key);
    here.or_else(|| Some(flag()?.get_help()?.to_string())).unwrap_or_default()
}

fn shape(key: &str) -> Value {
    let text_or_list = json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
    match key {
        "insecure" | "strict" => json!({"type": "boolean"}),
        "workers"
        | "iterations"
        | "limit_registrations"
        | "limit_authorizations"
        | "limit_certificates"
        | "seed"
        | "threads"
        | "max_connections" => json!({"type": "integer", "minimum": 0}),
        "executor" => json!({"enum": ["workers", "arrival-rate", "target-rps", "iterations"]}),
        "rate_unit" => json!({"enum": ["chains", "requests"]}),
        "spacing" => json!({"enum": ["poisson", "even"]}),
        "rate" | "target_rps" | "names_per_order" | "http" | "abandon" | "from" | "to" => {
            json!({"type": ["string", "number"]})
        }
        "challenge_types" | "key_types" | "contact" | "allow_host" | "thresholds" => text_or_list,
        "stages" => json!({"anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {
                "type": "object",
                "required": ["duration"],
                "properties": {
                    "duration": {"type": "string"},
                    "workers": {"type": "integer", "minimum": 0},
                    "rate": {"type": ["string", "number"]},
                    "target_rps": {"type": ["string", "number"]},
                    "target": {"type": ["string", "number"]}
                },
                "additionalProperties": false
            }]}}
        ]}),
        "connections" => json!({"enum": ["shared", "per-worker", "per-chain"]}),
        "stop_before" => json!({"enum": ["finalize"]}),
        "directory" | "cacert" | "run_time" | "graceful_stop" | "start_at" | "after" | "think_time"
        | "base_domain" | "eab_kid" | "state" | "challenges" | "dns_challenges" | "http01_listen"
        | "tlsalpn01_listen" | "dns_listen" | "request_timeout" | "poll_timeout" | "limited_lag"
        | "limited_cpu" | "limited_backlog" | "limited_dropped" | "authorised_by" | "step" | "resolution"
        | "step_time" | "settle" | "recover" | "max_time" | "hold_at" | "hold" => {
            json!({"type": "string"})
        }
        _ => json!({"type": ["string", "number", "boolean"]}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_and_described() {
        let schema = plan_schema();
        let scenario = &schema["properties"]["scenarios"]["additionalProperties"]["properties"];
        for (keys, properties) in [
            (PLAN_KEYS, &schema["properties"]),
            (SCENARIO_KEYS, &schema["properties"]),
            (SCENARIO_KEYS, scenario),
        ] {
            for key in keys {
                let property = match key.split_once('.') {
                    Some((table, key)) => &properties[table]["properties"][key],
                    None => &properties[*key],
                };
                assert!(property.is_object(), "{key} is missing");
                assert!(
                    !key.starts_with("capacity.")
                        || property["description"].as_str().is_some_and(|text| text.len() > 9)
                );
                let described = properties[key.split('.').next().unwrap()]["description"].as_str();
                assert!(described.is_some_and(|text| !text.is_empty()), "{key} is not described");
            }
        }
    }
}
