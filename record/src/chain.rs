//! The table of chains: their names, what they need and make, and their default weights.
//!
//! Everything that lists chains reads this table: keys, threshold metrics, API bodies, error texts, the
//! page's colours, and the order in which a run can use chains. The chains themselves are in `wec-chains`.
//! `docs/adding-a-chain.md` lists the steps.

use std::str::FromStr;

use strum::{EnumCount, VariantArray};

use crate::named::named;

named! {
    /// The test chains, by the names that people, logs and thresholds use.
    ///
    /// Add new chains at the end: a chain's position is its number in protobuf messages.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Chain {
        /// newAccount (RFC 8555 §7.3).
        Registration,
        /// newOrder, challenges, polls until the order is ready (RFC 8555 §7.4, §7.5).
        Authorization,
        /// finalize, download, check (RFC 8555 §7.4).
        Certificate,
        /// Renewal of a stored certificate, with ARI if the CA supports it (RFC 9773).
        Refresh,
        /// revokeCert, signed with the account's key, the certificate's, or another account's (RFC 8555 §7.6).
        Revoke,
        /// keyChange: an account gets another key (RFC 8555 §7.3.5).
        KeyRollover,
        /// An account gets other contacts (RFC 8555 §7.3.2).
        AccountUpdate,
        /// The end of an account (RFC 8555 §7.3.6).
        AccountDeactivation,
        /// The end of an authorization, pending or valid (RFC 8555 §7.5.2).
        AuthorizationDeactivation,
        /// The list of an account's orders (RFC 8555 §7.1.2.1).
        OrdersList,
        /// newAuthz, validated before there is an order (RFC 8555 §7.4.1).
        PreAuthorization,
        /// The renewal window of a stored certificate, alone (RFC 9773 §4).
        RenewalInfo,
        /// A stored certificate with all chains that the CA offers for it (RFC 8555 §7.4.2).
        AlternateChains,
        /// Another download of a stored certificate (RFC 8555 §7.4.2).
        Download,
        /// A request that the CA must refuse.
        Refusals,
        /// The steps that a scenario lists.
        Composed,
    }
}

/// What is stored about a CA between chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumCount, VariantArray)]
pub enum Object {
    /// An account.
    Registration,
    /// An order that is ready to finalize.
    Order,
    /// A certificate, new or renewed.
    Certificate,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ChainFacts {
    /// The stored object that the chain needs.
    pub needs: Option<Object>,
    /// Whether it needs a registration for itself alone, because it changes or ends it.
    pub exclusive: bool,
    /// The resource that the CA's directory must have for it, beside those that every CA has.
    pub resource: Option<&'static str>,
    /// The stored object that the chain adds. The limit on that object counts it.
    pub makes: Option<Object>,
    /// The weight when the plan sets none. It is 0 for a chain that ends an account or is rarely needed.
    pub default_weight: f64,
    /// Whether the chain ends with a new certificate.
    pub issues: bool,
    /// Names in logs of the 2015 design.
    pub former_names: &'static [&'static str],
    /// Colours on the page: on a light and on a dark background.
    pub colours: [&'static str; 2],
}

impl Chain {
    /// The chain's row of the table.
    pub const fn facts(self) -> ChainFacts {
        match self {
            Self::Registration => ChainFacts {
                makes: Some(Object::Registration),
                default_weight: 1.0,
                former_names: &["NewRegistrationChain", "NewRegistration"],
                colours: ["#3b50ad", "#85b5f2"],
                ..PLAIN
            },
            Self::Authorization => ChainFacts {
                needs: Some(Object::Registration),
                makes: Some(Object::Order),
                default_weight: 4.0,
                former_names: &["NewAuthorizationChain", "NewAuthorization"],
                colours: ["#4ba481", "#99ffde"],
                ..PLAIN
            },
            Self::Certificate => ChainFacts {
                needs: Some(Object::Order),
                makes: Some(Object::Certificate),
                default_weight: 4.0,
                issues: true,
                former_names: &["NewCertificateChain", "NewCertificate"],
                colours: ["#bd71ef", "#9762f1"],
                ..PLAIN
            },
            Self::Refresh => ChainFacts {
                needs: Some(Object::Certificate),
                makes: Some(Object::Certificate),
                default_weight: 2.0,
                issues: true,
                former_names: &["RefreshCertificateChain", "RefreshCertificate"],
                colours: ["#855e02", "#f0a707"],
                ..PLAIN
            },
            Self::Revoke => ChainFacts {
                needs: Some(Object::Certificate),
                default_weight: 1.0,
                former_names: &["RevokeCertificateChain", "RevokeCertificate"],
                colours: ["#6b1839", "#ee4074"],
                ..PLAIN
            },
            Self::KeyRollover => ChainFacts {
                needs: Some(Object::Registration),
                exclusive: true,
                resource: Some("keyChange"),
                colours: ["#050321", "#fdf207"],
                ..PLAIN
            },
            Self::AccountUpdate => ChainFacts {
                needs: Some(Object::Registration),
                exclusive: true,
                colours: ["#0e0b85", "#aa4906"],
                ..PLAIN
            },
            Self::AccountDeactivation => ChainFacts {
                needs: Some(Object::Registration),
                exclusive: true,
                colours: ["#d0780f", "#2b96b0"],
                ..PLAIN
            },
            Self::AuthorizationDeactivation => {
                ChainFacts { needs: Some(Object::Registration), colours: ["#8e1bff", "#645aa8"], ..PLAIN }
            }
            Self::OrdersList => {
                ChainFacts { needs: Some(Object::Registration), colours: ["#391705", "#becc99"], ..PLAIN }
            }
            Self::PreAuthorization => ChainFacts {
                needs: Some(Object::Registration),
                resource: Some("newAuthz"),
                makes: Some(Object::Order),
                colours: ["#624272", "#d67e13"],
                ..PLAIN
            },
            Self::RenewalInfo => ChainFacts {
                needs: Some(Object::Certificate),
                resource: Some("renewalInfo"),
                colours: ["#01846a", "#47dedf"],
                ..PLAIN
            },
            Self::AlternateChains => {
                ChainFacts { needs: Some(Object::Certificate), colours: ["#7f7eb0", "#9f88fe"], ..PLAIN }
            }
            Self::Download => {
                ChainFacts { needs: Some(Object::Certificate), colours: ["#150651", "#b2a979"], ..PLAIN }
            }
            Self::Refusals => {
                ChainFacts { needs: Some(Object::Registration), colours: ["#0009b7", "#4c865e"], ..PLAIN }
            }
            Self::Composed => {
                ChainFacts { needs: Some(Object::Registration), colours: ["#773f1f", "#c55f1d"], ..PLAIN }
            }
        }
    }

