//! Members that a server may leave out, or write as `null` (as Go does for an empty list).

use serde::{Deserialize, Deserializer};

/// For `#[serde(default, deserialize_with = "…")]`: `null` reads as the type's default.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
