//! One load of a run: which executor starts iterations, how hard, and what its users do.
//!
//! A plan has one scenario or several, side by side or one after the other. What a scenario does not say itself it takes
//! from the plan's top level; a flag holds for all of them.

use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

use serde::Serialize;
use wec_acme::KeyType;
use wec_chains::{Connections, Mix, StopBefore};
use wec_record::{Chain, ChallengeType};

use crate::executor::Unit;
use crate::pace::Ramp;
use crate::picker::Weights;
use crate::settings::Scope;
use crate::values::{any_duration, duration, whole};

/// The most workers of one scenario.
pub(crate) const MAX_WORKERS: u32 = 1_000_000;
/// The highest rate, per second.
const MAX_RATE: f64 = 1e6;
/// How many workers an executor that keeps a rate may use unless told otherwise.
const WORKERS_CAP: u32 = 1_000;

/// Every key of a scenario. At a plan's top level they are what scenarios do not say themselves.
pub const SCENARIO_KEYS: &[&str] = &[
    "executor",
    "workers",
    "stages",
    "rate",
    "rate_unit",
    "spacing",
    "target_rps",
    "iterations",
    "run_time",
    "start_at",
    "after",
    "think_time",
    "weights.registration",
    "weights.authorization",
    "weights.certificate",
    "weights.refresh",
    "weights.revoke",
    "names_per_order",
    "key_types",
    "connections",
    "abandon",
    "stop_before",
];

/// One load of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Unique in the plan.
    pub name: String,
    /// When it starts: so long after the run's start, or after the end of `after`.
    #[serde(serialize_with = "as_people_write")]
    pub start_at: Duration,
    /// The scenario whose end it waits for.
    pub after: Option<String>,
    /// From its start to its last iteration's start, at most; pauses not counted.
    #[serde(serialize_with = "as_people_write")]
    pub run_time: Duration,
    /// Who starts iterations, and when.
    #[serde(flatten)]
    pub load: Load,
    /// Between two iterations of one worker, with an executor that keeps workers.
    #[serde(serialize_with = "as_times")]
    pub think_time: Option<RangeInclusive<Duration>>,
    /// How the picker weighs chains.
    pub weights: Weights,
    /// Names in an order.
    #[serde(serialize_with = "as_range")]
    pub names_per_order: RangeInclusive<u32>,
    /// Challenge types that chains may choose.
    #[serde(serialize_with = "as_text")]
    pub challenge_types: Mix<ChallengeType>,
    /// What the certificates' keys are made of.
    #[serde(serialize_with = "as_text")]
    pub key_types: Mix<KeyType>,
    /// Who shares connections to the CA.
    #[serde(serialize_with = "as_text")]
    pub connections: Connections,
    /// Share of new orders that are left unfinished, 0 to 1.
    pub abandon: f64,
    /// Where chains end before they are done.
    #[serde(serialize_with = "as_step")]
    pub stop_before: Option<StopBefore>,
}

/// How hard a scenario pushes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "executor", rename_all = "kebab-case")]
pub enum Load {
    /// A closed model: so many workers, each starting its next iteration when the last one has ended.
    Workers {
        /// At the start.
        workers: u32,
        /// Where it goes from there.
        stages: Vec<Stage>,
    },
    /// An open model: iterations start when they are due, whether or not earlier ones have ended.
    ArrivalRate {
        /// Per second, at the start.
        rate: f64,
        /// What the rate counts.
        #[serde(serialize_with = "as_unit")]
        unit: Unit,
        /// Whether arrivals are as those of independent users (Poisson), or in equal distances.
        poisson: bool,
        /// Where it goes from there.
        stages: Vec<Stage>,
        /// The most workers that may be used for it.
        workers: u32,
    },
    /// So many requests a second, by as many workers as that takes.
    TargetRps {
        /// Requests per second.
        target_rps: f64,
        /// Where it goes from there.
        stages: Vec<Stage>,
        /// The most workers that may be used for it.
        workers: u32,
    },
    /// A fixed number of iterations, shared by workers.
    Iterations {
        /// How many, all workers together.
        iterations: u64,
        /// How many workers share them.
        workers: u32,
    },
}

/// A stretch over which a load changes linearly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// How long it takes.
    #[serde(serialize_with = "as_people_write")]
    pub duration: Duration,
    /// What it ends with: workers, or a rate per second.
    pub target: f64,
}

