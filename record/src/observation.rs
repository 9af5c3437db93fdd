//! `Observation`: metrics of another program, such as the CA, sampled beside the load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The source of the figures of a driven fleet: the load tester's own.
pub const FLEET_SOURCE: &str = "fleet";

/// The chosen series of one program at one moment, sampled once a second.
///
/// A series is named as in Prometheus, with its labels in the order of their names:
/// `http_requests_total{code="200"}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Observation {
    /// Wall clock in the middle of the request for it, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// The program's name: the one given, or host and port.
    pub source: String,
    /// Series with present values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gauges: BTreeMap<String, f64>,
    /// Series with totals, which grow until the program restarts. Readers compute rates.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, f64>,
    /// Series that were chosen and left out, because there were too many, or because their value was NaN or infinite.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
