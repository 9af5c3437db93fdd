//! Identifiers of certificates: DNS names, wildcards and IP addresses, with their different rules.
//!
//! The client, the challenge server and the null CA use these rules. Each encodes and decodes identifiers in
//! certificates itself.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ChallengeType;

/// An identifier (RFC 8555 §9.7.7), as in orders.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identifier {
    /// A DNS name.
    Dns(String),
    /// A wildcard: all names with one more label. The text has no `*.`.
    Wildcard(String),
    /// An address (RFC 8738).
    Ip(IpAddr),
    /// An identifier that wec never orders but a CA may send.
    Other {
        /// Its type.
        kind: String,
        /// Its value.
        value: String,
    },
}

impl Identifier {
    /// The identifier for this text: an IP address if it parses as one, else a DNS name.
    pub fn of(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::dns(text), Self::Ip)
    }

    /// The value of a `dns` identifier, or of a dNSName.
    pub fn dns(name: &str) -> Self {
        match name.strip_prefix("*.") {
            Some(base) => Self::Wildcard(base.to_owned()),
            None => Self::Dns(name.to_owned()),
        }
    }

    /// The address of the octets of an iPAddress; none when their number is not that of an address.
    pub fn of_octets(octets: &[u8]) -> Option<Self> {
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok().map(Self::Ip)
    }

    /// The identifier of a TLS server name: an address in reverse notation (RFC 8738 §6), or a name in lower
    /// case.
    pub fn of_server_name(server_name: &str) -> Self {
        let name = server_name.strip_suffix('.').unwrap_or(server_name).to_ascii_lowercase();
        reverse_ipv4(&name).or_else(|| reverse_ipv6(&name)).map_or(Self::Dns(name), Self::Ip)
    }

    /// The identifier of an order, checked for whether a public CA can issue for it.
    ///
    /// # Errors
    /// When a public CA cannot.
    pub fn checked(kind: &str, value: &str) -> Result<Self, Unfit> {
        match kind {
            "dns" => match Self::dns(&value.to_ascii_lowercase()) {
                Self::Dns(name) | Self::Wildcard(name) if !is_dns_name(&name) => Err(Unfit::Name),
                identifier => Ok(identifier),
            },
            // RFC 8738 §3: text as in RFC 1123 and RFC 5952.
            "ip" => value.parse().map(Self::Ip).map_err(|_| Unfit::Address),
            _ => Err(Unfit::Kind),
        }
    }

    /// `dns`, or `ip`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Dns(_) | Self::Wildcard(_) => "dns",
            Self::Ip(_) => "ip",
            Self::Other { kind, .. } => kind,
        }
    }

    /// The value in an order: a wildcard with its `*.`, an address in its canonical text.
    pub fn value(&self) -> Cow<'_, str> {
        match self {
            Self::Wildcard(base) => format!("*.{base}").into(),
            _ => self.validated(),
        }
    }

    /// The value in an authorization, which the CA validates: a wildcard without its `*.` (RFC 8555 §7.1.4).
    pub fn validated(&self) -> Cow<'_, str> {
        match self {
            Self::Dns(name) | Self::Wildcard(name) => name.into(),
            Self::Ip(address) => address.to_string().into(),
            Self::Other { value, .. } => value.into(),
        }
    }

    /// The challenge types that can validate it: a wildcard only by DNS (RFC 8555 §7.1.3), an address never
    /// by DNS (RFC 8738 §7).
    pub const fn challenge_types(&self) -> &'static [ChallengeType] {
        match self {
            Self::Dns(_) => &[
                ChallengeType::Http01,
                ChallengeType::TlsAlpn01,
                ChallengeType::Dns01,
                ChallengeType::DnsAccount01,
                ChallengeType::DnsPersist01,
            ],
            Self::Wildcard(_) => {
                &[ChallengeType::Dns01, ChallengeType::DnsAccount01, ChallengeType::DnsPersist01]
            }
            Self::Ip(_) => &[ChallengeType::Http01, ChallengeType::TlsAlpn01],
            Self::Other { .. } => &[],
        }
    }

    /// The host in a URL and in a Host header.
    pub fn host(&self) -> Cow<'_, str> {
        match self {
            Self::Ip(IpAddr::V6(address)) => format!("[{address}]").into(),
            _ => self.validated(),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value())
    }
}

/// As the CA writes it: `type` in any case and of any kind.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire { kind: self.kind().into(), value: self.value() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { kind, value } = Wire::deserialize(deserializer)?;
        Ok(match (&*kind, value.parse()) {
            ("dns", _) => Self::dns(&value),
            ("ip", Ok(address)) => Self::Ip(address),
            _ => Self::Other { kind: kind.into_owned(), value: value.into_owned() },
        })
    }
}