impl Load {
    /// The executor's name as people write it.
    pub const fn executor(&self) -> &'static str {
        match self {
            Self::Workers { .. } => "workers",
            Self::ArrivalRate { .. } => "arrival-rate",
            Self::TargetRps { .. } => "target-rps",
            Self::Iterations { .. } => "iterations",
        }
    }

    /// How many iterations there are, where that is fixed.
    pub const fn iterations(&self) -> Option<u64> {
        match self {
            Self::Iterations { iterations, .. } => Some(*iterations),
            Self::Workers { .. } | Self::ArrivalRate { .. } | Self::TargetRps { .. } => None,
        }
    }

    /// Where it goes from its start.
    pub fn stages(&self) -> &[Stage] {
        match self {
            Self::Workers { stages, .. }
            | Self::ArrivalRate { stages, .. }
            | Self::TargetRps { stages, .. } => stages,
            Self::Iterations { .. } => &[],
        }
    }

    /// Workers over active time: how many, or how many at most.
    pub fn workers(&self) -> Ramp {
        match self {
            Self::Workers { workers, stages } => staged(f64::from(*workers), stages),
            Self::ArrivalRate { workers, .. }
            | Self::TargetRps { workers, .. }
            | Self::Iterations { workers, .. } => Ramp::constant(f64::from(*workers)),
        }
    }

    /// The rate per second over active time, of an executor that keeps one.
    pub fn rate(&self) -> Option<Ramp> {
        match self {
            Self::ArrivalRate { rate, stages, .. } => Some(staged(*rate, stages)),
            Self::TargetRps { target_rps, stages, .. } => Some(staged(*target_rps, stages)),
            Self::Workers { .. } | Self::Iterations { .. } => None,
        }
    }

    /// What that rate counts.
    pub const fn rate_unit(&self) -> Option<Unit> {
        match self {
            Self::ArrivalRate { unit, .. } => Some(*unit),
            Self::TargetRps { .. } => Some(Unit::Requests),
            Self::Workers { .. } | Self::Iterations { .. } => None,
        }
    }
}

fn staged(start: f64, stages: &[Stage]) -> Ramp {
    Ramp::stages(start, stages.iter().map(|stage| (stage.target, stage.duration)))
}

/// Reads one scenario; `name` for people, `answered` what challenge types there can be.
pub(crate) fn scenario(s: &mut Scope<'_>, name: &str, challenge_types: &Mix<ChallengeType>) -> Scenario {
    let mut weights = Weights::default();
    for chain in Chain::ALL {
        if let Some(weight) = s.take(&format!("weights.{chain}"), weight) {
            weights.set(chain, weight);
        }
    }
    if Chain::ALL.into_iter().all(|chain| weights.of(chain) == 0.0) {
        s.mistake("weights", "every chain weighs 0, so none could ever run");
    }
    let stop_before = s.take("stop_before", StopBefore::from_str);
    let others = Chain::ALL.into_iter().filter(|chain| *chain != Chain::Certificate);
    if stop_before.is_some()
        && weights.of(Chain::Certificate) > 0.0
        && others.map(|chain| weights.of(chain)).sum::<f64>() == 0.0
    {
        s.mistake(
            "stop_before",
            "only certificate has a weight, which is never run in a plan that stops before finalize",
        );
    }
    let load = load(s);
    let staged: Duration = load.stages().iter().map(|stage| stage.duration).sum();
    let run_time = s.take("run_time", duration);
    let think_time = s.take("think_time", think_time);
    // What the plan says for all of its scenarios is for those that can think.
    if think_time.is_some() && load.rate_unit().is_some() && s.is_own("think_time") {
        let message = format!(
            "belongs to the executors workers and iterations: with {} the rate says when iterations start",
            load.executor()
        );
        s.mistake("think_time", message);
    }
    Scenario {
        name: name.to_owned(),
        start_at: s.take("start_at", any_duration).unwrap_or_default(),
        after: s.take("after", |text| Ok(text.to_owned())),
        run_time: run_time.unwrap_or(match load {
            _ if !staged.is_zero() => staged,
            // The count is what ends it, and this only what bounds it.
            Load::Iterations { .. } => Duration::from_secs(600),
            _ => Duration::from_secs(60),
        }),
        load,
        think_time,
        weights,
        names_per_order: s.take("names_per_order", names_per_order).unwrap_or(1..=1),
        challenge_types: challenge_types.clone(),
        key_types: s.take("key_types", Mix::from_str).unwrap_or_else(|| Mix::even([KeyType::P256])),
        connections: s.take("connections", Connections::from_str).unwrap_or_default(),
        abandon: s.take("abandon", share).unwrap_or_default(),
        stop_before,
    }
}

