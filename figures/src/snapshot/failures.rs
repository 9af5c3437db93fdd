//! What failed, by kind.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::FailureClass;

use crate::distribution::MOST;

/// One group of failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailureFigures {
    /// A failed chain or a failed request.
    pub scope: FailureScope,
    /// Name of the chain or the endpoint; `other` for those beyond the bounded table.
    pub name: String,
    /// The cause; null when the record does not have it.
    pub class: Option<FailureClass>,
    /// HTTP status; 0 when there was none.
    pub status: u16,
    /// Problem type without `urn:ietf:params:acme:error:`; may be empty.
    pub problem: String,
    /// Details of the class: the rate limit in a 429, or the kind of a wrong certificate. May be empty;
    /// `other` for those beyond the bounded table.
    #[serde(default)]
    pub detail: String,
    /// Number of failures.
    pub count: u64,
    /// When the first one ended, nanoseconds since the Unix epoch; 0 if its record has no time.
    #[serde(default)]
    pub first_unix_ns: u64,
    /// When the last one ended, nanoseconds since the Unix epoch.
    #[serde(default)]
    pub last_unix_ns: u64,
    /// The shortest wait that the CA asked for (Retry-After), nanoseconds; null if it asked for none.
    #[serde(default)]
    pub retry_after_min_ns: Option<u64>,
    /// The longest such wait.
    #[serde(default)]
    pub retry_after_max_ns: Option<u64>,
    /// How often the chain's next request to the same endpoint was sent no sooner than the CA had asked.
    #[serde(default)]
    pub retry_kept: u64,
    /// How often it was sent sooner. The other waits were not followed by such a request.
    #[serde(default)]
    pub retry_early: u64,
    /// When they happened. Empty if no record has a time in the run.
    #[serde(default)]
    pub trend: Trend,
    /// The message of the first failure.
    pub example: String,
    /// The CA's own id of that request, from the header that the plan gives; else empty.
    #[serde(default)]
    pub request_id: String,
    /// The `traceparent` that was sent with that request; empty if the run sends none.
    #[serde(default)]
    pub traceparent: String,
    /// The problem document of that request as it came, cut after 1,024 bytes; empty without one.
    #[serde(default)]
    pub document: String,
    /// The requester of the first failure.
    #[serde(default)]
    pub node: String,
    /// The number of its record among those of the requester.
    #[serde(default)]
    pub seq: u64,
}

/// How often something happened, over time, in at most 60 buckets.
///
/// Buckets are aligned to the Unix epoch, and their width is the smallest power of two with which all fit. So it does not
/// depend on the order of what it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trend {
    /// Width of a bucket, seconds.
    pub step_s: u64,
    /// Start of the first bucket, seconds since the Unix epoch; 0 without buckets.
    pub from_unix_s: u64,
    /// How often in each bucket.
    pub counts: Vec<u64>,
}

/// Buckets of a trend.
const MAX_TREND: u64 = 60;

impl Default for Trend {
    fn default() -> Self {
        Self { step_s: 1, from_unix_s: 0, counts: Vec::new() }
    }
}

impl Trend {
    /// One time, nanoseconds since the Unix epoch; none if it is not one of the run.
    pub(crate) fn of(at_unix_ns: Option<u64>) -> Self {
        let counted = |at| Self { step_s: 1, from_unix_s: at / 1_000_000_000, counts: vec![1] };
        at_unix_ns.map(counted).unwrap_or_default()
    }

    /// Adds what `other` has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            self.clone_from(other);
            return;
        }
        let within = self.from_unix_s <= other.from_unix_s && other.last_s() <= self.last_s();
        if !within || self.step_s < other.step_s {
            self.widen(other);
        }
        for (at, count) in (other.from_unix_s..).step_by(other.step_s as usize).zip(&other.counts) {
            self.counts[((at - self.from_unix_s) / self.step_s) as usize] += count;
        }
    }

    /// Makes room for the buckets of `other`.
    fn widen(&mut self, other: &Self) {
        let from = self.from_unix_s.min(other.from_unix_s);
        let to = self.last_s().max(other.last_s());
        let mut step = self.step_s.max(other.step_s);
        while to / step - from / step >= MAX_TREND {
            step *= 2;
        }
        let first = from / step;
        let mut counts = vec![0; (to / step - first + 1) as usize];
        for (at, count) in (self.from_unix_s..).step_by(self.step_s as usize).zip(&self.counts) {
            counts[(at / step - first) as usize] += count;
        }
        *self = Self { step_s: step, from_unix_s: first * step, counts };
    }

    /// Whether records can have made it.
    pub(crate) fn is_sound(&self) -> bool {
        let Self { step_s, from_unix_s, counts } = self;
        step_s.is_power_of_two()
            && *step_s <= 1 << 32
            && *from_unix_s <= 1 << 34
            && from_unix_s % step_s == 0
            && counts.len() as u64 <= MAX_TREND
            && counts.iter().all(|count| *count <= MOST)
    }

    /// The last second of the last bucket.
    fn last_s(&self) -> u64 {
        self.from_unix_s + self.step_s * self.counts.len() as u64 - 1
    }
}

/// The kind of a group of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureScope {
    /// Whole iterations.
    Chain,
    /// Single HTTP attempts.
    Request,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(seconds: &[u64]) -> Trend {
        let mut trend = Trend::default();
        seconds.iter().for_each(|second| trend.add(&Trend::of(Some(second * 1_000_000_000 + 5))));
        trend
    }

    #[test]
    fn a_trend_has_the_narrowest_buckets_that_fit_in_any_order() {
        let cases: [(&[u64], u64, u64, &[u64]); 4] = [
            (&[], 1, 0, &[]),
            (&[100, 102, 102], 1, 100, &[1, 0, 2]),
            (&[100, 159], 1, 100, &[1; 1]),
            (&[101, 160, 161], 2, 100, &[1; 1]),
        ];
        for (seconds, step, from, starts) in cases {
            let there = trend(seconds);
            assert_eq!((there.step_s, there.from_unix_s), (step, from), "{seconds:?}");
            assert!(there.counts.starts_with(starts), "{there:?}");
            assert_eq!(there.counts.iter().sum::<u64>(), seconds.len() as u64);
            let backwards: Vec<u64> = seconds.iter().rev().copied().collect();
            assert_eq!(trend(&backwards), there);
            assert!(there.is_sound());
        }
    }

    #[test]
    fn merged_trends_are_one_trend() {
        let all: Vec<u64> = (0..50).map(|n| 1_000 + n * n).collect();
        let (mut one, other) = (trend(&all[..20]), trend(&all[20..]));
        one.add(&other);
        assert_eq!(one, trend(&all));
        assert!(one.counts.len() <= 60 && one.step_s == 64, "{one:?}");
    }
}
