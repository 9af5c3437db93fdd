//! Problem documents (RFC 7807, RFC 8555 §6.7), read leniently.

use std::fmt;

use serde::{Deserialize, Deserializer};
use wec_text::visible;

use wec_record::Identifier;

/// The prefix of ACME's problem types.
const URN: &str = "urn:ietf:params:acme:error:";

/// A problem document. Every member may be missing: Caddy omits `status`, others `detail`, some `type`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The whole type URI, `about:blank` when missing.
    #[serde(rename = "type", default = "about_blank", deserialize_with = "lenient_type")]
    pub kind: String,
    /// What went wrong, for people; empty when missing.
    #[serde(default, deserialize_with = "lenient_text")]
    pub detail: String,
    /// The status in the document itself.
    #[serde(default, deserialize_with = "lenient_status")]
    pub status: Option<u16>,
    /// Problems of single identifiers (RFC 8555 §6.7.1).
    #[serde(default, deserialize_with = "lenient_subproblems")]
    pub subproblems: Vec<Subproblem>,
}

/// A problem of one identifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Subproblem {
    /// The whole type URI.
    #[serde(rename = "type", default = "about_blank", deserialize_with = "lenient_type")]
    pub kind: String,
    /// What went wrong, for people.
    #[serde(default, deserialize_with = "lenient_text")]
    pub detail: String,
    /// The identifier with the problem.
    #[serde(default)]
    pub identifier: Option<Identifier>,
}

impl Problem {
    /// Reads a problem document of any content type.
    ///
    /// None if the text is not a JSON object with at least one of `type`, `detail` and `title`.
    pub fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            #[serde(flatten)]
            rest: serde_json::Map<String, serde_json::Value>,
        }
        let Document { mut rest } = serde_json::from_slice(body).ok()?;
        if !["type", "detail", "title"].iter().any(|key| rest.contains_key(*key)) {
            return None;
        }
        if let (None, Some(title)) = (rest.get("detail"), rest.get("title").cloned()) {
            rest.insert("detail".into(), title);
        }
        serde_json::from_value(rest.into()).ok()
    }

    /// The type without ACME's prefix: `badNonce`, `rateLimited`; a type of another namespace is unchanged.
    pub fn name(&self) -> &str {
        short(&self.kind)
    }

    /// Whether it is ACME's type of this name.
    pub fn is(&self, name: &str) -> bool {
        self.kind.strip_prefix(URN) == Some(name)
    }
}

impl fmt::Display for Problem {
    /// For people, whatever the CA sent: `unauthorized: no such account (a.test: caa: forbidden; b.test: dns: no answer)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pair(f, &self.kind, &self.detail)?;
        for (position, sub) in self.subproblems.iter().enumerate() {
            f.write_str(if position == 0 { " (" } else { "; " })?;
            if let Some(identifier) = &sub.identifier {
                write!(f, "{}: ", visible(&identifier.value()))?;
            }
            write_pair(f, &sub.kind, &sub.detail)?;
        }
        if self.subproblems.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

fn write_pair(f: &mut fmt::Formatter<'_>, kind: &str, detail: &str) -> fmt::Result {
    f.write_str(&visible(short(kind)))?;
    if detail.is_empty() { Ok(()) } else { write!(f, ": {}", visible(detail)) }
}

fn short(kind: &str) -> &str {
    kind.strip_prefix(URN).unwrap_or(kind)
}

fn about_blank() -> String {
    "about:blank".into()
}

fn lenient_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text(serde_json::Value::deserialize(deserializer)?)
        .filter(|kind| !kind.is_empty())
        .unwrap_or_else(about_blank))
}

fn lenient_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text(serde_json::Value::deserialize(deserializer)?).unwrap_or_default())
}

/// A number, or a number in quotes; anything else is no status.
fn lenient_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Number(number) => number.as_u64().and_then(|status| u16::try_from(status).ok()),
        serde_json::Value::String(text) => text.parse().ok(),
        _ => None,
    })
}

/// The readable entries; a bad one must not make the problem itself unreadable.
fn lenient_subproblems<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Subproblem>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Array(entries) => {
            entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect()
        }
        _ => Vec::new(),
    })
}

fn text(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    }
}
