//! The JSON Schema of configuration files, for editors that complete and check TOML.
//!
//! Made from the table of keys. It is as strict as possible without repeating the rules of values, which are
//! all checked when the file is read.

use serde_json::{Map, Value, json};
use wec_record::Chain;

use super::keys::{CAPACITY, KEYS, Key, Kind, Place};

/// The schema (draft 2020-12) of a plan's file.
pub fn plan_schema() -> Value {
    let mut top = properties(|key| matches!(key.place, Place::Plan | Place::Scenario));
    top.insert(
        CAPACITY.to_owned(),
        json!({
            "type": "object",
            "description": "How wec capacity searches for the highest rate that the CA sustains; a run ignores it",
            "properties": properties(|key| key.place == Place::Search),
            "additionalProperties": false
        }),
    );
    top.insert(
        "scenarios".to_owned(),
        json!({
            "type": "object",
            "description": "Loads of one run, by name; values that a scenario does not have come from the top level",
            "propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,40}$"},
            "additionalProperties": {
                "type": "object",
                "properties": properties(|key| key.place == Place::Scenario),
                "additionalProperties": false
            }
        }),
    );
    top.insert(
        super::named_chains::KEY.to_owned(),
        json!({
            "type": "array",
            "description": "Chains of one's own with names: steps = \"NAME\" of a scenario stands for the steps of one",
            "items": {
                "type": "object",
                "required": ["name", "steps"],
                "properties": {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,40}$"},
                    "steps": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
                },
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

fn properties(which: impl Fn(&Key) -> bool) -> Map<String, Value> {
    let property = |key: &Key| {
        let name = key.name.rsplit('.').next().unwrap_or(key.name);
        let mut property = shape(key.kind);
        property["description"] = key.help.into();
        (name.to_owned(), property)
    };
    KEYS.iter().filter(|key| which(key)).map(property).collect()
}

fn shape(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Whole => json!({"type": "integer", "minimum": 0}),
        Kind::Number => json!({"type": ["string", "number"]}),
        Kind::Executor => json!({"enum": crate::executor::names().collect::<Vec<_>>()}),
        Kind::OneOf(values) => json!({"enum": values}),
        Kind::List | Kind::Repeated | Kind::Thresholds => {
            json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
        Kind::Weights => {
            let weights =
                Chain::ALL.map(|chain| (chain.to_string(), json!({"type": "number", "minimum": 0})));
            json!({"type": "object", "properties": Map::from_iter(weights), "additionalProperties": false})
        }
        Kind::Stages => json!({"anyOf": [
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_and_described() {
        let schema = plan_schema();
        let top = &schema["properties"];
        let scenario = &top["scenarios"]["additionalProperties"]["properties"];
        for key in KEYS.iter() {
            let name = key.name.rsplit('.').next().unwrap();
            let places = match key.place {
                Place::Command => &[][..],
                Place::Plan => &[top],
                Place::Scenario => &[top, scenario],
                Place::Search => &[&top[CAPACITY]["properties"]],
            };
            for properties in places {
                let described = properties[name]["description"].as_str();
                assert!(described.is_some_and(|text| text.len() > 9), "{} is not described", key.name);
            }
        }
        let weights = top["weights"]["properties"].as_object().unwrap();
        assert!(Chain::ALL.iter().all(|chain| weights.contains_key(chain.name())), "{weights:?}");
    }
}
