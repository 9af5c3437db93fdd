//! Values of a plan, with the text form that people write and read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Chain;

/// A duration in the form that people write: `1h 30m`, `250ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|error| format!("{text:?} is not a time: {error}"))
    }
}

impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

/// From the smallest to the largest, both included: `1..5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<T> {
    /// The smallest.
    pub from: T,
    /// The largest.
    pub to: T,
}

impl<T: fmt::Display> fmt::Display for Span<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

impl<T: FromStr> FromStr for Span<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once("..").and_then(|(from, to)| {
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            Some(Self { from, to })
        });
        parsed.ok_or_else(|| format!("{text:?} is not a range like 1..5"))
    }
}

/// Items with their weights: `http-01=3,dns-01=1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares(pub Vec<(String, f64)>);

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (item, weight)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{item}={weight}")?;
        }
        Ok(())
    }
}

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let item = |part: &str| {
            let (item, weight) = part.rsplit_once('=')?;
            Some((item.to_owned(), weight.parse().ok()?))
        };
        let parts = text.split(',').filter(|part| !part.is_empty()).map(item);
        let shares: Option<Vec<_>> = parts.collect();
        shares.map(Self).ok_or_else(|| format!("{text:?} is not a list of weights like a=3,b=1"))
    }
}

/// Conversions from and to text.
macro_rules! as_text {
    ($({$($generic:tt)*} $type:ty: $bound:path),*) => {
        $(
            impl<$($generic)*> Serialize for $type where Self: fmt::Display {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de, $($generic)*> Deserialize<'de> for $type where Self: $bound {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                }
            }
        )*
    };
}

as_text!({} Time: FromStr<Err = String>, {T} Span<T>: FromStr<Err = String>, {} Shares: FromStr<Err = String>);

/// Weights of chains in the picker. Chains that this version does not know are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Weights(pub BTreeMap<Chain, f64>);

impl Weights {
    /// The chain's weight; 0 for a chain that is not in the map.
    pub fn of(&self, chain: Chain) -> f64 {
        self.0.get(&chain).copied().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let weights = BTreeMap::<String, f64>::deserialize(deserializer)?;
        let known = |(name, weight): (String, f64)| Some((name.parse().ok()?, weight));
        Ok(Self(weights.into_iter().filter_map(known).collect()))
    }
}
