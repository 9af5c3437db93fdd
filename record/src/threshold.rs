//! `Threshold`: a condition for a run to pass, as people write it.
//!
//! ```text
//! METRIC{selector…}{stat} OP VALUE [over WINDOW] [abort [after GRACE]]
//! chain.certificate{p(99)} < 2s over 30s abort after 10s
//! ```
//!
//! This module has only the grammar: text to value with all errors of the text, and back. `wec-figures`
//! evaluates thresholds; `docs/thresholds.md` explains each metric.

mod read;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::read::{ENDPOINTS, ThresholdMistakes, split};
use crate::{Chain, FailureClass};

/// The longest window. Every second of a window is kept.
pub const MAX_WINDOW: Duration = Duration::from_secs(3_600);

/// One condition that a run must meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The measured value.
    pub metric: Metric,
    /// The comparison with the limit.
    pub op: Op,
    /// The limit, in the unit in which it was written.
    pub limit: Limit,
    /// If set, the condition is judged over every window of this many whole seconds, instead of over the
    /// whole run.
    pub window: Option<Duration>,
    /// Whether the run ends when the threshold fails.
    pub abort: bool,
    /// Time after the run's start in which a failure does not abort. It is in no window.
    pub grace: Duration,
}

/// A measured value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Iterations of one chain, or of all.
    Chain(Option<Chain>, Stat),
    /// HTTP attempts: all, or those selected.
    Requests(Requests, Stat),
    /// Certificates per second from the chains certificate and refresh.
    Certificates,
    /// Failures, of one class or of all.
    Errors(Option<FailureClass>),
    /// Share of POSTs refused with `badNonce`.
    NoncesRejected,
    /// The rate achieved, as a share of the target.
    Achieved,
    /// Share of due iterations for which no worker was free.
    Dropped,
}

/// Selects HTTP attempts that match all given selectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// RFC 8555's name of the endpoint: `newOrder`.
    pub endpoint: Option<String>,
    /// HTTP method.
    pub method: Option<String>,
    /// HTTP status.
    pub status: Option<Status>,
}

/// An HTTP status or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `503`; 0 for no answer.
    Exactly(u16),
    /// `5xx`: the first digit.
    Class(u16),
}

impl Status {
    /// Whether `status` matches.
    pub const fn fits(self, status: u16) -> bool {
        match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Class(digit) => status / 100 == digit,
        }
    }
}

/// A statistic of the iterations or requests of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// Their number.
    Count,
    /// The share that failed.
    Failed,
    /// Their number per second.
    Rate,
    /// The time of the successful ones.
    Time(TimeKind, Of),
}

/// The start of a measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// Since it was due.
    Response,
    /// Since it was sent or started.
    Service,
}

/// A statistic of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A percentile, in tenths of a percent: 990 is `p(99)`.
    Percentile(u16),
    /// Arithmetic mean.
    Avg,
    /// Largest.
    Max,
    /// Smallest.
    Min,
}

/// A comparison. The order is that of reading: `<=` before its beginning `<`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumCount, strum::IntoStaticStr, strum::VariantArray)]
pub enum Op {
    /// `<=`
    #[strum(serialize = "<=")]
    AtMost,
    /// `>=`
    #[strum(serialize = ">=")]
    AtLeast,
    /// `==`
    #[strum(serialize = "==")]
    Equal,
    /// `<`
    #[strum(serialize = "<")]
    Less,
    /// `>`
    #[strum(serialize = ">")]
    More,
}

crate::closed_set!(all of Op);

impl Op {
    /// The operator as text.
    pub fn sign(self) -> &'static str {
        self.into()
    }

    /// Whether `value` satisfies the comparison.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
            Self::More => value > limit,
            Self::AtLeast => value >= limit,
            Self::Equal => value == limit,
        }
    }

    /// Whether a larger value is worse.
    pub const fn wants_little(self) -> bool {
        matches!(self, Self::Less | Self::AtMost | Self::Equal)
    }
}

/// The unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// A share, 0 to 1 (`achieved/target` may be higher).
    Share,
    /// A count.
    Count,
    /// A count per second.
    PerSecond,
}

impl Unit {
    /// The suffixes allowed after a number, each with its factor.
    const fn suffixes(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Ns => &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9)],
            Self::Share => &[("%", 0.01), ("", 1.0)],
            Self::Count => &[("", 1.0)],
            Self::PerSecond => &[("/s", 1.0), ("", 1.0)],
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::Ns => "a time with its unit: ns, us, ms, s or m, as in 250ms",
            Self::Share => "a share, as in 1% or 0.01",
            Self::Count => "a whole number",
            Self::PerSecond => "a rate, as in 50/s or 50",
        }
    }
}

/// A number with the unit in which it was written, so that it is shown unchanged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The number.
    pub number: f64,
    suffix: &'static str,
    factor: f64,
}

impl Limit {
    /// In the base unit of its [`Unit`].
    pub fn value(self) -> f64 {
        // Division makes 1% exactly the same number as 0.01.
        if self.factor < 1.0 { self.number / (1.0 / self.factor) } else { self.number * self.factor }
    }
}

impl Metric {
    /// The unit of its value.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Chain(_, stat) | Self::Requests(_, stat) => match stat {
                Stat::Count => Unit::Count,
                Stat::Failed => Unit::Share,
                Stat::Rate => Unit::PerSecond,
                Stat::Time(..) => Unit::Ns,
            },
            Self::Certificates => Unit::PerSecond,
            Self::Errors(_) => Unit::Count,
            Self::NoncesRejected | Self::Achieved | Self::Dropped => Unit::Share,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.metric, self.op.sign(), self.limit)?;
        if let Some(window) = self.window {
            write!(f, " over {}", duration(window))?;
        }
        if self.abort {
            f.write_str(" abort")?;
            if !self.grace.is_zero() {
                write!(f, " after {}", duration(self.grace))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(Some(chain), stat) => write!(f, "chain.{chain}{{{stat}}}"),
            Self::Chain(None, stat) => write!(f, "chain{{{stat}}}"),
            Self::Requests(requests, stat) => write!(f, "requests{requests}{{{stat}}}"),
            Self::Certificates => f.write_str("certificates{rate}"),
            Self::Errors(Some(class)) => write!(f, "errors{{class={class}}}{{count}}"),
            Self::Errors(None) => f.write_str("errors{count}"),
            Self::NoncesRejected => f.write_str("nonces{rejected}"),
            Self::Achieved => f.write_str("rate{achieved/target}"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map(|endpoint| format!("endpoint={endpoint}"));
        let method = self.method.as_ref().map(|method| format!("method={method}"));
        let status = self.status.map(|status| match status {
            Status::Exactly(status) => format!("status={status}"),
            Status::Class(digit) => format!("status={digit}xx"),
        });
        let given: Vec<String> = [endpoint, method, status].into_iter().flatten().collect();
        if given.is_empty() { Ok(()) } else { write!(f, "{{{}}}", given.join(",")) }
    }
}

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (clock, of) = match self {
            Self::Count => return f.write_str("count"),
            Self::Failed => return f.write_str("failed"),
            Self::Rate => return f.write_str("rate"),
            Self::Time(clock, of) => (clock, of),
        };
        if *clock == TimeKind::Service {
            f.write_str("service.")?;
        }
        match of {
            Of::Percentile(per_mille) => write!(f, "p({})", f64::from(*per_mille) / 10.0),
            Of::Avg => f.write_str("avg"),
            Of::Max => f.write_str("max"),
            Of::Min => f.write_str("min"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.suffix)
    }
}

fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms > 0 && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
