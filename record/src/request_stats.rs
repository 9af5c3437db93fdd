//! `RequestStats`: the figures of a run in the shape of Locust's `requestStats`. Times are in milliseconds.

use serde::Serialize;

/// The figures of a run so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RequestStats {
    /// One entry for each endpoint.
    pub stats: Vec<EndpointStats>,
    /// Errors, grouped.
    pub errors: Vec<ErrorStats>,
    /// Requests per second; null if it is not known, as the next ones.
    pub total_rps: Option<f64>,
    /// Failed requests as a share of all, 0 to 1.
    pub fail_ratio: Option<f64>,
    /// `running`, `stopped` or another state of the load generator.
    pub state: String,
    /// Virtual users.
    pub user_count: Option<u64>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EndpointStats {
    /// HTTP method.
    pub method: String,
    /// The endpoint's name.
    pub name: String,
    /// Requests.
    pub num_requests: u64,
    /// Those of them that failed.
    pub num_failures: u64,
    /// Mean response time; null without samples, as the next three.
    pub avg_response_time: Option<f64>,
    /// Shortest response time.
    pub min_response_time: Option<f64>,
    /// Longest response time.
    pub max_response_time: Option<f64>,
    /// Median response time.
    pub median_response_time: Option<f64>,
    /// Requests per second in the latest interval.
    pub current_rps: f64,
    /// Mean length of the answers' bodies, bytes.
    pub avg_content_length: Option<f64>,
}

/// One group of errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ErrorStats {
    /// HTTP method.
    pub method: String,
    /// The endpoint's name.
    pub name: String,
    /// The error.
    pub error: String,
    /// How often it occurred.
    pub occurrences: u64,
}

impl RequestStats {
    /// Locust adds an entry for the sum of the others.
    pub fn sum(&self) -> Option<&EndpointStats> {
        self.stats.iter().find(|entry| entry.is_sum())
    }

    /// The entries without the sum.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointStats> {
        self.stats.iter().filter(|entry| !entry.is_sum())
    }

    /// Requests, and those of them that failed.
    pub fn requests(&self) -> (u64, u64) {
        if let Some(sum) = self.sum() {
            return (sum.num_requests, sum.num_failures);
        }
        self.endpoints().fold((0, 0), |(requests, failures), entry| {
            (requests.saturating_add(entry.num_requests), failures.saturating_add(entry.num_failures))
        })
    }
}

impl EndpointStats {
    /// Locust 1 and later name the sum `Aggregated`, earlier ones `Total`; it has no method.
    fn is_sum(&self) -> bool {
        self.method.is_empty() && matches!(self.name.as_str(), "Aggregated" | "Total")
    }
}
