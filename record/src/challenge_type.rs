//! The challenge types, by their registered names.

use std::str::FromStr;

use crate::named::named;

// Add new types at the end: a type's position is its number in protobuf messages.
// `Identifier::challenge_types` lists which types can validate an identifier.
named! {
    /// The challenge types of RFC 8555 §8 and RFC 8737, and two of drafts.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum ChallengeType {
        /// RFC 8555 §8.3.
        #[serde(rename = "http-01")]
        #[strum(serialize = "http-01")]
        Http01,
        /// RFC 8555 §8.4.
        #[serde(rename = "dns-01")]
        #[strum(serialize = "dns-01")]
        Dns01,
        /// RFC 8737.
        #[serde(rename = "tls-alpn-01")]
        #[strum(serialize = "tls-alpn-01")]
        TlsAlpn01,
        /// draft-ietf-acme-dns-account-label: dns-01 below a label of the account.
        #[serde(rename = "dns-account-01")]
        #[strum(serialize = "dns-account-01")]
        DnsAccount01,
        /// draft-ietf-acme-dns-persist: a TXT record that names the CA and the account, and may stay.
        #[serde(rename = "dns-persist-01")]
        #[strum(serialize = "dns-persist-01")]
        DnsPersist01,
    }
}

impl ChallengeType {
    /// The server at which its validations arrive.
    pub const fn listener(self) -> Listener {
        match self {
            Self::Http01 => Listener::Http,
            Self::Dns01 | Self::DnsAccount01 | Self::DnsPersist01 => Listener::Dns,
            Self::TlsAlpn01 => Listener::Tls,
        }
    }

    /// Those that RFCs define.
    pub const STANDARD: [Self; 3] = [Self::Http01, Self::Dns01, Self::TlsAlpn01];

    /// Whether a draft defines it, and no RFC.
    pub const fn is_draft(self) -> bool {
        matches!(self, Self::DnsAccount01 | Self::DnsPersist01)
    }
}

/// The server at which the validations of a challenge type arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// At a web server.
    Http,
    /// At a TLS server.
    Tls,
    /// At a DNS server.
    Dns,
}

impl FromStr for ChallengeType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let [others @ .., last] = &Self::ALL.map(Self::name);
            format!("unknown challenge type {name:?}: expected {} or {last}", others.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_text_have_the_same_names() {
        for kind in ChallengeType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(
            "http-02".parse::<ChallengeType>().unwrap_err(),
            "unknown challenge type \"http-02\": expected http-01, dns-01, tls-alpn-01, dns-account-01 or \
             dns-persist-01"
        );
    }
}
