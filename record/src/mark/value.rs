//! `MarkWhat` and `MarkValue`: what changed, and the value before or after it.
//!
//! In a log it is a text, which is read as the value that it is and written in the same way. In the API it is a
//! value with its kind.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use crate::LimitKind;
use crate::open_set::open_set;

open_set! {
    /// What changed.
    MarkWhat, "MarkWhat" {
        /// The number of workers of a scenario.
        Workers = "workers",
        /// A scenario's rate.
        Rate = "rate",
        /// The weights of chains.
        Weights = "weights",
        /// One more event of a fleet: its text is the value after it.
        Event = "event",
        /// The limits on objects.
        Limits = "limits",
        /// Whether the run makes load.
        State = "state",
        /// Whether the load tester keeps up.
        Generator = "generator",
        /// Whether the CA answers.
        Answers = "answers",
        /// Whether results are still left out of all figures.
        WarmUp = "warm-up",
        /// For some time the parts of all nodes were less than the target: the value after it has how much.
        Gap = "gap",
        /// Something outside the run: its text is the value after it.
        Note = "note",
    }
}

/// A value before or after a change. The kind depends on what changed. A text that does not parse as such
/// a value, or would be written differently, stays a text.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub enum MarkValue {
    /// A number of workers.
    Workers(u32),
    /// A rate, a second.
    Rate(f64),
    /// Weights of chains: `revoke=0, refresh=2`.
    Weights(Vec<MarkedWeight>),
    /// Limits on objects: `certificates=500`.
    Limits(Vec<MarkedLimit>),
    /// Whether the run makes load.
    State(LoadState),
    /// Whether the load tester keeps up with its schedule.
    Generator(KeepingUp),
    /// Whether the CA answers.
    Answers(Answers),
    /// Whether the warm-up is over.
    WarmUp(WarmUp),
    /// What no node had as its part, as `300 of 500 chains missing for 12 s`. It ends at the mark's time.
    Gap(Gap),
    /// A text: an event, a note, a value of a later version, or no value if it is empty.
    Text(String),
}

/// The weight of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MarkedWeight {
    /// The chain.
    pub chain: String,
    /// Its weight; null if it has that of the start of the run.
    pub weight: Option<f64>,
}

/// The limit on objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MarkedLimit {
    /// `registrations`, `authorizations` or `certificates`.
    pub objects: String,
    /// How many the run may make; null without a limit.
    pub limit: Option<u64>,
}

/// Whether the run makes load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, strum::Display, strum::EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum LoadState {
    /// The run makes load.
    Running,
    /// No new chains start until the state is running again.
    Paused,
    /// No new chains start; running chains may finish.
    Stopped,
}

/// Whether the load tester keeps up with its schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum KeepingUp {
    /// It does.
    KeepsUp,
    /// It does not: it limits the run.
    Limited {
        /// The bounds that are exceeded; empty for those of before.
        by: Vec<LimitKind>,
    },
}

/// Whether the CA answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Answers {
    /// Answers come.
    Come,
    /// No answers came.
    None,
    /// No answer has come to any request of a node.
    NoneFor {
        /// Since when, whole seconds.
        seconds: u64,
        /// Its requests that wait for an answer.
        in_flight: u64,
    },
}

/// Whether results are still left out of all figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, strum::Display, strum::EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum WarmUp {
    /// They are left out.
    Running,
    /// They count.
    Ended,
}

/// A time in which the parts of all nodes were less than the target of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gap {
    /// Its length, whole seconds.
    pub seconds: u64,
    /// How many of `unit` no node had as its part; of workers, on average.
    pub missing: u64,
    /// How many the target required in this time; of workers, on average.
    pub required: u64,
    /// `chains`, `requests` or `workers`.
    pub unit: String,
}