/// Which keys belong to which executors.
const BELONGS: [(&str, &[&str]); 6] = [
    ("stages", &["workers", "arrival-rate", "target-rps"]),
    ("rate", &["arrival-rate"]),
    ("rate_unit", &["arrival-rate"]),
    ("spacing", &["arrival-rate"]),
    ("target_rps", &["target-rps"]),
    ("iterations", &["iterations"]),
];

fn load(s: &mut Scope<'_>) -> Load {
    // Each of these keys says by itself which executor is meant.
    let said = [("iterations", "iterations"), ("target_rps", "target-rps"), ("rate", "arrival-rate")];
    let in_file = said.iter().find(|(key, _)| s.is_in_file(key)).map(|(_, executor)| *executor);
    let (flags, said): (Vec<_>, Vec<_>) =
        said.into_iter().filter(|(key, _)| s.is_given(key)).partition(|(key, _)| s.is_flag(key));
    // What a flag says goes before the file, also where the file asks for another kind of load.
    let by_flag = s.is_flag("executor") || !flags.is_empty();
    let named = s.take("executor", executor);
    let in_file = named.filter(|_| !s.is_flag("executor")).or(in_file).unwrap_or("workers");
    let (said, named) = match by_flag {
        true => (flags, named.filter(|_| s.is_flag("executor"))),
        false => (said, named),
    };
    let executor = named.or(said.first().map(|(_, executor)| *executor)).unwrap_or("workers");
    let staged = s.is_flag("stages") || !by_flag || in_file == executor;
    for (key, executors) in BELONGS {
        if by_flag && !s.is_flag(key) {
            continue;
        }
        let rivals = said.iter().any(|(other, _)| *other == key) && !s.is_given("executor");
        if s.is_own(key) && !executors.contains(&executor) && rivals {
            s.mistake(
                key,
                format!(
                    "contradicts {}: give one of them, or each to a scenario of its own in a file",
                    said[0].0
                ),
            );
        } else if s.is_own(key) && !executors.contains(&executor) {
            s.mistake(
                key,
                format!("belongs to the executor {}, and this is {executor}", executors.join(" or ")),
            );
        }
    }
    let workers = s.take("workers", |text| whole(text, 0..=MAX_WORKERS));
    match executor {
        "arrival-rate" => {
            let given = s.take("rate", rate);
            if given.is_none() && !s.is_given("rate") {
                s.mistake("rate", "missing: how many iterations a second, as in 50/s");
            }
            let Rate { per_second, unit } = given.unwrap_or(Rate { per_second: 0.0, unit: None });
            let named = s.take("rate_unit", unit_of);
            if let (Some(one), Some(other)) = (unit, named)
                && one != other
            {
                s.mistake("rate_unit", "contradicts the unit in the rate: give one of them");
            }
            let unit = unit.or(named).unwrap_or(Unit::Chains);
            Load::ArrivalRate {
                rate: per_second,
                unit,
                poisson: s.take("spacing", spacing).unwrap_or(true),
                stages: stages(s, staged, "rate", |text| rate_in(text, unit)).unwrap_or_default(),
                workers: workers.unwrap_or(WORKERS_CAP),
            }
        }
        "target-rps" => {
            let target_rps = s.take("target_rps", |text| rate_in(text, Unit::Requests));
            if target_rps.is_none() && !s.is_given("target_rps") {
                s.mistake("target_rps", "missing: how many requests a second, as in 500");
            }
            Load::TargetRps {
                target_rps: target_rps.unwrap_or_default(),
                stages: stages(s, staged, "target_rps", |text| rate_in(text, Unit::Requests))
                    .unwrap_or_default(),
                workers: workers.unwrap_or(WORKERS_CAP),
            }
        }
        "iterations" => {
            let iterations = s.take("iterations", |text| whole(text, 1..=u64::MAX));
            if iterations.is_none() && !s.is_given("iterations") {
                s.mistake("iterations", "missing: how many iterations, as in 1000");
            }
            Load::Iterations { iterations: iterations.unwrap_or(1), workers: workers.unwrap_or(50) }
        }
        _ => {
            let stages = stages(s, staged, "workers", |text| whole(text, 0..=MAX_WORKERS).map(f64::from))
                .unwrap_or_default();
            Load::Workers { workers: workers.unwrap_or(if stages.is_empty() { 50 } else { 0 }), stages }
        }
    }
}

