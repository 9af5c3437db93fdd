//! A scenario as people write it: by flags, or in the table `[fleet]` of a file.

use std::fmt;

use serde::Deserialize;

use crate::class::{self, CLASSES, ClientClass, EXPONENTIAL, Retry};
use crate::event::Event;
use crate::scenario::{CaModel, Scenario};
use crate::time::{DAY, count, date, duration, duration_text, rate};

/// The values of a scenario as text. Those that are not given have defaults.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetSettings {
    /// Certificates at the start: `400M`.
    pub certificates: String,
    /// Their lifetime: `90d`.
    pub lifetime: String,
    /// The first day, UTC: `2026-01-01`.
    pub start: String,
    /// Length of the simulation: `365d`.
    pub length: String,
    /// Classes of clients: `certbot=4`, `cron-midnight=1,retry=hot-loop`. Without any, all of them with their weights.
    pub classes: Vec<String>,
    /// Events: `outage 6h at 3d`.
    pub events: Vec<String>,
    /// Certificates that the CA issues: `300/s`.
    pub ca_rate: Option<String>,
    /// Orders that wait for it: `10000`.
    pub ca_queue: Option<String>,
    /// The Retry-After of its 503: `60s`.
    pub ca_retry_after: String,
    /// Time of an issuance without waiting, in whole seconds: `1s`.
    pub ca_latency: String,
    /// After which time a renewal is late: `1h`.
    pub late_after: String,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for FleetSettings {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            certificates: text("1M"),
            lifetime: text("90d"),
            start: text("2026-01-01"),
            length: text("365d"),
            classes: Vec::new(),
            events: Vec::new(),
            ca_rate: None,
            ca_queue: None,
            ca_retry_after: text("60s"),
            ca_latency: text("1s"),
            late_after: text("1h"),
            seed: 1,
        }
    }
}

/// What is wrong with settings, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct WrongSettings(pub Vec<String>);

impl fmt::Display for WrongSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// A file with the table `[fleet]`. Its other tables and keys are those of a run.
#[derive(Deserialize)]
struct File {
    fleet: Option<FleetSettings>,
}

impl FleetSettings {
    /// The table `[fleet]` of a file.
    ///
    /// # Errors
    /// The text is not TOML, has no such table, or the table has other keys.
    pub fn of_toml(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        file.fleet.ok_or_else(|| "the table [fleet] is missing".to_owned())
    }

    /// The scenario of these settings.
    ///
    /// # Errors
    /// All errors.
    pub fn read(&self) -> Result<Scenario, WrongSettings> {
        let mut wrong = Wrong(Vec::new());
        let certificates = wrong.take("certificates", count(&self.certificates), 1);
        let lifetime = wrong.take("lifetime", positive(&self.lifetime), 90 * DAY);
        let start_day = wrong.take("start", date(&self.start), 0);
        let length = wrong.take("length", positive(&self.length), DAY);
        let rate = self.ca_rate.as_deref().map(|text| wrong.take("ca_rate", rate(text), 1));
        let queue = match self.ca_queue.as_deref() {
            Some(text) => wrong.take("ca_queue", any_count(text), 0),
            // What the CA issues in ten seconds.
            None => rate.map_or(0, |rate| rate / 100),
        };
        let retry_after = wrong.take("ca_retry_after", positive(&self.ca_retry_after), 60);
        let latency = wrong.take("ca_latency", duration(&self.ca_latency), 1);
        let late_after = wrong.take("late_after", duration(&self.late_after), 3_600);
        let events =
            self.events.iter().filter_map(|text| wrong.keep("events", text.parse::<Event>())).collect();
        let classes = self.classes.iter().filter_map(|text| wrong.keep("classes", class_of(text))).collect();
        let classes: Vec<(ClientClass, f64)> = match self.classes.is_empty() {
            true => CLASSES.iter().map(|class| (*class, f64::from(class.weight))).collect(),
            false => classes,
        };
        if self.ca_queue.is_some() && rate.is_none() {
            wrong.0.push("ca_queue: a CA without a rate has no queue; give a rate, too".to_owned());
        }
        if classes.len() > usize::from(u8::MAX) {
            wrong.0.push("classes: more than 255".to_owned());
        }
        if !classes.is_empty() && classes.iter().all(|(_, weight)| *weight <= 0.0) {
            wrong.0.push("classes: all weights are 0".to_owned());
        }
        let scenario = Scenario {
            certificates,
            lifetime,
            start_day,
            length,
            classes,
            events,
            ca: CaModel { rate, queue, retry_after, latency },
            late_after,
            seed: self.seed,
        };
        wrong.check(&scenario);
        if wrong.0.is_empty() { Ok(scenario) } else { Err(WrongSettings(wrong.0)) }
    }
}

/// Errors so far.
struct Wrong(Vec<String>);

impl Wrong {
    fn keep<T>(&mut self, key: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.0.push(format!("{key}: {error}"))).ok()
    }

    fn take<T>(&mut self, key: &str, read: Result<T, String>, otherwise: T) -> T {
        self.keep(key, read).unwrap_or(otherwise)
    }

    /// What each value alone does not show.
    fn check(&mut self, scenario: &Scenario) {
        if scenario.lifetime < 3_600 {
            self.0.push(format!("lifetime: {} is shorter than 1h", duration_text(scenario.lifetime)));
        }
        for event in &scenario.events {
            if event.at() >= scenario.length {
                self.0.push(format!(
                    "events: {event} is after the end, {}: give a longer length",
                    duration_text(scenario.length)
                ));
            }
            if let Event::Lifetime { from, at, .. } = event {
                let others: Vec<_> =
                    scenario.events.iter().filter(|other| *other != event).copied().collect();
                let before = Scenario { events: others, ..scenario.clone() }.lifetime_at(*at);
                if before != *from {
                    self.0.push(format!(
                        "events: {event} begins with {}, but certificates last {} then",
                        duration_text(*from),
                        duration_text(before)
                    ));
                }
            }
        }
    }
}