impl MarkValue {
    /// Parses the value of such a change.
    pub fn parse(what: &MarkWhat, text: &str) -> Self {
        let value = match what {
            MarkWhat::Workers => text.parse().ok().map(Self::Workers),
            MarkWhat::Rate => text.parse().ok().filter(|rate: &f64| rate.is_finite()).map(Self::Rate),
            MarkWhat::Weights => pairs(text, MarkedWeight::parse).map(Self::Weights),
            MarkWhat::Limits => pairs(text, MarkedLimit::parse).map(Self::Limits),
            MarkWhat::State => text.parse().ok().map(Self::State),
            MarkWhat::Generator => KeepingUp::parse(text).map(Self::Generator),
            MarkWhat::Answers => Answers::parse(text).map(Self::Answers),
            MarkWhat::WarmUp => text.parse().ok().map(Self::WarmUp),
            MarkWhat::Gap => Gap::parse(text).map(Self::Gap),
            MarkWhat::Event | MarkWhat::Note | MarkWhat::Other(_) => None,
        };
        value.filter(|value| value.to_string() == text).unwrap_or_else(|| Self::Text(text.to_owned()))
    }
}

impl Default for MarkValue {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// As in a log.
impl fmt::Display for MarkValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workers(workers) => workers.fmt(f),
            Self::Rate(rate) => rate.fmt(f),
            Self::Weights(weights) => listed(weights, f),
            Self::Limits(limits) => listed(limits, f),
            Self::State(state) => state.fmt(f),
            Self::Generator(generator) => generator.fmt(f),
            Self::Answers(answers) => answers.fmt(f),
            Self::WarmUp(warm_up) => warm_up.fmt(f),
            Self::Gap(gap) => gap.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The values of a text such as `revoke=0, refresh=2`, if all of them can be read.
fn pairs<T>(text: &str, read: fn(&str, &str) -> Option<T>) -> Option<Vec<T>> {
    text.split(", ").map(|pair| pair.split_once('=').and_then(|(name, value)| read(name, value))).collect()
}

fn listed(values: &[impl fmt::Display], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    values.iter().enumerate().try_for_each(|(place, value)| {
        let comma = if place > 0 { ", " } else { "" };
        write!(f, "{comma}{value}")
    })
}

impl MarkedWeight {
    /// The text of a weight.
    pub fn shown(&self) -> String {
        self.weight.map_or_else(|| "unset".to_owned(), |weight| weight.to_string())
    }

    fn parse(chain: &str, weight: &str) -> Option<Self> {
        let weight =
            if weight == "unset" { None } else { Some(weight.parse().ok().filter(|w: &f64| w.is_finite())?) };
        Some(Self { chain: chain.to_owned(), weight })
    }
}

impl fmt::Display for MarkedWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.chain, self.shown())
    }
}

impl MarkedLimit {
    /// The text of a limit.
    pub fn shown(&self) -> String {
        self.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
    }

    fn parse(objects: &str, limit: &str) -> Option<Self> {
        let limit = if limit == "none" { None } else { Some(limit.parse().ok()?) };
        Some(Self { objects: objects.to_owned(), limit })
    }
}

impl fmt::Display for MarkedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.objects, self.shown())
    }
}

impl KeepingUp {
    fn parse(text: &str) -> Option<Self> {
        let kind = |name: &str| LimitKind::ALL.into_iter().find(|kind| kind.name() == name);
        match text {
            "keeps up" => Some(Self::KeepsUp),
            "limited" => Some(Self::Limited { by: Vec::new() }),
            _ => {
                let by = text.strip_prefix("limited by ")?.split(", ").map(kind).collect::<Option<_>>()?;
                Some(Self::Limited { by })
            }
        }
    }
}

impl fmt::Display for KeepingUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepsUp => f.write_str("keeps up"),
            Self::Limited { by } if by.is_empty() => f.write_str("limited"),
            Self::Limited { by } => {
                f.write_str("limited by ")?;
                listed(by, f)
            }
        }
    }
}

impl Answers {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "come" => Some(Self::Come),
            "none" => Some(Self::None),
            _ => {
                let (seconds, rest) = text.strip_prefix("none for ")?.split_once(" s, ")?;
                let in_flight = rest.strip_suffix(" requests in flight")?;
                Some(Self::NoneFor { seconds: seconds.parse().ok()?, in_flight: in_flight.parse().ok()? })
            }
        }
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Come => f.write_str("come"),
            Self::None => f.write_str("none"),
            Self::NoneFor { seconds, in_flight } => {
                write!(f, "none for {seconds} s, {in_flight} requests in flight")
            }
        }
    }
}