fn executor(text: &str) -> Result<&'static str, String> {
    ["workers", "arrival-rate", "target-rps", "iterations"]
        .into_iter()
        .find(|known| *known == text)
        .ok_or_else(|| format!("{text:?} is not one of workers, arrival-rate, target-rps, iterations"))
}

/// A rate as people write it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Per second.
    pub per_second: f64,
    /// What it counts, where that is named.
    pub unit: Option<Unit>,
}

/// `50`, `50/s`, `3000/min`, `0.5/h`, `500 requests/s`.
///
/// # Errors
/// What was written, and what is allowed.
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || {
        format!(
            "{text:?} is not a rate like 50/s, 3000/min, 10/h or 500 requests/s, from 0 to {MAX_RATE} a second"
        )
    };
    let (amount, per) = text.split_once('/').map_or((text, "s"), |(amount, per)| (amount, per.trim()));
    let amount = amount.trim();
    let digits = amount.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(amount.len());
    let (number, unit) = amount.split_at(digits);
    let unit = match unit.trim() {
        "" => None,
        unit => Some(unit_of(unit).map_err(|_| wrong())?),
    };
    let seconds = match per {
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let per_second = number.parse::<f64>().map_err(|_| wrong())? / seconds;
    if !(0.0..=MAX_RATE).contains(&per_second) {
        return Err(wrong());
    }
    Ok(Rate { per_second, unit })
}

/// The same per second, of what counts this unit.
fn rate_in(text: &str, unit: Unit) -> Result<f64, String> {
    match rate(text)? {
        Rate { unit: Some(named), .. } if named != unit => Err(format!(
            "{text:?} counts {}, and the rate counts {}: give all in one unit",
            named.name(),
            unit.name()
        )),
        rate => Ok(rate.per_second),
    }
}

fn unit_of(text: &str) -> Result<Unit, String> {
    match text {
        "chain" | "chains" => Ok(Unit::Chains),
        "request" | "requests" => Ok(Unit::Requests),
        _ => Err(format!("{text:?} is neither chains nor requests")),
    }
}

fn spacing(text: &str) -> Result<bool, String> {
    match text {
        "poisson" => Ok(true),
        "even" => Ok(false),
        _ => Err(format!("{text:?} is neither poisson nor even")),
    }
}

/// `30s:100,1h:5000`, or in a file tables `{duration = "30s", workers = 100}`, which arrive as `{duration=30s;workers=100}`.
/// None when they were not given, are not `wanted`, or any is wrong: each is then told.
fn stages(
    s: &mut Scope<'_>,
    wanted: bool,
    target_key: &str,
    target: impl Fn(&str) -> Result<f64, String>,
) -> Option<Vec<Stage>> {
    if !wanted {
        return None;
    }
    let stages = s.take_list("stages", "stage", |text| stage(text, target_key, &target))?;
    if stages.iter().map(|stage| stage.duration).sum::<Duration>().is_zero() {
        s.mistake("stages", "takes no time at all: at least one stage needs a duration");
        return None;
    }
    Some(stages)
}

/// All that is wrong with it is told.
fn stage(
    text: &str,
    target_key: &str,
    target: impl Fn(&str) -> Result<f64, String>,
) -> Result<Stage, Vec<String>> {
    let form = format!("TIME:TARGET as in 30s:100, or in a file {{duration = \"30s\", {target_key} = 100}}");
    let mut mistakes = Vec::new();
    let (time, value) = match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        None => text.rsplit_once(':').map_or((None, None), |(time, value)| (Some(time), Some(value))),
        Some(table) => {
            let (mut time, mut value) = (None, None);
            for (key, entry) in table.split(';').filter_map(|entry| entry.split_once('=')) {
                match key {
                    "duration" => time = Some(entry),
                    _ if key == target_key || key == "target" => value = Some(entry),
                    _ => mistakes
                        .push(format!("{key:?} is unknown in a stage; known are duration, {target_key}; target fits every executor")),
                }
            }
            (time, value)
        }
    };
    // What is missing is probably what a wrong key was meant to be.
    if mistakes.is_empty() && (time.is_none() || value.is_none()) {
        mistakes.push(format!("{text:?} is not a stage: {form}"));
    }
    let mut read = |value: Option<Result<f64, String>>| match value {
        Some(Ok(value)) => value,
        Some(Err(mistake)) => {
            mistakes.push(mistake);
            0.0
        }
        None => 0.0,
    };
    let target = read(value.map(|value| target(value.trim())));
    let duration = match time.map(any_duration) {
        Some(Ok(duration)) => duration,
        Some(Err(mistake)) => {
            mistakes.push(mistake);
            Duration::ZERO
        }
        None => Duration::ZERO,
    };
    if mistakes.is_empty() { Ok(Stage { duration, target }) } else { Err(mistakes) }
}

