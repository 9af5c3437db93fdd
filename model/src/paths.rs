//! The endpoint of a request, by its method and path.
//!
//! Known are the paths of Boulder, Pebble, smallstep's and so Caddy's server, the built-in CA, and RFC 8555's names of
//! resources. A [`Mapping`] gives the endpoints of other paths.

use std::str::FromStr;

use wec_acme::Endpoint;

/// A prefix of paths, and the endpoint that they belong to: `/v2/DV90/orders/=order`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    prefix: String,
    endpoint: Endpoint,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is not PREFIX=ENDPOINT like /v2/orders/=order: {why}");
        let (prefix, name) = text.rsplit_once('=').ok_or_else(|| wrong("it has no ="))?;
        if !prefix.starts_with('/') {
            return Err(wrong("the prefix does not begin with /"));
        }
        let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == name);
        let names = || Endpoint::ALL.map(Endpoint::name).join(", ");
        let endpoint = endpoint.ok_or_else(|| wrong(&format!("the endpoints are {}", names())))?;
        Ok(Self { prefix: prefix.to_owned(), endpoint })
    }
}

/// Finds the endpoint of a request.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// The longest prefix first.
    mappings: Vec<Mapping>,
}

impl Paths {
    /// The known paths, and these before them.
    pub fn new(mut mappings: Vec<Mapping>) -> Self {
        mappings.sort_by_key(|mapping| std::cmp::Reverse(mapping.prefix.len()));
        Self { mappings }
    }

    /// The endpoint; none if the request is for none of an ACME server.
    pub fn endpoint(&self, method: &str, path: &str) -> Option<Endpoint> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        // Proxies send the whole URL.
        let path = match path.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
            None => path,
        };
        let mapped = self.mappings.iter().find(|mapping| path.starts_with(&mapping.prefix));
        let endpoint = mapped.map(|mapping| mapping.endpoint).or_else(|| known(path))?;
        // RFC 8555 §6.2, §6.3 and §7.2, and RFC 9773 §4.1: what is not signed is read.
        let reads = matches!(endpoint, Endpoint::Directory | Endpoint::NewNonce | Endpoint::RenewalInfo);
        let fits = if reads { ["GET", "HEAD"].contains(&method) } else { method == "POST" };
        fits.then_some(endpoint)
    }
}

fn known(path: &str) -> Option<Endpoint> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    while let Some(segment) = segments.next() {
        // A resource of the directory is the last segment.
        if let Some(endpoint) = resource(segment).filter(|_| segments.clone().next().is_none()) {
            return Some(endpoint);
        }
        if let Some(endpoint) = object(segment) {
            // Below the object's id.
            let below = segments.nth(1);
            return Some(match (endpoint, below) {
                (Endpoint::Order, Some("finalize")) => Endpoint::Finalize,
                (Endpoint::Account, Some("orders")) => Endpoint::Orders,
                (endpoint, _) => endpoint,
            });
        }
    }
    None
}

fn resource(segment: &str) -> Option<Endpoint> {
    Some(match segment {
        "directory" | "dir" => Endpoint::Directory,
        "new-nonce" | "newNonce" | "nonce-plz" => Endpoint::NewNonce,
        "new-account" | "newAccount" | "new-acct" | "sign-me-up" => Endpoint::NewAccount,
        "new-order" | "newOrder" | "order-plz" => Endpoint::NewOrder,
        "new-authz" | "newAuthz" => Endpoint::NewAuthz,
        "key-change" | "keyChange" | "rollover-account-key" => Endpoint::KeyChange,
        "revoke-cert" | "revokeCert" => Endpoint::RevokeCert,
        _ => return None,
    })
}

