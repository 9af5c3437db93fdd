//! The resources that a request can be for.

use std::fmt;

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// The resources of RFC 8555 §7.1, RFC 9773 and their fields, by the names that the standards use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "camelCase")]
pub enum Endpoint {
    /// The directory itself.
    Directory,
    /// newNonce.
    NewNonce,
    /// newAccount.
    NewAccount,
    /// An account's URL.
    Account,
    /// newOrder.
    NewOrder,
    /// An order's URL.
    Order,
    /// An authorization's URL.
    Authorization,
    /// A challenge's URL.
    Challenge,
    /// An order's finalize URL.
    Finalize,
    /// A certificate's URL.
    Certificate,
    /// revokeCert.
    RevokeCert,
    /// renewalInfo.
    RenewalInfo,
    /// keyChange.
    KeyChange,
    /// newAuthz.
    NewAuthz,
    /// The URL of an account's list of orders.
    Orders,
}

wec_record::closed_set!(Endpoint);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use wec_record::threshold::ENDPOINTS;

    use super::*;

    #[test]
    fn a_threshold_can_name_each_endpoint() {
        let mut known = Endpoint::ALL.map(Endpoint::name).to_vec();
        // Requests whose URL is none of these.
        known.push("other");
        known.sort_unstable();
        let mut named = ENDPOINTS.to_vec();
        named.sort_unstable();
        assert_eq!(named, known);
    }
}