fn weight(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(weight) if weight.is_finite() && (0.0..=1e6).contains(&weight) => Ok(weight),
        _ => Err(format!("{value:?} is not a weight from 0 (never) to 1000000")),
    }
}

/// `10%` or `0.1`.
fn share(value: &str) -> Result<f64, String> {
    let (number, unit) = value.trim().strip_suffix('%').map_or((value, 1.0), |percent| (percent, 100.0));
    match number.trim().parse::<f64>().map(|number| number / unit) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{value:?} is not a share from 0% to 100%, as in 10% or 0.1")),
    }
}

fn think_time(value: &str) -> Result<RangeInclusive<Duration>, String> {
    let (low, high) =
        value.split_once("..").map_or((value, value), |(low, high)| (low, high.trim_start_matches('=')));
    let (low, high) = (any_duration(low)?, any_duration(high)?);
    if low <= high {
        Ok(low..=high)
    } else {
        Err(format!("{value:?} ends before it begins: write it like 1s..5s"))
    }
}

fn names_per_order(value: &str) -> Result<RangeInclusive<u32>, String> {
    let wrong = || format!("{value:?} is neither a number nor a range like 1..5, from 1 to 100");
    let number = |text: &str| whole::<u32>(text, 1..=100).map_err(|_| wrong());
    let (low, high) = match value.split_once("..") {
        Some((low, high)) => (number(low)?, number(high.trim_start_matches('='))?),
        None => (number(value)?, number(value)?),
    };
    if low <= high { Ok(low..=high) } else { Err(wrong()) }
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_step<S: serde::Serializer>(step: &Option<StopBefore>, serializer: S) -> Result<S::Ok, S::Error> {
    step.map(StopBefore::name).serialize(serializer)
}

fn as_unit<S: serde::Serializer>(unit: &Unit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match unit {
        Unit::Chains => "chains",
        Unit::Requests => "requests",
    })
}

fn as_people_write<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*time))
}

fn as_times<S: serde::Serializer>(
    times: &Option<RangeInclusive<Duration>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = |time: &Duration| humantime::format_duration(*time).to_string();
    times
        .as_ref()
        .map(|times| format!("{}..{}", shown(times.start()), shown(times.end())))
        .serialize(serializer)
}

fn as_range<S: serde::Serializer>(range: &RangeInclusive<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}..{}", range.start(), range.end()))
}

