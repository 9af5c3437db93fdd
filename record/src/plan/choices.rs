//! Settings of a plan that have a closed set of values.
//!
//! A value that this version does not know is kept as text, so that a plan of a later version is read and
//! written without loss. A plan that lacks the setting, as plans of earlier versions do, has an empty text.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// An enum with these values, and `Other` for every other text.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $name:ident, $schema:literal { $($(#[doc = $value_doc:literal])+ $value:ident = $text:literal,)+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
        pub enum $name {
            $($(#[doc = $value_doc])+ #[strum(serialize = $text)] $value,)+
            /// A value that this version does not know; empty if the plan has none.
            #[strum(default)]
            Other(String),
        }

        impl $name {
            /// The values that this version knows.
            pub const KNOWN: &[&str] = &[$($text),+];
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $schema.into()
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                open_set(concat!($($doc, "\n"),+).trim(), Self::KNOWN)
            }
        }
    };
}

choice! {
    /// The HTTP version for the CA.
    HttpVersion, "PlanHttpVersion" {
        /// HTTP/1.1.
        Http1 = "1.1",
        /// HTTP/2.
        Http2 = "2",
    }
}

choice! {
    /// How connections to the CA are shared.
    Connections, "PlanConnections" {
        /// All workers use the same connections.
        Shared = "shared",
        /// Each worker has its own.
        PerWorker = "per-worker",
        /// Each chain begins with a new connection.
        PerChain = "per-chain",
    }
}

choice! {
    /// The step before which chains end.
    StopBefore, "PlanStopBefore" {
        /// No order is finalized.
        Finalize = "finalize",
    }
}

choice! {
    /// What workers do after a failure of the CA or the network.
    OnFailure, "PlanOnFailure" {
        /// They wait longer after each failure.
        BackOff = "back-off",
        /// They continue at once.
        Hammer = "hammer",
    }
}

/// Text that is one of these values, or one of a later version.
fn open_set(description: &str, known: &[&str]) -> RefOr<Schema> {
    let known = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(known.iter().copied()));
    let later =
        ObjectBuilder::new().schema_type(Type::String).description(Some("A value of a later version."));
    AnyOfBuilder::new().description(Some(description)).item(known).item(later).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_written_as_it_was_read() {
        fn read<T: Serialize + for<'de> Deserialize<'de>>(text: &str) -> T {
            let read: T = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), text);
            read
        }
        assert_eq!(["1.1", "2"].map(read::<HttpVersion>), [HttpVersion::Http1, HttpVersion::Http2]);
        assert_eq!(
            ["shared", "per-worker", "per-chain"].map(read::<Connections>),
            [Connections::Shared, Connections::PerWorker, Connections::PerChain]
        );
        assert_eq!(read::<StopBefore>("finalize"), StopBefore::Finalize);
        assert_eq!(["back-off", "hammer"].map(read::<OnFailure>), [OnFailure::BackOff, OnFailure::Hammer]);
        for text in ["", "3", "Shared"] {
            assert_eq!(read::<HttpVersion>(text), HttpVersion::Other(text.to_owned()));
            assert_eq!(read::<Connections>(text), Connections::Other(text.to_owned()));
            assert_eq!(read::<StopBefore>(text), StopBefore::Other(text.to_owned()));
            assert_eq!(read::<OnFailure>(text), OnFailure::Other(text.to_owned()));
        }
    }
}
