//! The directory (RFC 8555 §7.1.1): the URLs of a CA's resources.

use serde::Deserialize;

/// A CA's resources. Unknown keys (Boulder puts a random one in) are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// newNonce.
    pub new_nonce: String,
    /// newAccount.
    pub new_account: String,
    /// newOrder.
    pub new_order: String,
    /// revokeCert.
    pub revoke_cert: String,
    /// keyChange; some servers name it and answer 501.
    #[serde(default)]
    pub key_change: Option<String>,
    /// newAuthz, for authorizations before an order (RFC 8555 §7.4.1); few servers have it.
    #[serde(default)]
    pub new_authz: Option<String>,
    /// renewalInfo (RFC 9773 §4.1).
    #[serde(default)]
    pub renewal_info: Option<String>,
    /// The CA's metadata; several servers have none.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub meta: Meta,
}

impl Directory {
    /// The named resources: key and URL.
    pub fn resources(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let always = [
            ("newNonce", &self.new_nonce),
            ("newAccount", &self.new_account),
            ("newOrder", &self.new_order),
            ("revokeCert", &self.revoke_cert),
        ];
        let sometimes = [
            ("newAuthz", &self.new_authz),
            ("keyChange", &self.key_change),
            ("renewalInfo", &self.renewal_info),
        ];
        let sometimes = sometimes.into_iter().filter_map(|(key, url)| Some((key, url.as_ref()?)));
        always.into_iter().chain(sometimes).map(|(key, url)| (key, url.as_str()))
    }
}

/// RFC 8555 §9.7.6.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// URL of the current terms.
    pub terms_of_service: Option<String>,
    /// The CA's web site.
    pub website: Option<String>,
    /// Names of the CA in CAA records.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub caa_identities: Vec<String>,
    /// Whether newAccount needs an external account binding.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub external_account_required: bool,
    /// Names and descriptions of the offered certificate profiles (draft-ietf-acme-profiles).
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub profiles: std::collections::BTreeMap<String, serde_json::Value>,
}
