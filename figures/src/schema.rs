//! Schemas of the JSON output where the types do not suffice, and the schema of the summary.
//!
//! The schemas come from the types ([`utoipa::ToSchema`]). This module adds that maps by chain or by cause
//! have the keys of the tables in `wec-record`, and that keys which are always written are required.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, OpenApi as Document, Ref, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema as _, ToSchema};
use wec_record::{Chain, KINDS, LimitCause, Record};

/// Version of the JSON output. It grows when a key changes its meaning or is removed.
pub const SNAPSHOT_VERSION: u32 = 1;

/// Keys that are omitted when they have no value.
const LEFT_OUT: [(&str, &str); 8] = [
    ("Stamp", "calibration"),
    ("ErrorBody", "mistakes"),
    ("Mark", "who"),
    ("SessionView", "runs"),
    ("NewSession", "agents"),
    ("Selection", "names"),
    ("Selection", "group"),
    ("Selection", "labels"),
];
/// Name suffix of the bodies of requests: all their keys are optional.
const PATCH: &str = "Patch";

/// An object with a `T` for each chain.
pub(crate) fn every_chain<T: ToSchema>() -> Schema {
    object_of::<T>(Chain::ALL.map(Chain::name), true).into()
}

/// An object of objects, each with a `T` for some chains.
pub(crate) fn chains_by_name<T: ToSchema>() -> Schema {
    let of_chains = object_of::<T>(Chain::ALL.map(Chain::name), false).build();
    let of_chains = AdditionalProperties::RefOr(RefOr::T(Schema::Object(of_chains)));
    ObjectBuilder::new().additional_properties(Some(of_chains)).into()
}

/// An object with a `T` for each cause of a limit.
pub(crate) fn every_cause<T: ToSchema>() -> Schema {
    object_of::<T>(LimitCause::ALL.map(LimitCause::name), true).into()
}

/// The ends of an interval.
pub(crate) fn interval() -> Schema {
    let end = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0));
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(end)
        .min_items(Some(2))
        .max_items(Some(2))
        .description(Some("95 % interval of the percentile."))
        .into()
}

/// The version that this program writes.
pub(crate) fn version() -> Schema {
    let only = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
    only.enum_values(Some([SNAPSHOT_VERSION])).into()
}

fn object_of<T: ToSchema>(names: impl IntoIterator<Item = &'static str>, required: bool) -> ObjectBuilder {
    names.into_iter().fold(ObjectBuilder::new(), |object, name| {
        let object = object.property(name, Ref::from_schema_name(T::name()));
        if required { object.required(name) } else { object }
    })
}

/// Makes every key that is always written required. The types alone mark fewer, because keys that older
/// writers did not have are optional when read.
pub fn require_what_is_written(document: &mut Document) {
    let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
    for (name, schema) in schemas.filter(|(name, _)| !name.ends_with(PATCH)) {
        let parts = match schema {
            RefOr::T(Schema::AllOf(all)) => all.items.as_mut_slice(),
            schema => std::slice::from_mut(schema),
        };
        for part in parts {
            if let RefOr::T(Schema::Object(object)) = part {
                let written = object.properties.keys().cloned();
                object.required = written.filter(|key| !LEFT_OUT.contains(&(name, key))).collect();
            }
        }
    }
}

/// The JSON Schema of the summary: the API's schema of a snapshot with all schemas that it refers to.
pub fn summary_schema(document: &Document) -> String {
    let document = serde_json::to_value(document).expect("the document has string keys and finite numbers");
    let schemas = &document["components"]["schemas"];
    let mut named = BTreeSet::new();
    let mut new = references(&schemas["Snapshot"]);
    while let Some(name) = new.pop_first() {
        new.extend(references(&schemas[&name]).difference(&named).cloned().collect::<Vec<_>>());
        named.insert(name);
    }
    let definitions: BTreeMap<_, _> = named.iter().map(|name| (name, &schemas[name])).collect();
    let mut schema = schemas["Snapshot"].clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Summary of a wec run");
    schema["description"] = json!(
        "What --json writes and what `snapshot` of the web API holds. Durations are nanoseconds, their keys end in _ns; a \
         figure that cannot be given is null. New keys may be added without a new version."
    );
    schema["$defs"] = json!(definitions);
    written(&schema)
}

/// The JSON Schema of one line of a log. What older versions did not write is not required.
pub fn log_schema() -> String {
    let mut named = Vec::new();
    Record::schemas(&mut named);
    let definitions: BTreeMap<_, _> = named.into_iter().collect();
    let known = Record::schema();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Line of a wec log",
        "description": "One record of a JSON Lines log; its key `record` is the kind. Durations and times are nanoseconds. \
            Readers skip kinds and keys that they do not know.",
        "anyOf": [known, {
            "type": "object",
            "description": "A record of a kind that this version does not know. A record of a known kind may also have a value of a \
                later version, which this schema refuses and readers keep unchanged.",
            "properties": {
                "record": { "type": "string", "not": { "enum": KINDS } },
                "node": { "type": "string" },
                "seq": { "type": "integer", "minimum": 0 },
            },
            "required": ["record"],
        }],
        "$defs": definitions,
    });
    written(&schema)
}

fn written(schema: &Value) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a value");
    text.push('\n');
    text.replace(COMPONENTS, "#/$defs/")
}

const COMPONENTS: &str = "#/components/schemas/";

/// The names of the schemas that a schema refers to.
fn references(schema: &Value) -> BTreeSet<String> {
    match schema {
        Value::Object(keys) => keys
            .iter()
            .flat_map(|(key, value)| match value.as_str().filter(|_| key == "$ref") {
                Some(target) => target.strip_prefix(COMPONENTS).map(str::to_owned).into_iter().collect(),
                None => references(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}