    /// The chains that run by default.
    pub fn usual() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|chain| chain.facts().default_weight > 0.0)
    }

    /// The names of all chains, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Position in [`Chain::ALL`], for arrays indexed by chain.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The chain that makes what this one needs.
    pub fn needed(self) -> Option<Self> {
        let needs = self.facts().needs?;
        Self::ALL.into_iter().find(|chain| chain.facts().makes == Some(needs))
    }

    /// Whether the chain begins with finalize, for an order that an earlier chain made.
    pub fn begins_with_finalize(self) -> bool {
        self.facts().needs == Some(Object::Order) && self.facts().issues
    }

    /// Whether the chain's results have the profile of an order.
    pub const fn orders(self) -> bool {
        matches!(self.facts().makes, Some(Object::Order | Object::Certificate))
    }
}

/// A chain that needs and makes nothing, with weight 0 and without colours: the base of the rows.
const PLAIN: ChainFacts = ChainFacts {
    needs: None,
    exclusive: false,
    resource: None,
    makes: None,
    default_weight: 0.0,
    issues: false,
    former_names: &[],
    colours: ["", ""],
};

crate::closed_set!(all of Object);

impl Object {
    /// Position in [`Object::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in the plural, as in configuration keys of limits and in messages.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Registration => "registrations",
            Self::Order => "authorizations",
            Self::Certificate => "certificates",
        }
    }
}

impl FromStr for Chain {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|chain| chain.name() == name)
            .ok_or_else(|| format!("unknown chain {name:?}: expected one of {}", Self::names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_text_have_the_same_names() {
        for chain in Chain::ALL {
            assert_eq!(serde_json::to_value(chain).unwrap(), chain.name());
            assert_eq!(chain.name().parse(), Ok(chain));
        }
        assert_eq!(
            "revok".parse::<Chain>().unwrap_err(),
            format!("unknown chain \"revok\": expected one of {}", Chain::names())
        );
    }

    #[test]
    fn what_a_chain_needs_is_made_by_an_earlier_one() {
        for chain in Chain::ALL.into_iter().filter(|chain| chain.facts().needs.is_some()) {
            let needed = chain.needed().unwrap_or_else(|| panic!("no chain makes what {chain} needs"));
            assert!(needed < chain, "{chain} needs {needed}");
        }
    }

    #[test]
    fn colours_are_six_digits_and_one_chains_own() {
        for ground in [0, 1] {
            let mut colours = Chain::ALL.map(|chain| chain.facts().colours[ground]);
            colours.sort_unstable();
            assert!(colours.windows(2).all(|pair| pair[0] != pair[1]), "{colours:?}");
            for colour in colours {
                assert!(
                    colour.len() == 7
                        && colour[1..].bytes().all(|byte| byte.is_ascii_hexdigit())
                        && colour.starts_with('#'),
                    "{colour}"
                );
            }
        }
    }
}
