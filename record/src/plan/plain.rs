//! Values of a plan that a run uses in the form in which they are recorded.
//!
//! A row of the requester's table of keys reads each of them; everything between that row and its user passes them
//! along as they are. In JSON they are keys of the plan, or of the scenario, like all others.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// Values of the whole plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanValues)]
pub struct PlainValues {
    /// How long challenge data stays after its authorization has become final.
    #[schema(value_type = String)]
    pub challenge_linger: Time,
    /// Time from the last start of an iteration to the interruption of running ones.
    #[schema(value_type = String)]
    pub graceful_stop: Time,
    /// The domain under which the run creates names.
    pub base_domain: String,
    /// Connections to the CA per runtime.
    pub max_connections: usize,
    /// Time limit of one request.
    #[schema(value_type = String)]
    pub request_timeout: Time,
    /// Whether a run limited by the load tester ends with its own exit code.
    pub strict: bool,
}

/// Values of a scenario. Shares are 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = PlanScenarioValues)]
pub struct PlainScenarioValues {
    /// Share of orders with the names of an earlier certificate.
    pub repeat_names: f64,
    /// Share of certification requests with a common name.
    pub common_name: f64,
    /// Share of new orders for which an account is registered first.
    pub new_account: f64,
    /// Share of new orders, and of the members of a fleet, that one and the same account has.
    pub largest_account: f64,
    /// Share of validations that take a detour: http-01 a redirect, dns-01 a CNAME.
    pub detours: f64,
    /// Share of new orders left unfinished on purpose.
    pub abandon: f64,
}
