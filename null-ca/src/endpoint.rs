//! The endpoints by RFC 8555's names, and their paths.

use std::fmt;
use std::str::FromStr;

use strum::{EnumCount, IntoStaticStr, VariantArray};
use thiserror::Error;
use wec_record::ChallengeType;

/// An endpoint, named as the directory names it or as RFC 8555 names the resource behind it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumCount, IntoStaticStr, VariantArray,
)]
#[expect(missing_docs, reason = "the names are RFC 8555's, §7.1 and §9.7.5")]
#[strum(serialize_all = "camelCase")]
pub enum Endpoint {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    Orders,
    KeyChange,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RevokeCert,
    RenewalInfo,
    NewAuthz,
    /// An unknown path.
    Unknown,
}

wec_record::closed_set!(Endpoint);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = UnknownEndpoint;

    fn from_str(name: &str) -> Result<Self, UnknownEndpoint> {
        let found = Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == name);
        found.ok_or_else(|| UnknownEndpoint(name.to_owned()))
    }
}

/// An endpoint that RFC 8555 does not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not an endpoint; the endpoints are *, {list}", list = Endpoint::ALL.map(Endpoint::name).join(", "))]
pub struct UnknownEndpoint(pub String);

/// A parsed request path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Directory,
    NewNonce,
    NewAccount,
    Account(u64),
    /// An account, and the order after which its list continues.
    Orders(u64, Option<u64>),
    KeyChange,
    NewOrder,
    Order(u64),
    /// The order, and the position of its authorization.
    Authorization(u64, usize),
    Challenge(ChallengePlace),
    Finalize(u64),
    /// A certificate, with the chain of the alternate root or not.
    Certificate(u64, bool),
    NewAuthz,
    RevokeCert,
    /// The certificate's identifier (RFC 9773 §4.1).
    RenewalInfo(&'a str),
    Unknown,
}

/// The challenge's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChallengePlace {
    pub(crate) order: u64,
    /// The position of the order's authorization.
    pub(crate) authorization: usize,
    pub(crate) kind: ChallengeType,
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
            "new-authz" => Route::NewAuthz,
            "revoke-cert" => Route::RevokeCert,
            "account" => {
                let id = id()?;
                match parts.next() {
                    None => Route::Account(id),
                    Some("orders") => match parts.next() {
                        None => Route::Orders(id, None),
                        Some(after) => Route::Orders(id, Some(after.parse().ok()?)),
                    },
                    Some(_) => return None,
                }
            }
            "order" => Route::Order(id()?),
            "finalize" => Route::Finalize(id()?),
            "certificate" => {
                let id = id()?;
                match parts.next() {
                    None => Route::Certificate(id, false),
                    Some("alternate") => Route::Certificate(id, true),
                    Some(_) => return None,
                }
            }
            "authorization" => Route::Authorization(id()?, parts.next()?.parse().ok()?),
            "challenge" => Route::Challenge(ChallengePlace {
                order: id()?,
                authorization: parts.next()?.parse().ok()?,
                kind: parts.next()?.parse().ok()?,
            }),
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
            Route::Orders(..) => Endpoint::Orders,
            Route::KeyChange => Endpoint::KeyChange,
            Route::NewOrder => Endpoint::NewOrder,
            Route::Order(_) => Endpoint::Order,
            Route::Authorization(..) => Endpoint::Authorization,
            Route::Challenge(..) => Endpoint::Challenge,
            Route::Finalize(_) => Endpoint::Finalize,
            Route::Certificate(..) => Endpoint::Certificate,
            Route::NewAuthz => Endpoint::NewAuthz,
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
            ("/account/7/orders", Route::Orders(7, None)),
            ("/account/7/orders/9", Route::Orders(7, Some(9))),
            ("/account/7/order", Route::Unknown),
            ("/certificate/7", Route::Certificate(7, false)),
            ("/certificate/7/alternate", Route::Certificate(7, true)),
            ("/certificate/7/other", Route::Unknown),
            ("/authorization/7/1", Route::Authorization(7, 1)),
            (
                "/challenge/7/0/dns-01",
                Route::Challenge(ChallengePlace { order: 7, authorization: 0, kind: ChallengeType::Dns01 }),
            ),
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