impl Gap {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_change_has_values_of_its_kind() {
        let weight = |chain: &str, weight| MarkedWeight { chain: chain.to_owned(), weight };
        let limit =
            |limit| MarkValue::Limits(vec![MarkedLimit { objects: "certificates".to_owned(), limit }]);
        let limited = |by: &[LimitKind]| MarkValue::Generator(KeepingUp::Limited { by: by.to_vec() });
        let gap = Gap { seconds: 12, missing: 1_200, required: 6_000, unit: "chains".to_owned() };
        let text = |text: &str| MarkValue::Text(text.to_owned());
        let cases = [
            ("workers", "50", MarkValue::Workers(50)),
            ("workers", "050", text("050")),
            ("workers", "many", text("many")),
            ("rate", "0.5", MarkValue::Rate(0.5)),
            ("rate", "NaN", text("NaN")),
            (
                "weights",
                "revoke=0, refresh=2.5, certificate=unset",
                MarkValue::Weights(vec![
                    weight("revoke", Some(0.0)),
                    weight("refresh", Some(2.5)),
                    weight("certificate", None),
                ]),
            ),
            ("weights", "revoke=0, refresh", text("revoke=0, refresh")),
            ("weights", "revoke=inf", text("revoke=inf")),
            ("limits", "certificates=none", limit(None)),
            ("limits", "certificates=7", limit(Some(7))),
            ("limits", "certificates=07", text("certificates=07")),
            ("state", "paused", MarkValue::State(LoadState::Paused)),
            ("state", "", MarkValue::default()),
            ("state", "melting", text("melting")),
            ("generator", "keeps up", MarkValue::Generator(KeepingUp::KeepsUp)),
            ("generator", "limited", limited(&[])),
            (
                "generator",
                "limited by lag, local-refusals",
                limited(&[LimitKind::Lag, LimitKind::LocalRefusals]),
            ),
            ("generator", "limited by moonlight", text("limited by moonlight")),
            ("generator", "limited by ", text("limited by ")),
            ("answers", "come", MarkValue::Answers(Answers::Come)),
            ("answers", "none", MarkValue::Answers(Answers::None)),
            (
                "answers",
                "none for 10 s, 4 requests in flight",
                MarkValue::Answers(Answers::NoneFor { seconds: 10, in_flight: 4 }),
            ),
            ("answers", "none for long", text("none for long")),
            ("warm-up", "ended", MarkValue::WarmUp(WarmUp::Ended)),
            ("gap", "1200 of 6000 chains missing for 12 s", MarkValue::Gap(gap)),
            ("gap", "some of 6000 chains missing", text("some of 6000 chains missing")),
            ("note", "5", text("5")),
        ];
        for (what, written, value) in cases {
            let read = MarkValue::parse(&MarkWhat::from(what), written);
            assert_eq!(read, value, "{what} {written}");
            assert_eq!(read.to_string(), written);
        }
    }

    #[test]
    fn a_value_in_the_api_has_its_kind() {
        let cases = [
            ("workers", "50", serde_json::json!({ "kind": "workers", "value": 50 })),
            (
                "generator",
                "limited by cpu",
                serde_json::json!({ "kind": "generator", "value": { "state": "limited", "by": ["cpu"] } }),
            ),
            (
                "answers",
                "none for 9 s, 1 requests in flight",
                serde_json::json!({ "kind": "answers", "value": { "state": "none-for", "seconds": 9, "in_flight": 1 } }),
            ),
            (
                "limits",
                "certificates=none",
                serde_json::json!({ "kind": "limits", "value": [{ "objects": "certificates", "limit": null }] }),
            ),
            ("weather", "rain", serde_json::json!({ "kind": "text", "value": "rain" })),
        ];
        for (what, written, json) in cases {
            let value = MarkValue::parse(&MarkWhat::from(what), written);
            assert_eq!(serde_json::to_value(value).unwrap(), json);
        }
    }
}
