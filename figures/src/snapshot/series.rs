//! Figures over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_record::{Chain, FailureClass};

use super::Snapshot;
use crate::schema;

/// Figures over time, as columns: the i-th entry of each belongs to `at_unix_s[i]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// Width of a bucket, seconds: 1, doubled whenever the run exceeds the bounded number of buckets.
    pub step_s: u64,
    /// True when the columns replace everything sent before; otherwise each entry replaces or adds its bucket.
    pub reset: bool,
    /// Start of each bucket, seconds since the Unix epoch, ascending.
    pub at_unix_s: Vec<u64>,
    /// Certificates issued in the bucket.
    #[serde(default)]
    pub issued: Vec<u64>,
    /// HTTP attempts that ended in the bucket. Divide by `step_s` for a rate.
    pub requests: Vec<u64>,
    /// Those of them that failed.
    pub requests_failed: Vec<u64>,
    /// Bytes sent in them: heads and bodies of requests. Divide by `step_s` for a rate.
    #[serde(default)]
    pub bytes_sent: Vec<u64>,
    /// Bytes received in them: bodies of answers.
    #[serde(default)]
    pub bytes_received: Vec<u64>,
    /// Validations that arrived.
    pub hits: Vec<u64>,
    /// Target number of workers; here and below null in buckets without a load sample.
    pub workers_target: Vec<Option<u64>>,
    /// Current number of workers.
    pub workers: Vec<Option<u64>>,
    /// Workers that are running an iteration.
    pub busy: Vec<Option<u64>>,
    /// Target rate of the scenarios with a rate of chains, chains per second.
    pub chains_target: Vec<Option<f64>>,
    /// Target rate of the scenarios with a rate of requests, requests per second.
    pub requests_target: Vec<Option<f64>>,
    /// 99th percentile of the scheduling lag, of as many samples and as long a time as that of a chain.
    pub lag_p99_ns: Vec<Option<u64>>,
    /// Largest scheduling lag.
    pub lag_max_ns: Vec<Option<u64>>,
    /// Accounts in the state store, by its last report in the bucket; here and in the next two null without one.
    #[serde(default)]
    pub registrations: Vec<Option<u64>>,
    /// Ready orders in it.
    #[serde(default)]
    pub authorizations: Vec<Option<u64>>,
    /// Certificates in it that are neither revoked nor replaced.
    #[serde(default)]
    pub certificates: Vec<Option<u64>>,
    /// Iterations that failed, by class. A class that is missing has none in these buckets.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Vec<u64>>)]
    pub classes: BTreeMap<FailureClass, Vec<u64>>,
    /// Every chain, also one without results.
    #[schema(schema_with = schema::every_chain::<ChainSeries>)]
    pub chains: BTreeMap<Chain, ChainSeries>,
}

impl Series {
    /// No changes of a series with buckets of this width.
    pub fn without_buckets(step_s: u64) -> Self {
        Self {
            step_s,
            reset: false,
            at_unix_s: Vec::new(),
            issued: Vec::new(),
            requests: Vec::new(),
            requests_failed: Vec::new(),
            bytes_sent: Vec::new(),
            bytes_received: Vec::new(),
            hits: Vec::new(),
            workers_target: Vec::new(),
            workers: Vec::new(),
            busy: Vec::new(),
            chains_target: Vec::new(),
            requests_target: Vec::new(),
            lag_p99_ns: Vec::new(),
            lag_max_ns: Vec::new(),
            registrations: Vec::new(),
            authorizations: Vec::new(),
            certificates: Vec::new(),
            classes: BTreeMap::new(),
            chains: Chain::ALL.into_iter().map(|chain| (chain, ChainSeries::default())).collect(),
        }
    }
}

/// The answer of `GET /api/v1/runs/{id}/window`: the figures of a part of a run that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WindowView {
    /// Its start, nanoseconds after the run's start.
    pub from_ns: u64,
    /// Its end, which is not part of it.
    pub to_ns: u64,
    /// The figures of the part, as `wec report --from --to` has them.
    pub snapshot: Snapshot,
    /// The figures over time, in buckets of one second.
    pub series: Series,
}

/// Percentiles of a chain's response times over time, as columns. To within 2 %; null with too few samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainPercentiles {
    /// Width of a bucket, seconds. Chains with few iterations have wider buckets.
    pub step_s: u64,
    /// Start of each bucket, seconds since the Unix epoch, ascending.
    pub at_unix_s: Vec<u64>,
    /// Samples: iterations that succeeded.
    pub n: Vec<u64>,
    /// Median.
    pub p50_ns: Vec<Option<u64>>,
    /// 95th percentile.
    pub p95_ns: Vec<Option<u64>>,
    /// 99th percentile.
    pub p99_ns: Vec<Option<u64>>,
}

/// One chain over time. Times are of successful iterations, in the bucket in which they ended.
///
/// A percentile is of the shortest time that ends with the bucket and has enough samples for it: 20, 200 or 1,000. It is
/// null if this is more than a minute (or, where a bucket is wider, more than the bucket), and in a silence in
/// which ten samples would have come. It is exact to within 2 %.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainSeries {
    /// Iterations that ended.
    pub count: Vec<u64>,
    /// Those of them that failed.
    pub failed: Vec<u64>,
    /// Mean response time; null when none succeeded.
    pub mean_ns: Vec<Option<u64>>,
    /// Median response time; needs 20 samples.
    pub p50_ns: Vec<Option<u64>>,
    /// 95th percentile; needs 200 samples.
    pub p95_ns: Vec<Option<u64>>,
    /// 99th percentile; needs 1,000 samples.
    #[serde(default)]
    pub p99_ns: Vec<Option<u64>>,
    /// Mean time of requests and connecting, which the CA and the network used; null when none succeeded
    /// or the records lack it.
    #[serde(default)]
    pub ca_mean_ns: Vec<Option<u64>>,
}
