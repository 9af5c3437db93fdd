//! `Timing`: the figures of a distribution in summaries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// A distribution of times, nanoseconds. A percentile with fewer than 10 samples in its tail is null.
///
/// A key that ends in `_ci` has the ends of the percentile's 95 % confidence interval; null with the
/// percentile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    /// Number of samples.
    pub n: u64,
    /// Arithmetic mean; null without samples.
    pub mean: Option<u64>,
    /// Standard error of the mean; null below two samples.
    pub std_error: Option<u64>,
    /// Smallest, rounded down to three digits; null without samples.
    #[serde(default)]
    pub min: Option<u64>,
    /// Median; null below 20 samples.
    pub p50: Option<u64>,
    /// 95 % interval of `p50`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p50_ci: Option<[u64; 2]>,
    /// Null below 100 samples.
    pub p90: Option<u64>,
    /// 95 % interval of `p90`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p90_ci: Option<[u64; 2]>,
    /// Null below 200 samples.
    pub p95: Option<u64>,
    /// 95 % interval of `p95`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p95_ci: Option<[u64; 2]>,
    /// Null below 1,000 samples.
    pub p99: Option<u64>,
    /// 95 % interval of `p99`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p99_ci: Option<[u64; 2]>,
    /// The 99.9th; null below 10,000 samples.
    pub p99_9: Option<u64>,
    /// 95 % interval of `p99_9`.
    #[serde(default)]
    #[schema(schema_with = schema::interval)]
    pub p99_9_ci: Option<[u64; 2]>,
    /// Largest; null without samples.
    pub max: Option<u64>,
}
