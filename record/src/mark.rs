//! `Mark`: a change of the load or of the load tester's condition: who made it, what changed, and the values
//! before and after.
//!
//! In JSON all four are strings. A string that this version does not know is kept, so that the log of a later
//! version can be read and written without loss.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A change of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(from = "Written", into = "Written")]
#[schema(as = Mark)]
pub struct Mark {
    /// Wall clock, nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// `page`, `cli`, `schedule`, `api`, `threshold`, `capacity`, `signal`, `generator`, `hook`.
    #[schema(value_type = String)]
    pub by: MarkBy,
    /// The name of the author's token; omitted without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// The scenario; empty for a change of the whole run.
    #[serde(default)]
    pub scenario: String,
    /// What changed: `workers`, `rate`, `weights`, `limits`, `state`, `generator`, `answers`, `warm-up`; `event` is one more
    /// event of a fleet, and `note` a mark from outside, whose text is the value after it; `gap` is the end of a time in which the parts of all nodes were
    /// less than the target, with how much in the value after it.
    #[schema(value_type = String)]
    pub what: MarkWhat,
    /// Value before.
    #[schema(value_type = String)]
    pub from: MarkValue,
    /// Value after.
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
                *value = MarkValue::Text(text);
            }
        }
        self
    }
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum MarkBy {
    /// The web page.
    Page,
    /// A command.
    Cli,
    /// The stages of the scenario, or the end of its time.
    Schedule,
    /// A program that uses the web API.
    Api,
    /// A threshold that ends the run when it fails.
    Threshold,
    /// A search for the CA's capacity.
    Capacity,
    /// A signal to the load tester, such as Ctrl-C.
    Signal,
    /// The load tester itself: it reports its own limits and a CA that does not answer.
    Generator,
    /// A command that the user gave with `--hook`.
    Hook,
    /// An author that this version does not know.
    #[strum(default)]
    Other(String),
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum MarkWhat {
    /// The number of workers of a scenario.
    Workers,
    /// A scenario's rate.
    Rate,
    /// The weights of chains.
    Weights,
    /// One more event of a fleet: its text is the value after it.
    Event,
    /// The limits on objects.
    Limits,
    /// Whether the run makes load.
    State,
    /// Whether the load tester keeps up.
    Generator,
    /// Whether the CA answers.
    Answers,
    /// Whether results are still left out of all figures.
    WarmUp,
    /// For some time the parts of all nodes were less than the target: the value after it has how much.
    Gap,
    /// Something outside the run: its text is the value after it.
    Note,
    /// A change that this version does not know.
    #[strum(default)]
    Other(String),
}

/// A value before or after a change. The variant depends on what changed. A text that does not parse as such
/// a value, or would be written differently, stays a text.
#[derive(Clone, Debug, PartialEq)]
pub enum MarkValue {
    /// Of [`MarkWhat::Workers`].
    Workers(u32),
    /// Of [`MarkWhat::Rate`], a second.
    Rate(f64),
    /// Of [`MarkWhat::Weights`] and [`MarkWhat::Limits`], by name: `revoke=0, refresh=2`.
    Pairs(Vec<(String, String)>),
    /// Of [`MarkWhat::State`].
    State(LoadState),
    /// Of [`MarkWhat::Gap`], as `300 of 500 chains missing for 12 s`. It ends at the mark's time.
    Gap(Gap),
    /// Any other text.
    Text(String),
}

/// A time in which the parts of all nodes were less than the target of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its length, whole seconds.
    pub seconds: u64,
    /// How many of `unit` no node had as its part.
    pub missing: u64,
    /// How many the target required in this time.
    pub required: u64,
    /// `chains` or `requests`.
    pub unit: String,
}

impl Gap {
    /// Reads what its `Display` writes.
    fn parse(text: &str) -> Option<Self> {
        let (missing, rest) = text.split_once(" of ")?;
        let (required, rest) = rest.split_once(' ')?;
        let (unit, rest) = rest.split_once(" missing for ")?;
        let seconds = rest.strip_suffix(" s")?;
        Some(Self {
            seconds: seconds.parse().ok()?,
            missing: missing.parse().ok()?,
            required: required.parse().ok()?,
            unit: unit.to_owned(),
        })
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, missing, required, unit } = self;
        write!(f, "{missing} of {required} {unit} missing for {seconds} s")
    }
}

