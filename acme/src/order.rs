//! Orders and identifiers (RFC 8555 §7.1.3, §7.4).

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Where it is: from the Location of newOrder's answer, remembered for servers that send it only there.
    #[serde(skip)]
    pub url: String,
    /// Its state.
    pub status: OrderStatus,
    /// What the certificate is for.
    pub identifiers: Vec<Identifier>,
    /// URLs of the authorizations.
    pub authorizations: Vec<String>,
    /// Where the CSR goes.
    pub finalize: String,
    /// Where the certificate is, once the order is valid.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Until when it can be used, RFC 3339; see [`Order::expires_unix`].
    #[serde(default)]
    pub expires: Option<String>,
    /// The certificate that it replaces (RFC 9773 §5), if the CA echoes it.
    #[serde(default)]
    pub replaces: Option<String>,
    /// Why it is invalid.
    #[serde(default)]
    pub error: Option<Problem>,
    /// How long the CA asked to wait before looking again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Order {
    /// Seconds since the Unix epoch until which it can be used; None when the CA did not say so legibly.
    pub fn expires_unix(&self) -> Option<i64> {
        crate::time::rfc3339(self.expires.as_deref()?)
    }
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Authorizations are missing.
    Pending,
    /// Waits for the CSR.
    Ready,
    /// The certificate is being made.
    Processing,
    /// The certificate can be downloaded.
    Valid,
    /// Dead.
    Invalid,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// `dns`, or `ip` (RFC 8738).
    #[serde(rename = "type")]
    pub kind: String,
    /// The name, as the CA writes it.
    pub value: String,
}

impl Identifier {
    /// `ip` when it reads as an address, else `dns`.
    pub fn of(name: &str) -> Self {
        let kind = if name.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
        Self { kind: kind.into(), value: name.into() }
    }
}
