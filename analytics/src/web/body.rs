//! The body of a request: read as JSON, and as a type. An error says what to send.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::MAX_BODY;
use super::error::ApiError;

/// The body as JSON.
pub(super) fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Value, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge(MAX_BODY),
        _ => ApiError::BadRequest(format!("cannot read the body: {rejection}")),
    })?;
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(ApiError::NotJson);
    }
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::BadRequest(format!("the body is not JSON: {error}")))
}

/// The body as this type.
pub(super) fn parsed<T: DeserializeOwned + ToSchema>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, ApiError> {
    typed(read(headers, body)?)
}

/// JSON as this type.
pub(super) fn typed<T: DeserializeOwned + ToSchema>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|error| {
        ApiError::BadRequest(format!("the body is wrong: {error}; send {}", form(&T::schema())))
    })
}

/// The keys of an object with their types, from its schema: `an object with id (string), plan (object, may be left out)`.
fn form(schema: &RefOr<Schema>) -> String {
    let RefOr::T(Schema::Object(object)) = schema else { return "an object".to_owned() };
    let keys = object.properties.iter().map(|(key, value)| {
        let optional = if object.required.contains(key) { "" } else { ", may be left out" };
        format!("{key} ({}{optional})", type_of(value))
    });
    format!("an object with {}", keys.collect::<Vec<_>>().join(", "))
}

/// The type of a value in JSON. What refers to another schema is an object.
fn type_of(schema: &RefOr<Schema>) -> &'static str {
    let of = |schema_type: &SchemaType| match schema_type {
        SchemaType::Type(of) => Some(of.clone()),
        SchemaType::Array(several) => several.iter().find(|of| **of != Type::Null).cloned(),
        SchemaType::AnyValue => None,
    };
    let of = match schema {
        RefOr::T(Schema::Object(object)) => of(&object.schema_type),
        RefOr::T(Schema::Array(_)) => Some(Type::Array),
        _ => None,
    };
    match of {
        Some(Type::String) => "text",
        Some(Type::Integer) => "whole number",
        Some(Type::Number) => "number",
        Some(Type::Boolean) => "true or false",
        Some(Type::Array) => "list",
        _ => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Wanted {
        id: String,
        #[serde(default)]
        now: bool,
        count: Option<u64>,
        names: Vec<String>,
    }

    #[test]
    fn a_wrong_body_is_answered_with_the_form_that_is_wanted() {
        let wanted = "send an object with count (whole number, may be left out), id (text), names (list), now (true or false, may be \
                      left out)";
        let cases = [
            (json!({ "names": [] }), "missing field `id`"),
            (json!({ "id": 5, "names": [] }), "invalid type: integer `5`, expected a string"),
            (json!({ "ids": "a" }), "unknown field `ids`, expected one of `id`, `now`, `count`, `names`"),
            (json!(null), "invalid type: null, expected struct Wanted"),
        ];
        for (body, error) in cases {
            let refused = typed::<Wanted>(body).unwrap_err().to_string();
            assert_eq!(refused, format!("the body is wrong: {error}; {wanted}"));
        }
    }
}