/// The word before an object's id.
fn object(segment: &str) -> Option<Endpoint> {
    Some(match segment {
        "account" | "acct" | "my-account" => Endpoint::Account,
        "list-orderz" | "orders" => Endpoint::Orders,
        "order" | "my-order" => Endpoint::Order,
        "finalize" | "finalize-order" => Endpoint::Finalize,
        "authorization" | "authz" | "authZ" | "authz-v3" => Endpoint::Authorization,
        "challenge" | "chall" | "chalZ" | "chall-v3" => Endpoint::Challenge,
        "certificate" | "cert" | "certZ" => Endpoint::Certificate,
        "renewal-info" | "renewalInfo" => Endpoint::RenewalInfo,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_known_servers_have_their_endpoints() {
        let paths = Paths::default();
        for (method, path, endpoint) in [
            ("GET", "/directory", "directory"),
            ("HEAD", "/acme/new-nonce", "newNonce"),
            ("POST", "/acme/new-acct", "newAccount"),
            ("POST", "/acme/acct/", "account"),
            ("POST", "/acme/new-order", "newOrder"),
            ("POST", "/acme/order/12/34", "order"),
            ("POST", "/acme/authz/12/34", "authorization"),
            ("POST", "/acme/authz-v3/34", "authorization"),
            ("POST", "/acme/chall/12/34/xfRtYw", "challenge"),
            ("POST", "/acme/finalize/12/34", "finalize"),
            ("POST", "/acme/cert/7f00ab", "certificate"),
            ("POST", "/acme/revoke-cert", "revokeCert"),
            ("POST", "/acme/key-change", "keyChange"),
            ("GET", "/acme/renewal-info/aYhba4dG.AIdlQ", "renewalInfo"),
            ("GET", "/draft-ietf-acme-ari-03/renewalInfo/aYhba4dG.AIdlQ", "renewalInfo"),
            ("GET", "/dir", "directory"),
            ("HEAD", "/nonce-plz", "newNonce"),
            ("POST", "/sign-me-up", "newAccount"),
            ("POST", "/my-account/1", "account"),
            ("POST", "/list-orderz/1", "orders"),
            ("POST", "/order-plz", "newOrder"),
            ("POST", "/my-order/s3Dn", "order"),
            ("POST", "/authZ/3kHX", "authorization"),
            ("POST", "/chalZ/3kHX", "challenge"),
            ("POST", "/finalize-order/abcd", "finalize"),
            ("POST", "/certZ/4f9e", "certificate"),
            ("POST", "/rollover-account-key", "keyChange"),
            ("GET", "/acme/local/directory", "directory"),
            ("POST", "/acme/local/order/aBcD/finalize", "finalize"),
            ("POST", "/acme/local/order/aBcD", "order"),
            ("POST", "/acme/local/account/aBcD/orders", "orders"),
            ("POST", "/acme/local/challenge/aBcD/eFgH", "challenge"),
            ("POST", "/acme/local/certificate/aBcD", "certificate"),
            ("POST", "/account/7", "account"),
            ("POST", "/account/7/orders/9", "orders"),
            ("POST", "/finalize/7", "finalize"),
            ("POST", "/certificate/7/alternate", "certificate"),
            ("POST", "/new-authz", "newAuthz"),
            ("POST", "https://ca.test/new-order?x=1", "newOrder"),
        ] {
            let found = paths.endpoint(method, path).map_or("none", Endpoint::name);
            assert_eq!(found, endpoint, "{method} {path}");
        }
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/acme/cert/7f00ab"),
            ("POST", "/directory"),
            ("POST", "/login"),
            ("POST", "/new-order/7"),
            ("GET", "/.well-known/acme-challenge/xyz"),
            ("PUT", "/new-order"),
        ] {
            assert_eq!(paths.endpoint(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn a_mapping_goes_before_what_is_known() {
        let mappings = ["/v2/=newOrder", "/v2/orders/=order", "/account=newAccount"];
        let paths = Paths::new(mappings.map(|text| text.parse().unwrap()).into());
        for (path, endpoint) in [
            ("/v2/orders/7", Some(Endpoint::Order)),
            ("/v2/else", Some(Endpoint::NewOrder)),
            ("/account/7", Some(Endpoint::NewAccount)),
            ("/new-order", Some(Endpoint::NewOrder)),
            ("/v3/orderly/7", None),
        ] {
            assert_eq!(paths.endpoint("POST", path), endpoint, "{path}");
        }
    }

    #[test]
    fn a_wrong_mapping_has_a_message() {
        for (text, part) in [
            ("/v2/orders", "it has no ="),
            ("v2=order", "does not begin with /"),
            ("/v2/=orderly", "the endpoints are directory, newNonce, newAccount"),
        ] {
            let error = text.parse::<Mapping>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