fn positive(text: &str) -> Result<i32, String> {
    match duration(text)? {
        0 => Err(format!("{text:?} must be longer than 0s")),
        seconds => Ok(seconds),
    }
}

fn any_count(text: &str) -> Result<u64, String> {
    if text.trim() == "0" { Ok(0) } else { count(text) }
}

/// `certbot=4` or `cron-midnight=1,retry=hot-loop,retry-after=kept`.
fn class_of(text: &str) -> Result<(ClientClass, f64), String> {
    let mut parts = text.split(',').map(str::trim);
    let wrong = |why: String| format!("{text:?}: {why}");
    let (name, weight) = parts.next().and_then(|part| part.split_once('=')).ok_or_else(|| {
        wrong(
            "is not NAME=WEIGHT[,retry=next-look|exponential|hot-loop][,retry-after=kept|ignored]".to_owned(),
        )
    })?;
    let place = class::named(name)
        .ok_or_else(|| wrong(format!("there is no class {name:?}; classes are {}", class::names())))?;
    let weight = weight.parse::<f64>().ok().filter(|weight| (0.0..=1e6).contains(weight));
    let weight = weight.ok_or_else(|| wrong("the weight is not a number from 0 to 1000000".to_owned()))?;
    let mut class = CLASSES[place];
    for part in parts {
        match part.split_once('=') {
            Some(("retry", "next-look")) => class.retry = Retry::NextLook,
            Some(("retry", "exponential")) => class.retry = Retry::Intervals(EXPONENTIAL),
            Some(("retry", "hot-loop")) => class.retry = Retry::HotLoop(1),
            Some(("retry-after", "kept")) => class.keeps_retry_after = true,
            Some(("retry-after", "ignored")) => class.keeps_retry_after = false,
            _ => {
                return Err(wrong(format!(
                    "{part:?} is none of retry=next-look, retry=exponential, retry=hot-loop, retry-after=kept, \
                     retry-after=ignored"
                )));
            }
        }
    }
    Ok((class, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_flags_are() {
        let settings = FleetSettings::of_toml(
            "directory = \"https://ca.test/dir\"\n[fleet]\ncertificates = \"400M\"\nca_rate = \"300/s\"\n\
             events = [\"outage 6h at 3d\"]\nclasses = [\"certbot=4\", \"cron-midnight=1,retry=hot-loop\"]\nseed = 9\n",
        )
        .unwrap();
        let scenario = settings.read().unwrap();
        assert_eq!(scenario.certificates, 400_000_000);
        assert_eq!(scenario.ca, CaModel { rate: Some(300_000), queue: 3_000, retry_after: 60, latency: 1 });
        assert_eq!(scenario.events, [Event::Outage { at: 3 * DAY, lasts: 21_600 }]);
        let classes: Vec<_> =
            scenario.classes.iter().map(|(class, weight)| (class.name, *weight, class.retry)).collect();
        assert_eq!(classes, [("certbot", 4.0, Retry::NextLook), ("cron-midnight", 1.0, Retry::HotLoop(1))]);
        assert_eq!(scenario.seed, 9);
    }

    #[test]
    fn a_class_is_written_as_it_is_read() {
        for text in [
            "certbot=4",
            "cron-midnight=0.5,retry=hot-loop",
            "ari=1,retry=next-look,retry-after=ignored",
            "daemon=2,retry=exponential,retry-after=kept",
        ] {
            let (class, weight) = class_of(text).unwrap();
            assert_eq!(class::Weighted(class, weight).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_file_is_refused() {
        for (text, part) in [
            ("", "the table [fleet] is missing"),
            ("[fleet]\ncertificate = \"5\"\n", "unknown field `certificate`"),
            ("[fleet\n", "TOML parse error"),
        ] {
            let error = FleetSettings::of_toml(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn every_error_is_reported_with_its_key() {
        let text = |text: &str| text.to_owned();
        let settings = FleetSettings {
            certificates: text("many"),
            lifetime: text("5m"),
            start: text("2026-02-30"),
            length: text("0s"),
            classes: vec![text("cron=1"), text("certbot"), text("certbot=-1"), text("certbot=1,retry=never")],
            events: vec![text("flood"), text("outage 1h at 9d"), text("lifetime 80d -> 47d at 0s")],
            ca_queue: Some(text("10")),
            ..FleetSettings::default()
        };
        let wrong = settings.read().unwrap_err().to_string();
        for line in [
            "certificates: \"many\" is not a number like",
            "lifetime: 5m is shorter than 1h",
            "start: \"2026-02-30\" is not a date",
            "length: \"0s\" must be longer than 0s",
            "classes: \"cron=1\": there is no class \"cron\"; classes are cron-midnight, cron-hour",
            "classes: \"certbot\": is not NAME=WEIGHT",
            "classes: \"certbot=-1\": the weight is not a number",
            "classes: \"certbot=1,retry=never\": \"retry=never\" is none of",
            "events: event \"flood\": \"flood\" is not an event",
            "events: outage 1h at 9d is after the end, 1d",
            "events: lifetime 80d -> 47d at 0s begins with 80d, but certificates last 5m then",
            "ca_queue: a CA without a rate has no queue",
        ] {
            assert!(wrong.lines().any(|found| found.starts_with(line)), "{line}: {wrong}");
        }
    }
}
