//! What a rate limit applies to, which decides what has to wait.

use crate::endpoint::Endpoint;

/// What a 429 limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One account: others can continue.
    Account,
    /// A set of names, or one of them, and so the order or certificate with them: others can continue.
    Names,
    /// A domain of names, for all accounts: in a load test, all names.
    Domain,
    /// The client's address, or the whole service: nothing can continue.
    Address,
}

impl Subject {
    /// What the limit with this name ([`limit_name`](crate::limit_name)) is on, for a request to `endpoint`.
    ///
    /// An unknown limit is taken to be on the address: then the caller waits, and no object does.
    pub fn of(endpoint: Endpoint, limit: &str) -> Self {
        match endpoint {
            Endpoint::Directory
            | Endpoint::NewNonce
            | Endpoint::NewAccount
            | Endpoint::RenewalInfo
            | Endpoint::KeyChange => return Self::Address,
            Endpoint::Account
            | Endpoint::Orders
            | Endpoint::NewAuthz
            | Endpoint::NewOrder
            | Endpoint::Order
            | Endpoint::Authorization
            | Endpoint::Challenge
            | Endpoint::Finalize
            | Endpoint::Certificate
            | Endpoint::RevokeCert => {}
        }
        // A sentence and a name have the same words: `new-orders-per-account`,
        // `too many new orders (#) from this account`.
        let words: Vec<String> = limit
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let words = format!(" {} ", words.join(" "));
        let any = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if any(&[
            " exact set ",
            " duplicate ",
            " authorization failures ",
            " failed authorizations ",
            " paused ",
            " pausing ",
        ]) {
            Self::Names
        } else if any(&[" registered domain ", " already issued for "]) {
            Self::Domain
        } else if any(&[" ip ", " ips ", " ipv4 ", " ipv6 ", " subnet ", " address ", " addresses "]) {
            Self::Address
        } else if any(&[" account ", " accounts "]) {
            Self::Account
        } else if any(&[" identifier ", " identifiers ", " hostname ", " hostnames ", " certificate "]) {
            Self::Names
        } else {
            Self::Address
        }
    }

    /// Whether it is on one of several objects.
    pub const fn is_an_object(self) -> bool {
        matches!(self, Self::Account | Self::Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_mapped_to_their_subject() {
        use Endpoint::{Authorization, Finalize, NewAccount, NewNonce, NewOrder, RenewalInfo, RevokeCert};
        use Subject::{Account, Address, Domain, Names};
        for (endpoint, limit, subject) in [
            (NewAccount, "new-registrations-per-ip-address", Address),
            (NewAccount, "new-registrations-per-ipv6-range", Address),
            (NewAccount, "too many accounts", Address),
            (NewOrder, "new-orders-per-account", Account),
            (NewOrder, "new-certificates-per-exact-set-of-identifiers", Names),
            (NewOrder, "new-certificates-per-exact-set-of-hostnames", Names),
            (NewOrder, "authorization-failures-per-identifier-per-account", Names),
            (NewOrder, "authorization-failures-per-hostname-per-account", Names),
            (NewOrder, "consecutive-authorization-failures-per-identifier-per-account", Names),
            (NewOrder, "pausing-issuance", Names),
            (NewOrder, "new-certificates-per-registered-domain", Domain),
            (
                NewOrder,
                "Error creating new order :: too many certificates already issued for: …: see …",
                Domain,
            ),
            (NewOrder, "too many new orders (#) from this account in the last #, retry after #", Account),
            (NewOrder, "too many requests from this IP address", Address),
            (NewOrder, "overall-requests-limit", Address),
            (NewOrder, "Service busy; retry later.", Address),
            (NewOrder, "", Address),
            (NewNonce, "new-orders-per-account", Address),
            (RenewalInfo, "too many looks at this certificate", Address),
            (Authorization, "requests-per-account", Account),
            (Finalize, "duplicate certificate limit", Names),
            (RevokeCert, "this certificate was asked about too often", Names),
        ] {
            assert_eq!(Subject::of(endpoint, limit), subject, "{endpoint} {limit:?}");
        }
    }
}
