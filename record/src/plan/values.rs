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
        const DAY: u64 = 86_400;
        let days = self.0.as_secs() / DAY;
        // Its months have no whole number of days.
        if days < 30 {
            return humantime::format_duration(self.0).fmt(f);
        }
        write!(f, "{days}days")?;
        match self.0 - Duration::from_secs(days * DAY) {
            Duration::ZERO => Ok(()),
            rest => write!(f, " {}", humantime::format_duration(rest)),
        }
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

/// A whole number, drawn evenly from a range (`1..5`) or by weights (`1:70,2:20,10:9,100:1`).
#[derive(Clone, Debug, PartialEq)]
pub enum Count {
    /// Evenly from these.
    Span(Span<u32>),
    /// One of these, by weight.
    Weighted(Vec<(u32, f64)>),
}

impl Count {
    /// The largest number with a weight.
    pub fn most(&self) -> u32 {
        match self {
            Self::Span(span) => span.to,
            Self::Weighted(numbers) => {
                numbers.iter().filter(|(_, weight)| *weight > 0.0).map(|(n, _)| *n).max().unwrap_or(0)
            }
        }
    }

    /// The number at this place of the distribution; `at` is from 0 up to 1.
    pub fn at(&self, at: f64) -> u32 {
        match self {
            Self::Span(Span { from, to }) => {
                let width = f64::from(to.saturating_sub(*from)) + 1.0;
                from.saturating_add((at * width) as u32).min(*to)
            }
            Self::Weighted(numbers) => {
                let total: f64 = numbers.iter().map(|(_, weight)| weight).sum();
                let mut left = at * total;
                let drawn = numbers.iter().filter(|(_, weight)| *weight > 0.0).find(|(_, weight)| {
                    left -= weight;
                    left < 0.0
                });
                // Rounding may leave a small rest after the last number.
                drawn.map_or_else(|| self.most(), |(number, _)| *number)
            }
        }
    }
}

impl From<std::ops::RangeInclusive<u32>> for Count {
    fn from(range: std::ops::RangeInclusive<u32>) -> Self {
        Self::Span(Span { from: *range.start(), to: *range.end() })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => span.fmt(f),
            Self::Weighted(numbers) => {
                for (place, (number, weight)) in numbers.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{number}:{weight}")?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Count {
    type Err = String;

    /// `3`, `1..5` or `1:70,2:20`. The values are checked where they are configured.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is neither a number, nor a range like 1..5, nor weights like 1:70,2:20,10:9,100:1"
            )
        };
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        if text.contains(':') {
            let parts = text.split(',').map(|part| {
                let (n, weight) = part.split_once(':').ok_or_else(wrong)?;
                let weight: f64 = weight.trim().parse().map_err(|_| wrong())?;
                if weight.is_finite() && weight >= 0.0 { Ok((number(n)?, weight)) } else { Err(wrong()) }
            });
            let numbers = parts.collect::<Result<Vec<_>, _>>()?;
            if numbers.iter().all(|(_, weight)| *weight == 0.0) {
                return Err(wrong());
            }
            return Ok(Self::Weighted(numbers));
        }
        let (from, to) = match text.split_once("..") {
            Some((from, to)) => (number(from)?, number(to.trim_start_matches('='))?),
            None => (number(text)?, number(text)?),
        };
        if from <= to { Ok(Self::Span(Span { from, to })) } else { Err(wrong()) }
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

as_text!({} Time: FromStr<Err = String>, {T} Span<T>: FromStr<Err = String>, {} Count: FromStr<Err = String>, {} Shares: FromStr<Err = String>);

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
