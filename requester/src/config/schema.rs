//! The JSON Schemas of configuration files, for editors that complete and check TOML, and of the plan of a session,
//! for programs that use the web API.
//!
//! Made from the table of keys. They are as strict as possible without repeating the rules of values, which are
//! all checked when the file or the plan is read.

use serde_json::{Map, Value, json};
use wec_record::Chain;

use super::keys::{CAPACITY, KEYS};
use crate::settings::{Key, KeyKind, KeyPlace};

/// The schema (draft 2020-12) of a plan's file.
pub fn plan_schema() -> Value {
    let mut top = properties(|key| matches!(key.place, KeyPlace::Plan | KeyPlace::Scenario));
    top.insert(
        CAPACITY.to_owned(),
        json!({
            "type": "object",
            "description": "How wec capacity searches for the highest rate that the CA sustains; a run ignores it",
            "properties": properties(|key| key.place == KeyPlace::Search),
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
                "properties": properties(|key| key.place == KeyPlace::Scenario),
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

/// The schemas of the plan of a session, by name, for the web API: the keys of a file without those that are
/// [local](Key::local) to agents. A plan is nested as the file is, or it has keys with dots and values as text. In
/// the form of a change, `null` removes a key.
pub fn session_schemas() -> [(&'static str, Value); 4] {
    [
        ("ScenarioFile", nested(false)),
        ("ScenarioFilePatch", nested(true)),
        ("ScenarioKeys", flat(false)),
        ("ScenarioKeysPatch", flat(true)),
    ]
}

/// As in a scenario file. Every value may also be the text that its flag takes.
fn nested(is_change: bool) -> Value {
    let or_text = |properties: Map<String, Value>| {
        let also = |value: Value| with_types(value, is_change);
        properties.into_iter().map(|(name, value)| (name, also(value))).collect::<Map<_, _>>()
    };
    let of = |key: &Key| !key.local && key.place == KeyPlace::Scenario;
    let scenario = json!({
        "type": if is_change { json!(["object", "null"]) } else { json!("object") },
        "properties": or_text(properties(of)),
        "additionalProperties": false
    });
    let mut top = or_text(properties(|key| of(key) || (!key.local && key.place == KeyPlace::Plan)));
    top.insert(
        "scenarios".to_owned(),
        json!({
            "type": if is_change { json!(["object", "null"]) } else { json!("object") },
            "description": "Loads of one run, by name; values that a scenario does not have come from the top level",
            "additionalProperties": scenario
        }),
    );
    let about = if is_change {
        "Keys of a scenario file to set; null removes one"
    } else {
        "The keys of a scenario file"
    };
    json!({"type": "object", "description": about, "properties": top, "additionalProperties": false})
}

/// Keys with dots, `weights.revoke` and `scenarios.NAME.rate`, and values as text.
fn flat(is_change: bool) -> Value {
    let names = |place| {
        let keys = KEYS.iter().filter(|key| !key.local && key.place == place);
        let names = keys.flat_map(Key::in_files).map(|name| name.replace('.', "\\."));
        names.collect::<Vec<_>>().join("|")
    };
    let (plan, scenario) = (names(KeyPlace::Plan), names(KeyPlace::Scenario));
    let name = r"scenarios\.[A-Za-z0-9_-]{1,40}";
    let pattern = match is_change {
        false => format!(r"^({plan}|({name}\.)?({scenario}))$"),
        // A table can be removed as a whole.
        true => format!(r"^({plan}|({name}\.)?({scenario}|weights)|scenarios|{name})$"),
    };
    json!({
        "type": "object",
        "description": "The keys of a scenario file, with dots, and values as text: weights.revoke, scenarios.NAME.rate",
        "propertyNames": {"type": "string", "pattern": pattern},
        "additionalProperties": {"type": if is_change { json!(["string", "null"]) } else { json!("string") }}
    })
}

/// The same schema for a value that may also be text, and null in a change.
fn with_types(mut schema: Value, is_change: bool) -> Value {
    if let Some(forms) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        // A list or stages, which have a form as text.
        forms.extend(is_change.then(|| json!({"type": "null"})));
        return schema;
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.extend(is_change.then_some(Value::Null));
        return schema;
    }
    if let Some(weights) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for weight in weights.values_mut() {
            *weight = with_types(weight.take(), is_change);
        }
        schema["type"] = if is_change { json!(["object", "null"]) } else { json!("object") };
        return schema;
    }
    let mut types = match schema["type"].take() {
        Value::Array(types) => types,
        one => vec![one],
    };
    for more in ["string"].into_iter().chain(is_change.then_some("null")) {
        if !types.iter().any(|known| known == more) {
            types.push(more.into());
        }
    }
    schema["type"] = if types.len() == 1 { types.remove(0) } else { types.into() };
    schema
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

fn shape(kind: KeyKind) -> Value {
    match kind {
        KeyKind::Text => json!({"type": "string"}),
        KeyKind::Bool => json!({"type": "boolean"}),
        KeyKind::Whole => json!({"type": "integer", "minimum": 0}),
        KeyKind::Number => json!({"type": ["string", "number"]}),
        KeyKind::Executor => json!({"enum": crate::executor::names().collect::<Vec<_>>()}),
        KeyKind::OneOf(values) => json!({"enum": values}),
        KeyKind::List | KeyKind::Repeated | KeyKind::Thresholds => {
            json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
        }
        KeyKind::Weights => {
            let weights =
                Chain::ALL.map(|chain| (chain.to_string(), json!({"type": "number", "minimum": 0})));
            json!({"type": "object", "properties": Map::from_iter(weights), "additionalProperties": false})
        }
        KeyKind::Stages => json!({"anyOf": [
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
    fn a_session_has_every_key_that_is_not_local_to_agents() {
        let [(_, file), (_, change), (_, keys), _] = session_schemas();
        for key in KEYS.iter() {
            let is_there = matches!(key.place, KeyPlace::Plan | KeyPlace::Scenario) && !key.local;
            for schema in [&file, &change] {
                assert_eq!(!schema["properties"][key.name].is_null(), is_there, "{}", key.name);
            }
            let of_scenario =
                &file["properties"]["scenarios"]["additionalProperties"]["properties"][key.name];
            assert_eq!(!of_scenario.is_null(), is_there && key.place == KeyPlace::Scenario, "{}", key.name);
        }
        assert_eq!(file["properties"]["workers"]["type"], json!(["integer", "string"]));
        assert_eq!(change["properties"]["workers"]["type"], json!(["integer", "string", "null"]));
        assert_eq!(
            change["properties"]["weights"]["properties"]["revoke"]["type"],
            json!(["number", "string", "null"])
        );
        let pattern = keys["propertyNames"]["pattern"].as_str().unwrap();
        assert!(pattern.contains("|seed|") && pattern.contains(r"weights\.revoke"), "{pattern}");
    }

    #[test]
    fn every_key_is_there_and_described() {
        let schema = plan_schema();
        let top = &schema["properties"];
        let scenario = &top["scenarios"]["additionalProperties"]["properties"];
        for key in KEYS.iter() {
            let name = key.name.rsplit('.').next().unwrap();
            let places = match key.place {
                KeyPlace::Command => &[][..],
                KeyPlace::Plan => &[top],
                KeyPlace::Scenario => &[top, scenario],
                KeyPlace::Search => &[&top[CAPACITY]["properties"]],
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
