//! Reads the values that rows of the table of keys describe completely: how they are read, and where the plan has them.

use wec_record::plan::{PlainScenarioValues, PlainValues};

use super::keys::KEYS;
use crate::settings::{Reads, Scope, Settings};

/// The values of the plan.
pub(super) fn of_plan(s: &mut Settings) -> PlainValues {
    let mut values = PlainValues::default();
    for key in KEYS.iter() {
        if let Reads::Plan { usual, read } = key.reads {
            read(&mut values, usual).expect("a test reads the usual text of every row");
            s.take(key.name, |text| read(&mut values, text));
        }
    }
    values
}

/// The values of a scenario.
pub(super) fn of_scenario(s: &mut Scope<'_>) -> PlainScenarioValues {
    let mut values = PlainScenarioValues::default();
    for key in KEYS.iter() {
        if let Reads::Scenario { usual, read } = key.reads {
            read(&mut values, usual).expect("a test reads the usual text of every row");
            s.take(key.name, |text| read(&mut values, text));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Texts of which each row reads at least one that is not its usual value.
    const TEXTS: [&str; 5] = ["7s", "7", "true", "7%", "seven.test"];

    fn of_plan(values: &PlainValues) -> Value {
        serde_json::to_value(values).unwrap()
    }

    fn of_scenario(values: &PlainScenarioValues) -> Value {
        serde_json::to_value(values).unwrap()
    }

    /// The keys of the JSON that differ when a row has read a text that is not its usual one.
    fn set_by<V: Default>(
        (name, usual): (&str, &str),
        read: fn(&mut V, &str) -> Result<(), String>,
        json: fn(&V) -> Value,
    ) -> Vec<String> {
        let with = |text: &str| {
            let mut values = V::default();
            read(&mut values, text).ok().map(|()| json(&values))
        };
        let usual = with(usual).unwrap_or_else(|| panic!("{name} does not read its usual text {usual:?}"));
        let other = TEXTS.into_iter().filter_map(with).find(|values| *values != usual);
        let other =
            other.unwrap_or_else(|| panic!("{name} reads none of {TEXTS:?}: add a text that it reads"));
        keys_of(&usual).into_iter().filter(|key| usual[key] != other[key]).collect()
    }

    fn keys_of(values: &Value) -> BTreeSet<String> {
        values.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_help_of_every_row_has_its_usual_text() {
        for key in KEYS.iter() {
            let usual = match key.reads {
                Reads::Elsewhere => continue,
                Reads::Plan { usual, .. } | Reads::Scenario { usual, .. } => usual,
            };
            let default = key.help.rsplit_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'));
            let is_right = match usual {
                // Off, or a rule in words.
                "0" => default.is_some_and(|words| !words.contains(char::is_numeric)),
                "false" => default.is_none(),
                text => default == Some(text),
            };
            assert!(is_right, "the help of {} has the default {default:?}, its row {usual:?}", key.name);
        }
    }

    #[test]
    fn every_value_has_a_row_of_its_name_and_every_row_its_value() {
        let (mut in_plan, mut in_scenario) = (BTreeSet::new(), BTreeSet::new());
        for key in KEYS.iter() {
            let set = match key.reads {
                Reads::Elsewhere => continue,
                Reads::Plan { usual, read } => {
                    in_plan.insert(key.name.to_owned());
                    set_by((key.name, usual), read, of_plan)
                }
                Reads::Scenario { usual, read } => {
                    in_scenario.insert(key.name.to_owned());
                    set_by((key.name, usual), read, of_scenario)
                }
            };
            assert_eq!(set, [key.name], "the row must set the value of its name, and no other");
        }
        let (plan, scenario) = (PlainValues::default(), PlainScenarioValues::default());
        let missing = "a value without a row in keys.rs is never set";
        assert_eq!(keys_of(&of_plan(&plan)), in_plan, "{missing}");
        assert_eq!(keys_of(&of_scenario(&scenario)), in_scenario, "{missing}");
    }
}
