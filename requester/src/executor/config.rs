//! Configuration shared by several executors: numbers of workers, rates and stages.

use std::time::Duration;

use wec_record::plan::{MAX_RATE, MAX_WORKERS, RateUnit, Stage};

use crate::pace::Ramp;
use crate::settings::Scope;
use crate::settings::values::{LONGEST, any_duration, whole};

/// Default number of workers, for executors with a number of workers.
pub(super) const WORKERS: u32 = 50;
/// Default cap on workers, for executors with a rate.
pub(super) const WORKERS_CAP: u32 = 1_000;

/// The number of workers, if it was given.
pub(super) fn workers(s: &mut Scope<'_>) -> Option<u32> {
    s.take("workers", |text| whole(text, 0..=MAX_WORKERS))
}

/// The ramp from `start` through these stages.
pub(super) fn ramp(start: f64, stages: &[Stage]) -> Ramp {
    Ramp::stages(start, stages.iter().map(|stage| (stage.target, stage.duration.0)))
}

/// A rate in configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Per second.
    pub per_second: f64,
    /// Its unit, if given.
    pub unit: Option<RateUnit>,
}

/// The key of a plan that has the rate of an executor: people change the rate during a run, and the next run of the
/// plan begins with it.
#[derive(Debug)]
pub struct RateKey {
    /// Its name.
    pub name: &'static str,
    /// Reads its value. The message of an error has the text and what is allowed.
    pub read: fn(&str) -> Result<Rate, String>,
}

impl RateKey {
    /// The value for another rate per second, written as the value before is.
    pub fn text(&self, per_second: f64, before: Option<&str>) -> String {
        let unit = before.and_then(|before| (self.read)(before).ok()?.unit);
        let unit = unit.map_or_else(String::new, |unit| format!(" {}", unit.name()));
        let per = if before.is_some_and(|before| before.contains('/')) { "/s" } else { "" };
        format!("{per_second}{unit}{per}")
    }
}

/// `50`, `50/s`, `3000/min`, `0.5/h`, `500 requests/s`.
///
/// # Errors
/// The message has the text and what is allowed.
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || {
        format!(
            "{text:?} is not a rate like 50/s, 3000/min, 10/h or 500 requests/s, from 0 to {MAX_RATE} a second"
        )
    };
    let (amount, per) = text.split_once('/').map_or((text, "s"), |(amount, per)| (amount, per.trim()));
    let amount = amount.trim();
    let digits = amount.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(amount.len());
    let (number, counted) = amount.split_at(digits);
    let counted = match counted.trim() {
        "" => None,
        counted => Some(unit(counted).map_err(|_| wrong())?),
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
    Ok(Rate { per_second, unit: counted })
}

/// The same per second, checked for this unit.
pub(super) fn rate_in(text: &str, unit: RateUnit) -> Result<f64, String> {
    match rate(text)? {
        Rate { unit: Some(named), .. } if named != unit => Err(format!(
            "{text:?} counts {}, but the rate counts {}: use one unit",
            named.name(),
            unit.name()
        )),
        rate => Ok(rate.per_second),
    }
}

pub(super) fn unit(text: &str) -> Result<RateUnit, String> {
    match text {
        "chain" | "chains" => Ok(RateUnit::Chains),
        "request" | "requests" => Ok(RateUnit::Requests),
        _ => Err(format!("{text:?} is neither chains nor requests")),
    }
}

/// `30s:100,1h:5000`, or in a file tables `{duration = "30s", workers = 100}`, which arrive as
/// `{duration=30s;workers=100}`. None if they are not given, are not `wanted`, or any is wrong, which is
/// reported.
pub(super) fn stages(
    s: &mut Scope<'_>,
    wanted: bool,
    target_key: &str,
    target: impl Fn(&str) -> Result<f64, String>,
) -> Option<Vec<Stage>> {
    if !wanted {
        return None;
    }
    let stages = s.take_list("stages", "stage", |text| stage(text, target_key, &target))?;
    let takes = stages.iter().fold(Duration::ZERO, |sum, stage| sum.saturating_add(stage.duration.0));
    if takes.is_zero() {
        s.mistake("stages", "takes no time at all: at least one stage needs a duration");
        return None;
    }
    if takes > LONGEST {
        s.mistake("stages", "takes longer than ten years");
        return None;
    }
    Some(stages)
}

/// Reports all errors of the stage.
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
    // A missing part is probably what the wrong key stands for.
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
    if mistakes.is_empty() { Ok(Stage { duration: duration.into(), target }) } else { Err(mistakes) }
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
            ("500 requests/s", 500.0, Some(RateUnit::Requests)),
            ("5chains/m", 5.0 / 60.0, Some(RateUnit::Chains)),
        ] {
            assert_eq!(rate(text), Ok(Rate { per_second, unit }), "{text}");
        }
        assert_eq!(rate_in("50 requests/s", RateUnit::Requests), Ok(50.0));
        assert_eq!(
            rate_in("50 requests/s", RateUnit::Chains).unwrap_err(),
            "\"50 requests/s\" counts requests, but the rate counts chains: use one unit"
        );
        for text in ["", "fast", "-1/s", "1/day", "5 cats/s", "2000000/s", "1e400/s", "nan"] {
            assert!(rate(text).unwrap_err().contains("is not a rate like 50/s"), "{text}");
        }
    }

    #[test]
    fn a_changed_rate_is_written_as_the_one_before() {
        let key = RateKey { name: "rate", read: rate };
        for (before, after) in [
            (None, "62.5"),
            (Some("50"), "62.5"),
            (Some("50/s"), "62.5/s"),
            (Some("3000/min"), "62.5/s"),
            (Some("500 requests/min"), "62.5 requests/s"),
            (Some("500 chains"), "62.5 chains"),
        ] {
            assert_eq!(key.text(62.5, before), after, "{before:?}");
            assert_eq!((key.read)(after).unwrap().per_second, 62.5);
        }
    }

    #[test]
    fn stages_are_read_as_flags_and_as_tables() {
        let workers = |text: &str| {
            let mut settings = Settings::default();
            settings.flag("stages", text);
            let target = |text: &str| whole(text, 0..=9_999u32).map(f64::from);
            let stages = stages(&mut Scope::of(&mut settings, None), true, "workers", target);
            stages.ok_or_else(|| settings.finish().unwrap_err().to_string())
        };
        let stage =
            |seconds: u64, target: f64| Stage { duration: Duration::from_secs(seconds).into(), target };
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
    fn every_wrong_stage_is_reported_with_its_line() {
        let file = "stages = [\n  { duration = \"1x\", workers = -3 },\n  { duration = \"1s\", workers = 3 },\n  \
                    { duration = \"1s\", wokers = 3 },\n  \"foo\",\n]\n";
        let mut settings = Settings::default();
        settings.text("s.toml", file);
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
}
