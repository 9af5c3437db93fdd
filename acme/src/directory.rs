//! The directory (RFC 8555 §7.1.1): where a CA's resources are.

use serde::Deserialize;

/// A CA's resources. Unknown keys (Boulder puts a random one in) are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// Where nonces are.
    pub new_nonce: String,
    /// Where accounts are made.
    pub new_account: String,
    /// Where orders are made.
    pub new_order: String,
    /// Where certificates are revoked.
    pub revoke_cert: String,
    /// Where account keys are rolled over; some servers name it and answer 501.
    #[serde(default)]
    pub key_change: Option<String>,
    /// Where renewal information is (RFC 9773 §4.1).
    #[serde(default)]
    pub renewal_info: Option<String>,
    /// What the CA says about itself; several servers say nothing.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub meta: Meta,
}

/// RFC 8555 §9.7.6.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// URL of the current terms.
    pub terms_of_service: Option<String>,
    /// The CA's web site.
    pub website: Option<String>,
    /// Names that the CA takes in CAA records.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub caa_identities: Vec<String>,
    /// Whether newAccount needs an external account binding.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub external_account_required: bool,
    /// Names and descriptions of the certificate profiles on offer (draft-aaron-acme-profiles).
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub profiles: std::collections::BTreeMap<String, serde_json::Value>,
}
