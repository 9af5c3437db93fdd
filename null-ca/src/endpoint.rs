//! What can be asked: the endpoints by RFC 8555's names, and the paths that lead to them.

use std::fmt;
use std::str::FromStr;

use crate::faults::RuleError;
use crate::orders::ChallengeType;

/// An endpoint, named as the directory names it or as RFC 8555 names the resource behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are RFC 8555's, §7.1 and §9.7.5")]
pub enum Endpoint {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    KeyChange,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RevokeCert,
    RenewalInfo,
    /// A path that leads nowhere.
    Unknown,
}

impl Endpoint {
    /// All of them, in the order an issuance meets them.
    pub const ALL: [Endpoint; 14] = [
        Endpoint::Directory,
        Endpoint::NewNonce,
        Endpoint::NewAccount,
        Endpoint::Account,
        Endpoint::KeyChange,
        Endpoint::NewOrder,
        Endpoint::Order,
        Endpoint::Authorization,
        Endpoint::Challenge,
        Endpoint::Finalize,
        Endpoint::Certificate,
        Endpoint::RevokeCert,
        Endpoint::RenewalInfo,
        Endpoint::Unknown,
    ];

    /// The name used in rules, counters and messages, such as `newOrder`.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Directory => "directory",
            Endpoint::NewNonce => "newNonce",
            Endpoint::NewAccount => "newAccount",
            Endpoint::Account => "account",
            Endpoint::KeyChange => "keyChange",
            Endpoint::NewOrder => "newOrder",
            Endpoint::Order => "order",
            Endpoint::Authorization => "authorization",
            Endpoint::Challenge => "challenge",
            Endpoint::Finalize => "finalize",
            Endpoint::Certificate => "certificate",
            Endpoint::RevokeCert => "revokeCert",
            Endpoint::RenewalInfo => "renewalInfo",
            Endpoint::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = RuleError;

    fn from_str(name: &str) -> Result<Self, RuleError> {
        let found = Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == name);
        found.ok_or_else(|| RuleError::Endpoint(name.to_owned()))
    }
}

/// A request's path, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Directory,
    NewNonce,
    NewAccount,
    Account(u64),
    KeyChange,
    NewOrder,
    Order(u64),
    /// The order, and which of its authorizations.
    Authorization(u64, usize),
    Challenge(u64, usize, ChallengeType),
    Finalize(u64),
    Certificate(u64),
    RevokeCert,
    /// The certificate's identifier (RFC 9773 §4.1).
    RenewalInfo(&'a str),
    Unknown,
}

impl<'a> Route<'a> {
    pub(crate) fn parse(path: &'a str) -> Self {
        Self::understand(path).unwrap_or(Route::Unknown)
    }

    fn understand(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let resource = parts.next()?;
        let mut id = || parts.next()?.parse().ok();
        let route = match resource {
            "directory" => Route::Directory,
            "new-nonce" => Route::NewNonce,
            "new-account" => Route::NewAccount,
            "key-change" => Route::KeyChange,
            "new-order" => Route::NewOrder,
            "revoke-cert" => Route::RevokeCert,
            "account" => Route::Account(id()?),
            "order" => Route::Order(id()?),
            "finalize" => Route::Finalize(id()?),
            "certificate" => Route::Certificate(id()?),
            "authorization" => Route::Authorization(id()?, parts.next()?.parse().ok()?),
            "challenge" => {
                Route::Challenge(id()?, parts.next()?.parse().ok()?, ChallengeType::named(parts.next()?)?)
            }
            "renewal-info" => Route::RenewalInfo(parts.next()?),
            _ => return None,
        };
        parts.next().is_none().then_some(route)
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Route::Directory => Endpoint::Directory,
            Route::NewNonce => Endpoint::NewNonce,
            Route::NewAccount => Endpoint::NewAccount,
            Route::Account(_) => Endpoint::Account,
            Route::KeyChange => Endpoint::KeyChange,
            Route::NewOrder => Endpoint::NewOrder,
            Route::Order(_) => Endpoint::Order,
            Route::Authorization(..) => Endpoint::Authorization,
            Route::Challenge(..) => Endpoint::Challenge,
            Route::Finalize(_) => Endpoint::Finalize,
            Route::Certificate(_) => Endpoint::Certificate,
            Route::RevokeCert => Endpoint::RevokeCert,
            Route::RenewalInfo(_) => Endpoint::RenewalInfo,
            Route::Unknown => Endpoint::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths() {
        for (path, route) in [
            ("/directory", Route::Directory),
            ("/account/7", Route::Account(7)),
            ("/authorization/7/1", Route::Authorization(7, 1)),
            ("/challenge/7/0/dns-01", Route::Challenge(7, 0, ChallengeType::Dns01)),
            ("/renewal-info/aYhba4dG.AIdlQ", Route::RenewalInfo("aYhba4dG.AIdlQ")),
            ("/", Route::Unknown),
            ("", Route::Unknown),
            ("/order", Route::Unknown),
            ("/order/x", Route::Unknown),
            ("/order/7/8", Route::Unknown),
            ("/order/99999999999999999999", Route::Unknown),
            ("/challenge/7/0/dns-02", Route::Unknown),
            ("/directory/", Route::Unknown),
        ] {
            assert_eq!(Route::parse(path), route, "{path}");
        }
    }

    #[test]
    fn every_endpoint_reads_back_from_its_name() {
        for endpoint in Endpoint::ALL {
            assert_eq!(endpoint.name().parse::<Endpoint>().unwrap(), endpoint);
        }
    }
}
