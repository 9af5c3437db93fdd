//! The schemas of written plans in the API's description: [`wec_requester::session_schemas`] in the form of utoipa.

use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{OpenApi as Document, RefOr, Schema};

/// Adds the schemas to the components.
pub(super) struct WrittenPlans;

impl Modify for WrittenPlans {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        for (name, schema) in wec_requester::session_schemas() {
            components.schemas.insert(name.to_owned(), of_json(&schema).into());
        }
    }
}

/// A schema with the keywords that the table of keys uses; a test finds one that is missing here.
fn of_json(json: &Value) -> Schema {
    let text = |key: &str| json[key].as_str();
    if let Some(forms) = json["anyOf"].as_array() {
        let any = forms.iter().fold(AnyOfBuilder::new(), |any, form| any.item(of_json(form)));
        return any.description(text("description")).into();
    }
    if !json["items"].is_null() {
        return ArrayBuilder::new().items(RefOr::T(of_json(&json["items"]))).into();
    }
    let mut types: Vec<Type> = match &json["type"] {
        Value::Array(types) => types.iter().map(type_of).collect(),
        // The values of an enum have their types.
        Value::Null => Vec::new(),
        one => vec![type_of(one)],
    };
    let types = match types.len() {
        0 => SchemaType::AnyValue,
        1 => SchemaType::Type(types.remove(0)),
        _ => SchemaType::Array(types),
    };
    let mut object = ObjectBuilder::new()
        .schema_type(types)
        .description(text("description"))
        .pattern(text("pattern"))
        .minimum(json["minimum"].as_u64().map(|least| least as usize))
        .enum_values(json["enum"].as_array().cloned());
    for (name, property) in json["properties"].as_object().into_iter().flatten() {
        object = object.property(name, of_json(property));
    }
    for name in json["required"].as_array().into_iter().flatten() {
        object = object.required(name.as_str().unwrap_or_default());
    }
    if !json["propertyNames"].is_null() {
        object = object.property_names(Some(of_json(&json["propertyNames"])));
    }
    match &json["additionalProperties"] {
        Value::Null => object,
        Value::Bool(any) => object.additional_properties(Some(AdditionalProperties::FreeForm(*any))),
        others => object.additional_properties(Some(of_json(others))),
    }
    .into()
}

fn type_of(name: &Value) -> Type {
    match name.as_str() {
        Some("object") => Type::Object,
        Some("boolean") => Type::Boolean,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("array") => Type::Array,
        Some("null") => Type::Null,
        _ => Type::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keyword_of_the_schemas_is_lost() {
        for (name, schema) in wec_requester::session_schemas() {
            assert_eq!(serde_json::to_value(of_json(&schema)).unwrap(), schema, "{name}");
        }
    }
}
