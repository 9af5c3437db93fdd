//! The chains of one's own that a file names, for several scenarios: the tables `[[chain]]`.
//!
//! A scenario has one by its name in `steps`. The name is replaced by the steps when the file is read, so the plan, its
//! record and sessions have steps only.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use toml::de::{DeTable, DeValue};
use wec_chains::{Step, Steps};

use crate::settings::values::is_name;

/// The key of the tables.
pub(super) const KEY: &str = "chain";
/// The key of a scenario that may name one.
const STEPS: &str = "steps";

/// The named chains of a file, and what is wrong with them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NamedChains {
    /// Their steps by name.
    steps: BTreeMap<String, String>,
    /// The names that no scenario has, with their offsets.
    unused: BTreeMap<String, usize>,
    /// Errors, each with the offset of its place in the file.
    wrong: Vec<(usize, String)>,
}

impl NamedChains {
    /// Reads those of a file.
    pub(super) fn of(table: &DeTable<'_>) -> Self {
        let mut chains = Self::default();
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == KEY) else { return chains };
        let DeValue::Array(items) = value.get_ref() else {
            let form = "is not [[chain]] with name = \"…\" and steps = [\"order\", …]";
            chains.wrong.push((key.span().start, form.to_owned()));
            return chains;
        };
        for item in items.iter() {
            let place = item.span().start;
            match item.get_ref() {
                DeValue::Table(table) => chains.add(table, place),
                _ => chains.wrong.push((place, "is not a table with name and steps".to_owned())),
            }
        }
        chains
    }

    fn add(&mut self, table: &DeTable<'_>, place: usize) {
        let (mut name, mut steps) = (None, None);
        for (key, value) in table {
            let offset = key.span().start;
            match (key.get_ref().as_ref(), text_of(value.get_ref())) {
                ("name", Some(text)) => name = Some((offset, text)),
                ("steps", Some(text)) => steps = Some((offset, text)),
                ("name" | "steps", None) => {
                    self.wrong.push((offset, format!("{} is not text", key.get_ref())))
                }
                (other, _) => {
                    let message = format!("{other} is an unknown key of a chain; known are name and steps");
                    self.wrong.push((offset, message));
                }
            }
        }
        let (Some((at, name)), Some((at_steps, steps))) = (name, steps) else {
            self.wrong.push((place, "needs name = \"…\" and steps = [\"order\", …]".to_owned()));
            return;
        };
        if !is_name(&name) || name.parse::<Step>().is_ok() {
            let message = format!(
                "{name:?} is not a name of a chain: up to 40 letters, digits, hyphens and underscores, and not that of a step"
            );
            self.wrong.push((at, message));
        }
        if let Err(why) = Steps::from_str(&steps) {
            self.wrong.push((at_steps, why));
        }
        self.unused.insert(name.clone(), at);
        if self.steps.insert(name.clone(), steps).is_some() {
            self.wrong.push((at, format!("{name} was given before: give it once")));
        }
    }

    /// Notes a value of the file. A name counts as used also where a flag or a variable overrides it.
    pub(super) fn note(&mut self, key: &str, value: &str) {
        if is_steps(key) {
            self.unused.remove(value.trim());
        }
    }

    /// Replaces the names in the steps of scenarios. A chain that no scenario has is an error.
    pub(super) fn resolve<'a>(&mut self, values: impl Iterator<Item = (&'a String, &'a mut String)>) {
        for (key, value) in values {
            if is_steps(key)
                && let Some(steps) = self.steps.get(value.trim())
            {
                self.unused.remove(value.trim());
                value.clone_from(steps);
            }
        }
        let unused = std::mem::take(&mut self.unused).into_iter().map(|(name, at)| {
            (at, format!("no scenario has the chain {name}: name it, as in steps = \"{name}\""))
        });
        self.wrong.extend(unused);
    }

    /// All errors, each with the offset of its place in the file.
    pub(super) fn mistakes(self) -> Vec<(usize, String)> {
        self.wrong
    }
}

/// Whether a key is the steps of a scenario.
fn is_steps(key: &str) -> bool {
    key == STEPS || key.ends_with(".steps")
}

/// Text, or the comma-separated texts of a list.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| text_of(item.get_ref())).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NamedChains {
        NamedChains::of(DeTable::parse(text).unwrap().get_ref())
    }

    #[test]
    fn names_in_scenarios_are_replaced_by_steps() {
        let mut chains = read(
            "[[chain]]\nname = \"careful\"\nsteps = [\"order\", \"authorize\", \"wait 5s\", \"finalize\"]\n\
             [[chain]]\nname = \"quick\"\nsteps = \"order, authorize\"\n[[chain]]\nname = \"idle\"\nsteps = [\"wait 1s\"]\n",
        );
        assert_eq!(chains.wrong, []);
        let mut values = BTreeMap::from(
            [
                ("scenarios.a.steps", "careful"),
                ("scenarios.b.steps", "quick"),
                ("scenarios.c.steps", "order"),
                ("scenarios.c.name", "careful"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        chains.resolve(values.iter_mut());
        assert!(chains.wrong[0].1.starts_with("no scenario has the chain idle"), "{:?}", chains.wrong);
        let values: Vec<_> = values.into_values().collect();
        assert_eq!(values, ["order,authorize,wait 5s,finalize", "order, authorize", "careful", "order"]);
    }

    #[test]
    fn a_name_that_a_flag_overrides_is_used() {
        let mut chains = read("[[chain]]\nname = \"quick\"\nsteps = \"order, authorize\"\n");
        chains.note("scenarios.a.name", "quick");
        assert_eq!(chains.unused.len(), 1, "only steps name a chain");
        chains.note("steps", "quick");
        let mut values = BTreeMap::from([("steps".to_owned(), "order".to_owned())]);
        chains.resolve(values.iter_mut());
        assert_eq!(chains.wrong, []);
        assert_eq!(values["steps"], "order");
    }

    #[test]
    fn every_error_is_named() {
        for (text, expected) in [
            ("chain = \"x\"", "is not [[chain]]"),
            ("chain = [\"x\"]", "is not a table"),
            ("[[chain]]\nname = \"a\"", "needs name"),
            ("[[chain]]\nsteps = [\"order\"]", "needs name"),
            ("[[chain]]\nname = 5\nsteps = [\"order\"]", "name is not text"),
            ("[[chain]]\nname = \"order\"\nsteps = [\"order\"]", "is not a name of a chain"),
            ("[[chain]]\nname = \"a b\"\nsteps = [\"order\"]", "is not a name of a chain"),
            ("[[chain]]\nname = \"a\"\nsteps = [\"finalize\"]", "finalize must come after authorize"),
            ("[[chain]]\nname = \"a\"\nsteps = [\"order\"]\nweight = 3", "weight is an unknown key"),
            (
                "[[chain]]\nname = \"a\"\nsteps = [\"order\"]\n[[chain]]\nname = \"a\"\nsteps = [\"order\"]",
                "given before",
            ),
        ] {
            let wrong = read(text).wrong;
            assert!(wrong.iter().any(|(_, message)| message.contains(expected)), "{text}: {wrong:?}");
        }
    }
}
