//! References to other resources in a CA's answers.
//!
//! A Location may be relative (RFC 9110 §10.2.2), and some servers also write relative URLs in their objects. They
//! are relative to the URL of the request (RFC 3986 §5). They are made absolute here, when an answer is read, so that
//! everything after it (the `url` of a signature, the next request, the state store) has absolute ones only.

use crate::account::{AccountInfo, OrdersPage};
use crate::ari::RenewalInfo;
use crate::authorization::Authorization;
use crate::challenge::Challenge;
use crate::directory::Directory;
use crate::order::Order;

/// An object with URLs of other resources.
pub(crate) trait References {
    /// Makes them absolute, given the URL of the object.
    ///
    /// # Errors
    /// The first that is not valid; for people.
    fn resolve(&mut self, base: &str) -> Result<(), String>;
}

/// The absolute URL of `reference` in an answer from `base`. An absolute one is not changed, because the CA may
/// compare it byte by byte.
///
/// # Errors
/// If it cannot be resolved; for people.
pub(crate) fn absolute(base: &str, reference: String) -> Result<String, String> {
    if is_absolute(&reference) {
        return Ok(reference);
    }
    if reference.is_empty() {
        return Err("an empty URL".into());
    }
    let resolved = url::Url::parse(base).and_then(|base| base.join(&reference));
    resolved.map(String::from).map_err(|error| format!("{reference:?}, which is no URL: {error}"))
}

/// Whether it begins with a scheme (RFC 3986 §3.1) and an authority.
fn is_absolute(reference: &str) -> bool {
    reference.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn resolve_in_place(base: &str, url: &mut String) -> Result<(), String> {
    *url = absolute(base, std::mem::take(url))?;
    Ok(())
}

impl References for Directory {
    fn resolve(&mut self, base: &str) -> Result<(), String> {
        let Self {
            new_nonce,
            new_account,
            new_order,
            revoke_cert,
            key_change,
            new_authz,
            renewal_info,
            meta: _,
        } = self;
        [new_nonce, new_account, new_order, revoke_cert]
            .into_iter()
            .chain(key_change)
            .chain(new_authz)
            .chain(renewal_info)
            .try_for_each(|url| resolve_in_place(base, url))
    }
}

impl References for Order {
    fn resolve(&mut self, base: &str) -> Result<(), String> {
        let urls = self.authorizations.iter_mut().chain([&mut self.finalize]).chain(&mut self.certificate);
        urls.into_iter().try_for_each(|url| resolve_in_place(base, url))
    }
}

impl References for Authorization {
    fn resolve(&mut self, base: &str) -> Result<(), String> {
        self.challenges.iter_mut().try_for_each(|challenge| challenge.resolve(base))
    }
}

impl References for Challenge {
    fn resolve(&mut self, base: &str) -> Result<(), String> {
        resolve_in_place(base, &mut self.url)
    }
}

impl References for AccountInfo {
    fn resolve(&mut self, base: &str) -> Result<(), String> {
        self.orders.as_mut().map_or(Ok(()), |url| resolve_in_place(base, url))
    }
}

impl References for OrdersPage {
    fn resolve(&mut self, base: &str) -> Result<(), String> {
        self.orders.iter_mut().chain(&mut self.next).try_for_each(|url| resolve_in_place(base, url))
    }
}

impl References for RenewalInfo {
    /// Its explanation is for people and is never requested.
    fn resolve(&mut self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_reference_is_resolved_and_an_absolute_one_left_as_it_is() {
        let base = "https://ca.test:8443/acme/order/1?x";
        for (reference, url) in [
            ("/acme/authz/7", "https://ca.test:8443/acme/authz/7"),
            ("2/finalize", "https://ca.test:8443/acme/order/2/finalize"),
            ("../cert/5", "https://ca.test:8443/acme/cert/5"),
            ("//other.test/x", "https://other.test/x"),
            ("?y", "https://ca.test:8443/acme/order/1?y"),
            ("/x?next=http://a", "https://ca.test:8443/x?next=http://a"),
            // Unchanged, including port and case.
            ("HTTPS://CA.test:443/A", "HTTPS://CA.test:443/A"),
            ("http://ca.test", "http://ca.test"),
        ] {
            assert_eq!(absolute(base, reference.into()).as_deref(), Ok(url), "{reference}");
        }
        assert_eq!(absolute(base, String::new()).unwrap_err(), "an empty URL");
        let error = absolute(base, "//[::1".into()).unwrap_err();
        assert!(error.starts_with("\"//[::1\", which is no URL: "), "{error}");
    }
}
