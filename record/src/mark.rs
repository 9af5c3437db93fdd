//! `Mark`: a change of the load or of the load tester's condition: who made it, what changed, and the values
//! before and after.
//!
//! In a log all four are strings. A string that this version does not know is kept, so that the log of a later
//! version can be read and written without loss. In the API the values have their kinds, too: [`MarkView`].

mod value;

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

pub use self::value::{
    Answers, Gap, KeepingUp, LoadState, MarkValue, MarkWhat, MarkedLimit, MarkedWeight, WarmUp,
};
use crate::open_set::open_set;

/// A change of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(from = "Written", into = "Written")]
#[schema(as = Mark)]
pub struct Mark {
    /// Wall clock, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// Who made it.
    pub by: MarkBy,
    /// The name of the author's token; omitted without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// The scenario; empty for a change of the whole run.
    #[serde(default)]
    pub scenario: String,
    /// What changed.
    pub what: MarkWhat,
    /// Value before, as text.
    #[schema(value_type = String)]
    pub from: MarkValue,
    /// Value after, as text.
    #[schema(value_type = String)]
    pub to: MarkValue,
}

impl Mark {
    /// A change of the whole run whose earlier value is not known yet.
    pub fn new(at_unix_ns: u64, by: MarkBy, what: MarkWhat, to: MarkValue) -> Self {
        Self {
            at_unix_ns,
            by,
            who: String::new(),
            scenario: String::new(),
            what,
            from: MarkValue::default(),
            to,
        }
    }

    /// The run's new load state, if the load state changed.
    pub fn new_state(&self) -> Option<LoadState> {
        match (&self.what, &self.to) {
            (MarkWhat::State, MarkValue::State(state)) => Some(*state),
            _ => None,
        }
    }

    /// The same mark, each text cut to `characters`.
    #[must_use]
    pub fn shortened(mut self, characters: usize) -> Self {
        let shorten = |text: &mut String| {
            if let Some((end, _)) = text.char_indices().nth(characters) {
                text.truncate(end);
            }
        };
        shorten(&mut self.scenario);
        shorten(&mut self.who);
        if let MarkBy::Other(text) = &mut self.by {
            shorten(text);
        }
        if let MarkWhat::Other(text) = &mut self.what {
            shorten(text);
        }
        for value in [&mut self.from, &mut self.to] {
            let mut text = value.to_string();
            if text.chars().count() > characters {
                shorten(&mut text);
                // A list keeps the values that are whole.
                let whole = text.rfind(", ").map_or(&*text, |end| &text[..end]);
                let kept = MarkValue::parse(&self.what, whole);
                *value = if let MarkValue::Text(_) = kept { MarkValue::Text(text) } else { kept };
            }
        }
        self
    }
}

open_set! {
    /// Who made a change.
    MarkBy, "MarkBy" {
        /// The web page.
        Page = "page",
        /// A command.
        Cli = "cli",
        /// The stages of the scenario, or the end of its time.
        Schedule = "schedule",
        /// A program that uses the web API.
        Api = "api",
        /// A threshold that ends the run when it fails.
        Threshold = "threshold",
        /// A search for the CA's capacity.
        Capacity = "capacity",
        /// A signal to the load tester, such as Ctrl-C.
        Signal = "signal",
        /// The load tester itself: it reports its own limits and a CA that does not answer.
        Generator = "generator",
        /// A command that the user gave with `--hook`.
        Hook = "hook",
    }
}

/// A mark as the API and the summary have it: its values have their kinds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MarkView {
    #[serde(flatten)]
    mark: Mark,
    /// Value before.
    before: MarkValue,
    /// Value after.
    after: MarkValue,
}

impl From<Mark> for MarkView {
    fn from(mark: Mark) -> Self {
        Self { before: mark.from.clone(), after: mark.to.clone(), mark }
    }
}

/// Writes marks as the API has them. They are read as [`Mark`]s: the values follow from their texts.
///
/// # Errors
/// Those of the serializer.
pub fn write_mark_views<S: Serializer>(marks: &[Mark], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(marks.iter().cloned().map(MarkView::from))
}

