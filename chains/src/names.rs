//! The names of a new order, of several kinds.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use strum::{EnumCount, IntoStaticStr, VariantArray};
use wec_record::{ChallengeType, Identifier};

/// A kind of name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum NameKind {
    /// A name with one label under the base domain.
    Plain,
    /// A wildcard: `*.` before such a name.
    Wildcard,
    /// An address of the plan's IPv4 network (RFC 8738).
    Ipv4,
    /// An address of the plan's IPv6 network.
    Ipv6,
    /// A name with an internationalized label, as an A-label (RFC 5890).
    Idn,
    /// A name with capital letters, which CAs must treat like small ones.
    MixedCase,
    /// A name with as many characters as a name can have.
    Longest,
}

wec_record::closed_set!(NameKind, "a kind of name");

impl NameKind {
    /// The challenge types that can prove it.
    pub fn challenge_types(self) -> &'static [ChallengeType] {
        match self {
            Self::Wildcard => Identifier::Wildcard(String::new()).challenge_types(),
            Self::Ipv4 | Self::Ipv6 => Identifier::Ip(Ipv4Addr::LOCALHOST.into()).challenge_types(),
            // With the labels of the drafts' types it would be longer than a name can be.
            Self::Longest => &ChallengeType::STANDARD,
            Self::Plain | Self::Idn | Self::MixedCase => Identifier::Dns(String::new()).challenge_types(),
        }
    }
}

/// Labels of other scripts as A-labels: bücher, пример, 例子, 日本語, مثال.
const A_LABELS: [&str; 5] = ["xn--bcher-kva", "xn--e1afmkfd", "xn--fsqu00a", "xn--wgv71a119e", "xn--mgbh0fb"];

/// Characters of the longest name (RFC 1035 §2.3.4, without the root's dot) that can be validated by dns-01, whose
/// record is at `_acme-challenge.` before it.
const LONGEST: usize = 253 - "_acme-challenge.".len();
/// Characters of the longest label.
const LONGEST_LABEL: usize = 63;

/// The name of this kind that is made of a unique plain one, or the address with this number.
pub(crate) fn of_kind(kind: NameKind, plain: String, number: u64, networks: &Networks) -> String {
    match kind {
        NameKind::Plain => plain,
        NameKind::Wildcard => format!("*.{plain}"),
        NameKind::Ipv4 => networks.v4.address(number).to_string(),
        NameKind::Ipv6 => networks.v6.address(number).to_string(),
        NameKind::Idn => format!("{}.{plain}", A_LABELS[(number % A_LABELS.len() as u64) as usize]),
        NameKind::MixedCase => mixed(&plain),
        NameKind::Longest => lengthened(plain),
    }
}

/// Every second letter as a capital one.
fn mixed(name: &str) -> String {
    let mut capital = false;
    let mix = |c: char| {
        capital ^= c.is_ascii_alphabetic();
        if capital { c.to_ascii_uppercase() } else { c }
    };
    name.chars().map(mix).collect()
}

/// Puts labels before a name until it is as long as possible.
fn lengthened(mut name: String) -> String {
    loop {
        let left = LONGEST.saturating_sub(name.len());
        if left < 2 {
            return name;
        }
        let mut label = (left - 1).min(LONGEST_LABEL);
        // A rest of one character would be a dot without a label.
        if left - 1 - label == 1 {
            label -= 1;
        }
        name = format!("{}.{name}", "l".repeat(label));
    }
}

/// The addresses of orders, one network of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Networks {
    v4: Network,
    v6: Network,
}

impl Default for Networks {
    /// The usual loopback addresses, at which the challenge server listens by default.
    fn default() -> Self {
        Self {
            v4: Network { first: Ipv4Addr::LOCALHOST.into(), bits: 32 },
            v6: Network { first: Ipv6Addr::LOCALHOST.into(), bits: 128 },
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.v4, self.v6)
    }
}

impl FromStr for Networks {
    type Err = String;

    /// `10.0.0.0/8`, `fd00::/64`, or both with a comma; loopback for the family that is not given.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut networks = Self::default();
        for part in text.split(',').map(str::trim) {
            let network: Network = part.parse()?;
            if network.first.is_ipv4() { networks.v4 = network } else { networks.v6 = network }
        }
        Ok(networks)
    }
}

