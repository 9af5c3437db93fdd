//! Schemas of sessions where the types do not suffice.

use strum::VariantArray as _;
use utoipa::openapi::schema::{ObjectBuilder, RefBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use wec_board::{Limited, LiveKind, LiveValue, Phase};
use wec_record::Chain;
use wec_record::plan::MAX_WEIGHT;

/// The state of a scenario.
pub(crate) fn scenario_state() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(Phase::VARIANTS.iter().map(|phase| phase.name())))
        .description(Some(
            "`waiting` for another scenario to end, `running`, or `ended`: then no more iterations of it start.",
        ))
        .into()
}

/// A value that can be changed during a run.
pub(crate) fn live(value: &LiveValue) -> RefOr<Schema> {
    let number = |of, format| {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(of))
            .format(Some(SchemaFormat::KnownFormat(format)))
            .description(Some(value.about))
            .minimum(Some(0))
    };
    match &value.kind {
        LiveKind::Whole { most, .. } => number(Type::Integer, KnownFormat::Int32).maximum(Some(*most)).into(),
        LiveKind::Number { most, .. } => {
            number(Type::Number, KnownFormat::Double).maximum(Some(*most as u32)).into()
        }
        LiveKind::Text { .. } => ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .description(Some(value.about))
            .into(),
        LiveKind::Weights => weights().into(),
        LiveKind::Limits => named("LimitsPatch", value.about),
        LiveKind::State => named("SessionState", value.about),
    }
}

fn named(schema: &str, about: &str) -> RefOr<Schema> {
    RefBuilder::new().ref_location_from_schema_name(schema).description(Some(about)).build().into()
}

/// An object with some limits.
pub(crate) fn limits() -> Schema {
    let limit = |limited: Limited| {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some(limited.about()))
            .minimum(Some(0))
    };
    let object =
        ObjectBuilder::new().description(Some("Hard limits on the objects that the run may make at the CA."));
    Limited::ALL
        .into_iter()
        .fold(object, |object, limited| object.property(limited.name(), limit(limited)))
        .into()
}

/// An object with weights of some chains.
pub(crate) fn weights() -> Schema {
    let weight = || {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Number))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Double)))
            .minimum(Some(0))
            .maximum(Some(MAX_WEIGHT as u32))
    };
    let object = ObjectBuilder::new().description(Some(
        "How often each chain is chosen, relative to the others; a chain that is missing has its weight from the start of the run.",
    ));
    Chain::ALL.into_iter().fold(object, |object, chain| object.property(chain.name(), weight())).into()
}