/// Whether the run makes load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum LoadState {
    /// The run makes load.
    Running,
    /// No new chains start until the state is running again.
    Paused,
    /// No new chains start; running chains may finish.
    Stopped,
}

impl MarkValue {
    /// Parses the value of such a change.
    pub fn parse(what: &MarkWhat, text: &str) -> Self {
        let value = match what {
            MarkWhat::Workers => text.parse().ok().map(Self::Workers),
            MarkWhat::Rate => text.parse().ok().filter(|rate: &f64| rate.is_finite()).map(Self::Rate),
            MarkWhat::Weights | MarkWhat::Limits => {
                let pairs = text.split(", ").map(|pair| pair.split_once('='));
                let pairs = pairs.map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned())));
                pairs.collect::<Option<_>>().map(Self::Pairs)
            }
            MarkWhat::State => text.parse().ok().map(Self::State),
            MarkWhat::Gap => Gap::parse(text).map(Self::Gap),
            MarkWhat::Generator
            | MarkWhat::Answers
            | MarkWhat::WarmUp
            | MarkWhat::Event
            | MarkWhat::Note
            | MarkWhat::Other(_) => None,
        };
        value.filter(|value| value.to_string() == text).unwrap_or_else(|| Self::Text(text.to_owned()))
    }
}

impl Default for MarkValue {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl fmt::Display for MarkValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workers(workers) => workers.fmt(f),
            Self::Rate(rate) => rate.fmt(f),
            Self::Pairs(pairs) => pairs.iter().enumerate().try_for_each(|(place, (name, value))| {
                let comma = if place > 0 { ", " } else { "" };
                write!(f, "{comma}{name}={value}")
            }),
            Self::State(state) => state.fmt(f),
            Self::Gap(gap) => gap.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A mark as in JSON.
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
    fn each_kind_of_change_has_values_of_its_kind() {
        let pairs = |text: &[(&str, &str)]| {
            let pairs = text.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            MarkValue::Pairs(pairs.collect())
        };
        let cases = [
            ("workers", "50", MarkValue::Workers(50)),
            ("rate", "0.5", MarkValue::Rate(0.5)),
            ("weights", "revoke=0, refresh=2", pairs(&[("revoke", "0"), ("refresh", "2")])),
            ("limits", "certificates=none", pairs(&[("certificates", "none")])),
            ("state", "paused", MarkValue::State(LoadState::Paused)),
            ("generator", "keeps up", MarkValue::Text("keeps up".to_owned())),
            (
                "gap",
                "1200 of 6000 chains missing for 12 s",
                MarkValue::Gap(Gap {
                    seconds: 12,
                    missing: 1_200,
                    required: 6_000,
                    unit: "chains".to_owned(),
                }),
            ),
            ("gap", "some of 6000 chains missing", MarkValue::Text("some of 6000 chains missing".to_owned())),
            ("workers", "050", MarkValue::Text("050".to_owned())),
            ("workers", "many", MarkValue::Text("many".to_owned())),
            ("rate", "NaN", MarkValue::Text("NaN".to_owned())),
            ("state", "", MarkValue::default()),
            ("state", "melting", MarkValue::Text("melting".to_owned())),
        ];
        for (what, text, value) in cases {
            assert_eq!(read("page", what, "", text).to, value, "{what} {text}");
        }
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
    }

    proptest! {
        #[test]
        fn every_text_writes_the_same_again(
            by in "page|cli|generator|[a-z ]{0,8}", what in "workers|rate|weights|limits|state|answers|[a-z]{0,8}",
            value in "[0-9.e+-]{0,6}|running|stopped|([a-z]{0,3}=?[0-9]{0,2}(, )?){0,3}|.{0,12}",
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
