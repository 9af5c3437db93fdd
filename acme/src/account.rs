//! Accounts (RFC 8555 §7.1.2, §7.3).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::failure::Failure;
use crate::key::AccountKey;

/// An account: its URL and its key.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account's URL, the `kid` of its requests.
    pub url: String,
    /// Its key.
    pub key: Arc<AccountKey>,
}

/// An account as the CA shows it (RFC 8555 §7.1.2). Every member may be missing: servers answer `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AccountInfo {
    /// `valid`, `deactivated` or `revoked`; empty when missing.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub status: String,
    /// Contact URLs; CAs that do not store contacts list none.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub contact: Vec<String>,
    /// The URL of the list of its orders, which RFC 8555 requires and some CAs do not have.
    pub orders: Option<String>,
}

/// A part of the list of an account's orders (RFC 8555 §7.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OrdersList")]
pub struct OrdersPage {
    /// URLs of orders.
    pub orders: Vec<String>,
    /// The URL of the next part (Link with `rel="next"`), if there is one.
    pub next: Option<String>,
}

/// As RFC 8555 has it, or the array alone, as step-ca and Caddy write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum OrdersList {
    Object {
        #[serde(deserialize_with = "crate::lenient::null_as_default")]
        orders: Vec<String>,
    },
    Array(Vec<String>),
}

impl From<OrdersList> for OrdersPage {
    fn from(list: OrdersList) -> Self {
        let (OrdersList::Object { orders } | OrdersList::Array(orders)) = list;
        Self { orders, next: None }
    }
}

/// An account at the CA's operator to which new accounts are bound (RFC 8555 §7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// The key's identifier, from the CA.
    pub kid: String,
    /// The HMAC-SHA-256 key, decoded.
    pub hmac_key: Vec<u8>,
}

impl ExternalAccount {
    /// Makes it from what CAs provide: an identifier, and a key in base64url.
    ///
    /// # Errors
    /// [`crate::FailureClass::Internal`] if the key is not base64url; the message does not contain it.
    pub fn new(kid: impl Into<String>, hmac_key: &str) -> Result<Self, Failure> {
        let hmac_key = hmac_key.trim();
        let decoded = URL_SAFE_NO_PAD.decode(hmac_key).or_else(|_| URL_SAFE.decode(hmac_key));
        match decoded {
            Ok(hmac_key) if !hmac_key.is_empty() => Ok(Self { kid: kid.into(), hmac_key }),
            _ => Err(Failure::internal(
                "the external account's HMAC key is not base64url; copy it as the CA shows it",
            )),
        }
    }
}

impl fmt::Debug for ExternalAccount {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount").field("kid", &self.kid).field("hmac_key", &"(redacted)").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hmac_keys_with_and_without_padding() {
        for text in ["-_8", "-_8=", " -_8\n"] {
            assert_eq!(ExternalAccount::new("k", text).unwrap().hmac_key, [0xfb, 0xff], "{text:?}");
        }
    }

    #[test]
    fn a_list_of_orders_is_an_object_or_an_array() {
        for text in [r#"{"orders":["a","b"]}"#, r#"["a","b"]"#] {
            let page: OrdersPage = serde_json::from_str(text).unwrap();
            assert_eq!(page, OrdersPage { orders: vec!["a".into(), "b".into()], next: None }, "{text}");
        }
        assert_eq!(serde_json::from_str::<OrdersPage>(r#"{"orders":null}"#).unwrap().orders, [""; 0]);
        assert!(serde_json::from_str::<OrdersPage>("{}").is_err());
    }

    #[test]
    fn never_shows_the_hmac_key() {
        let shown = format!("{:?}", ExternalAccount { kid: "k".into(), hmac_key: b"secret".to_vec() });
        assert!(!shown.contains("115") && shown.contains("redacted"), "{shown}");
        let failure = ExternalAccount::new("k", "s3cr&t").unwrap_err();
        assert!(!failure.message.contains("s3cr"), "{failure}");
    }
}
