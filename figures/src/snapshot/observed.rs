//! Metrics of other programs beside the load.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One observed series over the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObservedFigures {
    /// The name of the program.
    pub source: String,
    /// The series, as Prometheus names it; of a mean, without `_sum`.
    pub name: String,
    /// What the figures are of.
    pub measure: Measure,
    /// Number of samples in the figures below.
    pub samples: u64,
    /// Mean of the samples.
    pub mean: f64,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// Seconds of the run (buckets of a long run) with both a sample and an issuance.
    pub points: u64,
    /// Spearman's rank correlation, over these points, with the mean response time of issuances: -1 to 1. Null below
    /// 20 points, and when one of the two was constant. Moving with something is no proof of a cause.
    pub rank_correlation: Option<f64>,
}

impl ObservedFigures {
    /// Whether it moved with the response times: a rank correlation of 0.5 or more, up or down.
    pub fn moved(&self) -> bool {
        self.rank_correlation.is_some_and(|correlation| correlation.abs() >= 0.5)
    }

    /// Source and series in one text.
    pub fn full_name(&self) -> String {
        format!("{} {}", self.source, self.name)
    }
}

/// What is read from a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Its values.
    Value,
    /// The growth of a total per second.
    Rate,
    /// The growth of a sum by the growth of its count: the mean of what was measured in between.
    Mean,
}

impl Measure {
    /// In words.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Rate => "per second",
            Self::Mean => "mean",
        }
    }
}

/// The answer of `GET /api/v1/runs/{id}/observed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObservedOverTime {
    /// Every series, by source and name.
    pub series: Vec<ObservedSeries>,
}

/// One observed series over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObservedSeries {
    /// As in [`ObservedFigures`].
    pub source: String,
    /// As in [`ObservedFigures`].
    pub name: String,
    /// As in [`ObservedFigures`].
    pub measure: Measure,
    /// Width of a bucket, seconds. Each has its last sample.
    pub step_s: u64,
    /// Times of the samples, ascending.
    pub at_unix_ns: Vec<u64>,
    /// Their values.
    pub values: Vec<f64>,
}