/// Whether a name can be a scenario's: it stands in keys, marks and thresholds.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, per_second, unit) in [
            ("50", 50.0, None),
            ("50/s", 50.0, None),
            ("3000/min", 50.0, None),
            ("36/h", 0.01, None),
            ("0.5/s", 0.5, None),
            ("500 requests/s", 500.0, Some(Unit::Requests)),
            ("5chains/m", 5.0 / 60.0, Some(Unit::Chains)),
        ] {
            assert_eq!(rate(text), Ok(Rate { per_second, unit }), "{text}");
        }
        assert_eq!(rate_in("50 requests/s", Unit::Requests), Ok(50.0));
        assert_eq!(
            rate_in("50 requests/s", Unit::Chains).unwrap_err(),
            "\"50 requests/s\" counts requests, and the rate counts chains: give all in one unit"
        );
        for text in ["", "fast", "-1/s", "1/day", "5 cats/s", "2000000/s", "1e400/s", "nan"] {
            assert!(rate(text).unwrap_err().contains("is not a rate like 50/s"), "{text}");
        }
    }

    #[test]
    fn stages_are_read_as_flags_and_as_tables() {
        let workers = |text: &str| {
            let mut settings = Settings::default();
            settings.flag("stages", Some(text));
            let target = |text: &str| whole(text, 0..=9_999u32).map(f64::from);
            let stages = stages(&mut Scope::of(&mut settings, None), true, "workers", target);
            stages.ok_or_else(|| settings.finish().unwrap_err().to_string())
        };
        let stage = |seconds: u64, target: f64| Stage { duration: Duration::from_secs(seconds), target };
        assert_eq!(workers("30s:100,1h:5000"), Ok(vec![stage(30, 100.0), stage(3600, 5000.0)]));
        assert_eq!(workers("{duration=30s;workers=100}, 0s:7"), Ok(vec![stage(30, 100.0), stage(0, 7.0)]));
        for (text, part) in [
            ("30s", "is not a stage"),
            ("30s:many", "\"many\" is not a whole number"),
            ("soon:5", "\"soon\" is not a time"),
            ("{duration=30s;worker=5}", "\"worker\" is unknown in a stage; known are duration, workers"),
            ("{duration=30s}", "is not a stage"),
            ("0s:5", "takes no time at all"),
        ] {
            let error = workers(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_flag_goes_before_a_file_that_asks_for_another_kind_of_load() {
        let known = ["executor", "rate", "spacing", "workers", "stages", "target_rps", "iterations"];
        let loaded = |file: &str, flags: &[(&str, &str)]| {
            let mut settings = Settings::default();
            flags.iter().for_each(|(key, value)| settings.flag(key, Some(value)));
            settings.text("s.toml", file, &known, &[]);
            let load = load(&mut Scope::of(&mut settings, None));
            settings.finish().map(|()| load).map_err(|mistakes| mistakes.to_string())
        };
        let rate = "rate = \"9/s\"\nspacing = \"even\"\nstages = [{ duration = \"1s\", rate = 5 }]\n";
        let hammer = [("executor", "workers"), ("workers", "3")];
        assert_eq!(loaded(rate, &hammer), Ok(Load::Workers { workers: 3, stages: Vec::new() }));
        let workers = "workers = 7\nstages = [{ duration = \"1s\", workers = 5 }]\n";
        let target = Load::TargetRps { target_rps: 3.0, stages: Vec::new(), workers: 7 };
        assert_eq!(loaded(workers, &[("target_rps", "3")]), Ok(target.clone()));
        assert_eq!(loaded(&format!("rate = 4\n{workers}"), &[("target_rps", "3")]), Ok(target));
        let same = loaded(rate, &[("rate", "2/s")]).unwrap();
        assert!(
            matches!(same, Load::ArrivalRate { rate: 2.0, poisson: false, ref stages, .. } if stages.len() == 1)
        );
        // What flags say among themselves must fit, and so must what a file says.
        let told = loaded("", &[("target_rps", "3"), ("rate", "2/s")]).unwrap_err();
        assert!(told.contains("contradicts"), "{told}");
        let told = loaded("rate = 2\nexecutor = \"workers\"\n", &[]).unwrap_err();
        assert!(told.contains("belongs to the executor arrival-rate"), "{told}");
    }

    #[test]
    fn every_wrong_stage_is_told_with_its_line() {
        let file = "stages = [\n  { duration = \"1x\", workers = -3 },\n  { duration = \"1s\", workers = 3 },\n  \
                    { duration = \"1s\", wokers = 3 },\n  \"foo\",\n]\n";
        let mut settings = Settings::default();
        settings.text("s.toml", file, &["stages"], &[]);
        let target = |text: &str| whole(text, 0..=9_999u32).map(f64::from);
        assert!(stages(&mut Scope::of(&mut settings, None), true, "workers", target).is_none());
        let told = settings.finish().unwrap_err().to_string();
        let beginnings = [
            "s.toml:2: stages: stage 1: \"-3\"",
            "s.toml:2: stages: stage 1: \"1x\"",
            "s.toml:4: stages: stage 3: \"wokers\" is unknown",
            "s.toml:5: stages: stage 4: \"foo\" is not a stage",
        ];
        assert_eq!(told.lines().count(), beginnings.len(), "{told}");
        for (line, beginning) in told.lines().zip(beginnings) {
            assert!(line.starts_with(beginning), "{line}");
        }
    }

    #[test]
    fn think_times_are_ranges() {
        let seconds = Duration::from_secs;
        assert_eq!(think_time("1s..3s"), Ok(seconds(1)..=seconds(3)));
        assert_eq!(think_time("2s"), Ok(seconds(2)..=seconds(2)));
        assert_eq!(think_time("0s..1s"), Ok(seconds(0)..=seconds(1)));
        assert!(think_time("3s..1s").unwrap_err().contains("ends before it begins"));
    }
}