/// Addresses with common first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The address with this number: 0 is the one after the network's own, unless there is only one. Beyond the last it
    /// begins anew.
    fn address(self, number: u64) -> IpAddr {
        let offset = |width: u32| {
            let size = 1u128.checked_shl(width - u32::from(self.bits)).unwrap_or(u128::MAX);
            // Without the first and the last address, where there are others.
            let usable = if size > 2 { size - 2 } else { size };
            u128::from(number) % usable + u128::from(size > 2)
        };
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() | offset(32) as u32).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() | offset(128)).into(),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network like 10.0.0.0/8 or fd00::/64");
        let (first, bits) = text.split_once('/').ok_or_else(wrong)?;
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.parse().ok().filter(|bits| (1..=width).contains(bits)).ok_or_else(wrong)?;
        let network = Self { first, bits };
        let has_host_bits = match first {
            IpAddr::V4(first) => first.to_bits().checked_shl(u32::from(bits)).is_some_and(|rest| rest != 0),
            IpAddr::V6(first) => first.to_bits().checked_shl(u32::from(bits)).is_some_and(|rest| rest != 0),
        };
        if has_host_bits {
            return Err(format!("{text:?} is not the beginning of a network of {bits} bits"));
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn each_kind_of_name_is_one_that_a_ca_can_issue_for() {
        let networks = Networks::default();
        for base in ["wec.test", "a.b", &"x".repeat(60), &["y"; 100].join(".")] {
            for kind in NameKind::ALL {
                assert_eq!(kind.name().parse(), Ok(kind));
                let name = of_kind(kind, format!("w0-1.{base}"), 7, &networks);
                let identifier = Identifier::of(&name);
                let checked = Identifier::checked(identifier.kind(), &identifier.value());
                assert!(checked.is_ok(), "{kind}: {name}");
                assert!(name.len() <= LONGEST, "{kind}: {name}");
                if kind == NameKind::Longest {
                    assert_eq!(name.len(), LONGEST, "{name}");
                }
            }
        }
        let name = |kind| of_kind(kind, "w0-1.wec.test".into(), 7, &networks);
        assert_eq!(name(NameKind::Wildcard), "*.w0-1.wec.test");
        assert_eq!(name(NameKind::Ipv4), "127.0.0.1");
        assert_eq!(name(NameKind::Ipv6), "::1");
        assert_eq!(name(NameKind::Idn), "xn--fsqu00a.w0-1.wec.test");
        assert_eq!(name(NameKind::MixedCase), "W0-1.wEc.TeSt");
    }

    #[test]
    fn every_identifier_that_can_be_ordered_has_a_kind_of_name() {
        let mut left = BTreeSet::from(["dns", "wildcard", "ip"]);
        for kind in NameKind::ALL {
            let name = of_kind(kind, "w0-1.wec.test".into(), 7, &Networks::default());
            left.remove(match Identifier::of(&name) {
                Identifier::Dns(_) => "dns",
                Identifier::Wildcard(_) => "wildcard",
                Identifier::Ip(_) => "ip",
                // A new identifier that is ordered also stands in the set above.
                Identifier::Other { .. } => "other",
            });
        }
        assert_eq!(left, BTreeSet::new());
    }

    #[test]
    fn addresses_are_of_the_network_and_each_comes_once_in_a_round() {
        let networks: Networks = "192.0.2.0/28, 2001:db8::/120".parse().unwrap();
        let v4: HashSet<_> = (0..14).map(|number| networks.v4.address(number)).collect();
        assert_eq!(v4.len(), 14, "all but the network's own address and the last");
        assert!(v4.iter().all(|address| address.to_string().starts_with("192.0.2.")));
        assert_eq!(networks.v4.address(0), networks.v4.address(14));
        let v6: HashSet<_> = (0..254).map(|number| networks.v6.address(number)).collect();
        assert_eq!(v6.len(), 254);
        assert_eq!(networks.to_string(), "192.0.2.0/28,2001:db8::/120");
        assert_eq!("10.0.0.0/8".parse::<Networks>().unwrap().to_string(), "10.0.0.0/8,::1/128");
        for (wrong, why) in [
            ("10.0.0.1/8", "not the beginning"),
            ("10.0.0.0", "not a network"),
            ("10.0.0.0/33", "not a network"),
            ("::/129", "not a network"),
            ("x/8", "not a network"),
        ] {
            assert!(wrong.parse::<Networks>().unwrap_err().contains(why), "{wrong}");
        }
    }
}
