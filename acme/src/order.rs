//! Orders (RFC 8555 §7.1.3, §7.4).

use std::time::Duration;

use serde::Deserialize;
use wec_record::Identifier;

use crate::problem::Problem;

/// The members of newOrder.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// The names of the certificate.
    pub names: &'a [String],
    /// The RFC 9773 identifier of the certificate that is renewed.
    pub replaces: Option<&'a str>,
    /// The certificate profile (draft-ietf-acme-profiles §4); without one, the CA chooses.
    pub profile: Option<&'a str>,
    /// The requested validity; without one, the CA chooses.
    pub validity: Option<AskedValidity>,
}

/// notBefore and notAfter of a new order, seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedValidity {
    /// The certificate begins then.
    pub not_before_unix: i64,
    /// The certificate ends then.
    pub not_after_unix: i64,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Its URL: from the Location of newOrder's answer, kept because some servers send it only there.
    #[serde(skip)]
    pub url: String,
    /// Its state.
    pub status: OrderStatus,
    /// What the certificate is for.
    pub identifiers: Vec<Identifier>,
    /// URLs of the authorizations.
    pub authorizations: Vec<String>,
    /// Where to send the CSR.
    pub finalize: String,
    /// Where the certificate is, once the order is valid.
    #[serde(default)]
    pub certificate: Option<String>,
    /// When it expires, RFC 3339; see [`Order::expires_unix`].
    #[serde(default)]
    pub expires: Option<String>,
    /// When the certificate is to end, RFC 3339, if the CA repeats it; see [`Order::not_after_unix`].
    #[serde(default)]
    pub not_after: Option<String>,
    /// The certificate that it replaces (RFC 9773 §5), if the CA repeats it.
    #[serde(default)]
    pub replaces: Option<String>,
    /// Why it is invalid.
    #[serde(default)]
    pub error: Option<Problem>,
    /// How long the CA asked to wait before the next request.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Order {
    /// When it expires, seconds since the Unix epoch; None if the CA gave no readable time.
    pub fn expires_unix(&self) -> Option<i64> {
        crate::time::rfc3339(self.expires.as_deref()?)
    }

    /// When the certificate is to end, seconds since the Unix epoch; None if the CA gave no readable time.
    pub fn not_after_unix(&self) -> Option<i64> {
        crate::time::rfc3339(self.not_after.as_deref()?)
    }
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Not all authorizations are valid yet.
    Pending,
    /// The CSR can be sent.
    Ready,
    /// The certificate is being made.
    Processing,
    /// The certificate can be downloaded.
    Valid,
    /// Failed. Pebble calls an order `deactivated` if one of its authorizations is.
    #[serde(alias = "deactivated")]
    Invalid,
}
