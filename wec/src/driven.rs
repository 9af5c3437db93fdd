//! The plan of a run whose load comes from elsewhere: from a log, or from a fleet.

use url::Url;
use wec_record::Chain;
use wec_requester::Plan;
use wec_requester::config::{Decided, Mistakes, Push, Settings};

use crate::run::resolve;

/// The keys of a load, which such a run does not take.
const LOAD: [&str; 15] = [
    "workers",
    "rate",
    "target_rps",
    "iterations",
    "fleet_certificates",
    "fleet_speed",
    "stages",
    "think_time",
    "executor",
    "rate_unit",
    "spacing",
    "start_at",
    "after",
    "weights",
    "warm_up",
];

/// Whether the source of the load sets this key; `more` are those that it sets beside the load.
pub(crate) fn sets(key: &str, more: &[&str]) -> bool {
    LOAD.contains(&key) || more.contains(&key)
}

/// The plan without its scenarios. Keys of a file that the source of the load sets are errors, with this `way_out`.
pub(crate) fn plan(
    mut settings: Settings,
    directory: Url,
    more: &[&str],
    way_out: &str,
) -> Result<Plan, Mistakes> {
    let weights = Chain::ALL.map(|chain| format!("weights.{chain}"));
    let keys: Vec<_> = LOAD.iter().chain(more).copied().chain(weights.iter().map(String::as_str)).collect();
    settings.refuse(&keys, |_| way_out.to_owned());
    let push = Push::Workers { workers: 1, stages: Vec::new() };
    resolve(settings, Decided { directory: Some(directory), push, ..Decided::default() })
}
