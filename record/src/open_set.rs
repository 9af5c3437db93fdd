//! Texts with a set of known values that later versions extend.
//!
//! A value that this version does not know is kept as text, so that data of a later version is read and written
//! without loss. In the API the known values have a schema of their own, so that a program can be checked to
//! handle all of them.

use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

/// An enum with these values, and `Other` for every other text. The schema has the name that follows the enum's, that
/// of the known values the same after `Known`.
macro_rules! open_set {
    (
        $(#[doc = $doc:literal])+
        $name:ident, $schema:literal { $($(#[doc = $value_doc:literal])+ $value:ident = $text:literal,)+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
        pub enum $name {
            $($(#[doc = $value_doc])+ #[strum(serialize = $text)] $value,)+
            /// A value that this version does not know; empty if there is none.
            #[strum(default)]
            Other(String),
        }

        impl $name {
            /// The values that this version knows.
            pub const KNOWN: &[&str] = &[$($text),+];
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $schema.into()
            }

            fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
                let about = concat!($("- `", $text, "`:", $($value_doc),+, "\n"),+).trim_end();
                schemas.push($crate::open_set::known_values($schema, about, Self::KNOWN));
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::open_set::any_text($schema, concat!($($doc, "\n"),+).trim())
            }
        }
    };
}

pub(crate) use open_set;

/// Name and schema of the known values of a set.
pub(crate) fn known_values(set: &str, about: &str, known: &[&str]) -> (String, RefOr<Schema>) {
    let known = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(known.iter().copied()));
    (name_of_known(set), known.description(Some(about)).into())
}

/// One of the known values of a set, or one of a later version.
pub(crate) fn any_text(set: &str, about: &str) -> RefOr<Schema> {
    let later =
        ObjectBuilder::new().schema_type(Type::String).description(Some("A value of a later version."));
    let known = Ref::from_schema_name(name_of_known(set));
    AnyOfBuilder::new().description(Some(about)).item(known).item(later).into()
}

fn name_of_known(set: &str) -> String {
    format!("Known{set}")
}