/// A mark as in a log.
#[derive(Serialize, Deserialize)]
struct Written {
    at_unix_ns: u64,
    by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    who: String,
    #[serde(default)]
    scenario: String,
    what: String,
    from: String,
    to: String,
}

impl From<Written> for Mark {
    fn from(written: Written) -> Self {
        let Written { at_unix_ns, by, who, scenario, what, from, to } = written;
        let what = MarkWhat::from(what.as_str());
        let (from, to) = (MarkValue::parse(&what, &from), MarkValue::parse(&what, &to));
        Self { at_unix_ns, by: MarkBy::from(by.as_str()), who, scenario, what, from, to }
    }
}

impl From<Mark> for Written {
    fn from(mark: Mark) -> Self {
        let Mark { at_unix_ns, by, who, scenario, what, from, to } = mark;
        let (by, what) = (by.to_string(), what.to_string());
        Self { at_unix_ns, by, who, scenario, what, from: from.to_string(), to: to.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(by: &str, what: &str, from: &str, to: &str) -> Mark {
        let json = serde_json::json!({ "at_unix_ns": 7, "by": by, "what": what, "from": from, "to": to });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_mark_of_the_api_is_that_of_the_log_and_its_values() {
        let mark = read("cli", "workers", "5", "8");
        let view = serde_json::to_value(MarkView::from(mark.clone())).unwrap();
        let values = serde_json::json!({
            "at_unix_ns": 7, "by": "cli", "scenario": "", "what": "workers", "from": "5", "to": "8",
            "before": { "kind": "workers", "value": 5 }, "after": { "kind": "workers", "value": 8 },
        });
        assert_eq!(view, values);
        assert_eq!(serde_json::from_value::<Mark>(view).unwrap(), mark);
    }

    #[test]
    fn what_this_version_does_not_know_is_carried_as_text() {
        let mark = read("oracle", "weather", "sun", "rain");
        assert_eq!(mark.by, MarkBy::Other("oracle".to_owned()));
        assert_eq!(mark.what, MarkWhat::Other("weather".to_owned()));
        let json = serde_json::to_string(&mark).unwrap();
        assert_eq!(
            json,
            r#"{"at_unix_ns":7,"by":"oracle","scenario":"","what":"weather","from":"sun","to":"rain"}"#
        );
    }

    #[test]
    fn long_texts_are_shortened_and_values_stay_values() {
        let long = "é".repeat(400);
        let mark = read(&long, &long, &long, "x").shortened(300);
        assert_eq!(mark.by.to_string().chars().count(), 300);
        assert_eq!(mark.what.to_string().chars().count(), 300);
        assert_eq!(mark.from.to_string().chars().count(), 300);
        assert_eq!(read("cli", "workers", "1", "2").shortened(3).to, MarkValue::Workers(2));
        let weights = read("cli", "weights", "", "revoke=0, refresh=25").shortened(18);
        assert_eq!(
            (weights.to.to_string().as_str(), matches!(weights.to, MarkValue::Weights(_))),
            ("revoke=0", true)
        );
    }

    proptest! {
        #[test]
        fn every_text_writes_the_same_again(
            by in "page|cli|generator|[a-z ]{0,8}", what in "workers|rate|weights|limits|state|generator|answers|warm-up|gap|[a-z]{0,8}",
            value in "[0-9.e+-]{0,6}|running|stopped|limited( by [a-z, -]{0,6})?|none for [0-9]{0,3} s, [0-9] requests in flight|([a-z]{0,3}=?[0-9]{0,2}(, )?){0,3}|.{0,12}",
        ) {
            let mark = read(&by, &what, &value, &value);
            let json = serde_json::to_value(&mark).unwrap();
            prop_assert_eq!(&json["by"], &by);
            prop_assert_eq!(&json["what"], &what);
            prop_assert_eq!(&json["to"], &value);
            prop_assert_eq!(serde_json::from_value::<Mark>(json).unwrap(), mark);
        }
    }
}