/// Why a CA cannot issue for an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is not a DNS name that a certificate can have.
    Name,
    /// It is not an IP address.
    Address,
    /// Its type is neither `dns` nor `ip`.
    Kind,
}

/// Two labels or more of letters, digits and hyphens. The last label is not a number, so that no name looks
/// like an address.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253
        && name.split('.').all(is_label)
        && name.rsplit_once('.').is_some_and(|(_, last)| last.parse::<u64>().is_err())
}

fn reverse_ipv4(name: &str) -> Option<IpAddr> {
    let octets = name.strip_suffix(".in-addr.arpa")?;
    let forward: Vec<&str> = octets.rsplit('.').collect();
    forward.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::from)
}

fn reverse_ipv6(name: &str) -> Option<IpAddr> {
    let nibbles = name.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let mut count = 0;
    for label in nibbles.rsplit('.') {
        let nibble = (label.len() == 1).then(|| u128::from_str_radix(label, 16).ok())??;
        bits = bits.checked_shl(4)? | nibble;
        count += 1;
    }
    (count == 32).then(|| IpAddr::from(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_stand_for_ip_identifiers() {
        let table = [
            ("WWW.Example.test", "www.example.test"),
            ("7.2.0.192.in-addr.arpa", "192.0.2.7"),
            ("300.2.0.192.in-addr.arpa", "300.2.0.192.in-addr.arpa"),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::1"),
            ("1.0.ip6.arpa", "1.0.ip6.arpa"),
            ("+.0.ip6.arpa", "+.0.ip6.arpa"),
        ];
        for (server_name, expected) in table {
            assert_eq!(Identifier::of_server_name(server_name).validated(), expected);
        }
    }

    #[test]
    fn every_challenge_type_validates_an_identifier() {
        let orders = [Identifier::of("a.test"), Identifier::of("*.a.test"), Identifier::of("192.0.2.7")];
        for kind in ChallengeType::ALL {
            assert!(orders.iter().any(|name| name.challenge_types().contains(&kind)), "{kind}");
        }
    }

    #[test]
    fn orders_and_authorizations_have_the_values_of_the_rfcs() {
        for (text, kind, value, validated, host) in [
            ("a.test", "dns", "a.test", "a.test", "a.test"),
            ("*.a.test", "dns", "*.a.test", "a.test", "a.test"),
            ("192.0.2.7", "ip", "192.0.2.7", "192.0.2.7", "192.0.2.7"),
            ("2001:DB8:0::1", "ip", "2001:db8::1", "2001:db8::1", "[2001:db8::1]"),
        ] {
            let identifier = Identifier::of(text);
            assert_eq!((identifier.kind(), &*identifier.value()), (kind, value));
            assert_eq!((&*identifier.validated(), &*identifier.host()), (validated, host));
            let json = serde_json::to_string(&identifier).unwrap();
            assert_eq!(json, format!(r#"{{"type":"{kind}","value":"{value}"}}"#));
            assert_eq!(serde_json::from_str::<Identifier>(&json).unwrap(), identifier);
        }
    }

    #[test]
    fn what_a_ca_names_is_read_whatever_it_is() {
        for json in
            [r#"{"type":"permanent-identifier","value":"x\ty"}"#, r#"{"type":"ip","value":"everywhere"}"#]
        {
            let read: Identifier = serde_json::from_str(json).unwrap();
            assert!(matches!(read, Identifier::Other { .. }));
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
    }

    #[test]
    fn no_certificate_can_name_what_is_no_name() {
        let long_label = format!("{}.test", "a".repeat(64));
        let long_name = format!("{}test", "abc.".repeat(63));
        for name in [
            "",
            ".",
            "test",
            "a..test",
            "-a.test",
            "a-.test",
            "a b.test",
            "ä.test",
            "a.*.test",
            "*",
            "*.*.test",
            "127.0.0.1",
            "a.test.",
            "a_b.test",
            "a\".test",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Identifier::checked("dns", name), Err(Unfit::Name), "{name}");
        }
        assert_eq!(Identifier::checked("ip", "127.0.0.1.1"), Err(Unfit::Address));
        assert_eq!(Identifier::checked("email", "a@b.test"), Err(Unfit::Kind));
        assert_eq!(Identifier::checked("dns", "*.B.test"), Ok(Identifier::Wildcard("b.test".into())));
    }
}
