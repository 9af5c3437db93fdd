//! Makes a scenario from settings. Values that it does not have come from the plan's top level; a flag
//! applies to all scenarios.

use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

use wec_chains::{Choices, Connections, Mix, Networks, Steps, StopBefore};
use wec_record::plan::{Count, MAX_WEIGHT, Stage};
use wec_record::{Chain, ChallengeType};
use wec_store::ValidationFault;

use super::plain;
use crate::executor::{self, Load, OnFailure};
use crate::picker::Weights;
use crate::scenario::Scenario;
use crate::settings::Scope;
use crate::settings::values::{any_duration, any_share, duration};

/// What sets the load of scenarios.
#[derive(Clone, Debug, Default)]
pub enum Push {
    /// Flags, environment and file.
    #[default]
    Settings,
    /// The command: this number of workers. Keys that set the load are not read; the command
    /// [refuses](super::Settings::refuse) them.
    Workers {
        /// Workers at the start.
        workers: u32,
        /// Later changes of the number.
        stages: Vec<Stage>,
    },
    /// A search, which changes the rate during the run. Settings give the spacing of arrivals and the cap on
    /// workers.
    Searched {
        /// Longest time of the search.
        run_time: Duration,
    },
}

/// Reads one scenario; `name` is for messages.
pub(super) fn scenario(
    s: &mut Scope<'_>,
    name: &str,
    challenge_types: &Mix<ChallengeType>,
    push: &Push,
) -> Scenario {
    let load = match push {
        Push::Settings => executor::load(s),
        Push::Workers { workers, stages } => Load::of_workers(*workers, stages.clone()),
        Push::Searched { .. } => Load::of_search(s),
    };
    let weights = weights(s, load.fleet().is_some());
    let steps_given = s.is_given("steps");
    let steps = s.take("steps", Steps::from_str).unwrap_or_default();
    match (weights.of(Chain::Composed) > 0.0, steps.is_empty()) {
        // Steps that cannot be read have a mistake of their own.
        (true, true) if steps_given => {}
        (true, true) => s.mistake("steps", "the chain composed has a weight and no steps: give them"),
        (false, false) => s.mistake("steps", "the chain composed has no weight: give one, as in composed=1"),
        _ => {}
    }
    let stop_before = s.take("stop_before", StopBefore::from_str);
    if stop_before.is_some() {
        let weighty = Chain::ALL.into_iter().filter(|chain| weights.of(*chain) > 0.0);
        let (never, others): (Vec<_>, Vec<_>) = weighty.partition(|chain| chain.begins_with_finalize());
        if let (false, true) = (never.is_empty(), others.is_empty()) {
            let never = never.into_iter().map(Chain::name).collect::<Vec<_>>().join(", ");
            let message = format!(
                "a plan that stops before finalize never runs {never}, and no other chain has a weight"
            );
            s.mistake("stop_before", message);
        }
    }
    let staged: Duration = load.stages().iter().map(|stage| stage.duration.0).sum();
    let run_time = match push {
        Push::Searched { run_time } => Some(*run_time),
        Push::Settings | Push::Workers { .. } => s.take("run_time", duration),
    };
    let think_time = s.take("think_time", think_time);
    // A think time at the top level applies only to executors that support it.
    let searched = matches!(push, Push::Searched { .. });
    if !searched && think_time.is_some() && !load.thinks() && s.is_own("think_time") {
        let message = format!(
            "belongs to the executors {}: with {} the rate sets when iterations start",
            executor::thinking(),
            load.executor()
        );
        s.mistake("think_time", message);
    }
    let usual = Choices::default();
    let name_kinds = s.take("name_kinds", Mix::from_str).unwrap_or(usual.name_kinds);
    for kind in name_kinds.items() {
        if !challenge_types.items().any(|challenge| kind.challenge_types().contains(&challenge)) {
            let by = kind.challenge_types().iter().map(|challenge| challenge.name()).collect::<Vec<_>>();
            let message = format!("{kind} can be proven only by {}: give a listener for it", by.join(" or "));
            s.mistake("name_kinds", message);
        }
    }
    let fail_validations = s.take("fail_validations", any_share).unwrap_or_default();
    let validation_faults = s.take("validation_faults", Mix::from_str).unwrap_or(usual.validation_faults);
    let is_possible = |fault: ValidationFault| challenge_types.items().any(|kind| fault.is_possible(kind));
    if fail_validations > 0.0 && !validation_faults.items().any(is_possible) {
        let types: Vec<_> = challenge_types.items().map(ChallengeType::name).collect();
        let message = format!("none of these faults is possible with {}", types.join(" and "));
        s.mistake("validation_faults", message);
    }
    let revoke_by_other_account = s.take("revoke_by_other_account", any_share).unwrap_or_default();
    let by_key = usual.revoke_by_certificate_key.min(1.0 - revoke_by_other_account);
    let revoke_by_certificate_key = s.take("revoke_by_certificate_key", any_share).unwrap_or(by_key);
    if revoke_by_certificate_key + revoke_by_other_account > 1.0 + f64::EPSILON {
        let message = format!(
            "{} % of the revocations by another account and {} % by the certificate's key are more than all",
            revoke_by_other_account * 100.0,
            revoke_by_certificate_key * 100.0
        );
        s.mistake("revoke_by_other_account", message);
    }
    let choices = Choices {
        names: s.take("names_per_order", names_per_order).unwrap_or(usual.names),
        name_kinds,
        ip_networks: s.take("ip_networks", Networks::from_str).unwrap_or_default(),
        validity: s.take("validity", validity),
        challenges: challenge_types.clone(),
        fail_validations,
        validation_faults,
        key_types: s.take("key_types", Mix::from_str).unwrap_or(usual.key_types),
        account_key_types: s.take("account_key_types", Mix::from_str).unwrap_or(usual.account_key_types),
        connections: s.take("connections", Connections::from_str).unwrap_or_default(),
        behaviours: s.take("behaviours", Mix::from_str).unwrap_or(usual.behaviours),
        stop_before,
        profiles: s.take("profile", Mix::from_str).unwrap_or(usual.profiles),
        revocation_reasons: s.take("revoke_reasons", Mix::from_str).unwrap_or(usual.revocation_reasons),
        refusals: s.take("refusals", Mix::from_str).unwrap_or(usual.refusals),
        steps,
        revoke_by_certificate_key,
        revoke_by_other_account,
        plain: plain::of_scenario(s),
    };
    Scenario {
        name: name.to_owned(),
        start_at: s.take("start_at", any_duration).unwrap_or_default(),
        after: s.take("after", |text| Ok(text.to_owned())),
        run_time: run_time.unwrap_or(if staged.is_zero() { load.usual_run_time() } else { staged }),
        load,
        think_time,
        weights,
        choices,
        on_failure: s.take("on_failure", OnFailure::from_str).unwrap_or_default(),
    }
}

/// The weights of the chains. The clients of a fleet only renew.
fn weights(s: &mut Scope<'_>, of_fleet: bool) -> Weights {
    let mut weights = if of_fleet { Weights::only(Chain::Refresh) } else { Weights::default() };
    for chain in Chain::ALL {
        let key = format!("weights.{chain}");
        let Some(weight) = s.take(&key, weight) else { continue };
        if !of_fleet {
            weights.set(chain, weight);
        } else if (chain == Chain::Refresh) != (weight > 0.0) && s.is_own(&key) {
            s.mistake(&key, "the clients of a fleet renew certificates: they run refresh, and nothing else");
        }
    }
    if Chain::ALL.into_iter().all(|chain| weights.of(chain) == 0.0) {
        s.mistake("weights", "every chain has the weight 0, so no chain can run");
    }
    weights
}

fn weight(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(weight) if weight.is_finite() && (0.0..=MAX_WEIGHT).contains(&weight) => Ok(weight),
        _ => Err(format!("{value:?} is not a weight from 0 (never) to {MAX_WEIGHT}")),
    }
}

fn think_time(value: &str) -> Result<RangeInclusive<Duration>, String> {
    let (low, high) =
        value.split_once("..").map_or((value, value), |(low, high)| (low, high.trim_start_matches('=')));
    let (low, high) = (any_duration(low)?, any_duration(high)?);
    if low <= high {
        Ok(low..=high)
    } else {
        Err(format!("{value:?} has the longer time first: write it like 1s..5s"))
    }
}

fn names_per_order(value: &str) -> Result<Count, String> {
    let count: Count = value.parse()?;
    let (least, most) = (count.at(0.0), count.most());
    let has_none =
        matches!(&count, Count::Weighted(numbers) if numbers.iter().any(|(number, _)| *number == 0));
    if least == 0 || has_none || most > 100 {
        return Err(format!("{value:?} has numbers that an order cannot have: give 1 to 100"));
    }
    Ok(count)
}

/// Whole seconds, as certificates have them.
fn validity(value: &str) -> Result<Duration, String> {
    match duration(value)? {
        length if length.subsec_nanos() == 0 => Ok(length),
        _ => Err(format!("{value:?} is not a validity in whole seconds, as in 90d or 36h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_names_are_a_number_a_range_or_weights() {
        for text in ["1..1", "1..5", "1:70,2:20,10:9,100:1", "3:1"] {
            assert_eq!(names_per_order(text).unwrap().to_string(), text);
        }
        assert_eq!(names_per_order("7").unwrap(), (7..=7).into());
        for wrong in ["0", "5..2", "1..101", "0:1,2:1", "2:0", "2:-1", "x", "1:70,2", ""] {
            assert!(names_per_order(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn validities_are_whole_seconds() {
        assert_eq!(validity("90d"), Ok(Duration::from_secs(90 * 86_400)));
        for wrong in ["0s", "1500ms", "x"] {
            assert!(validity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn think_times_are_ranges() {
        let seconds = Duration::from_secs;
        assert_eq!(think_time("1s..3s"), Ok(seconds(1)..=seconds(3)));
        assert_eq!(think_time("2s"), Ok(seconds(2)..=seconds(2)));
        assert_eq!(think_time("0s..1s"), Ok(seconds(0)..=seconds(1)));
        assert!(think_time("3s..1s").unwrap_err().contains("has the longer time first"));
    }
}
