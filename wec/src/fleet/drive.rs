//! `wec fleet drive`: a window of the fleet's time for real. Its clients order at a CA, and what the CA does decides
//! what they do next.
//!
//! The fleet is simulated up to the window, then a run begins: accounts and certificates are made first, because a
//! renewal needs a certificate, and then the executor `fleet` starts a renewal for each attempt.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use url::Url;
use wec_fleet::outlook::Totals;
use wec_fleet::{Cohorts, Flow, LiveFleet, Recorder, Scenario as FleetScenario, Second, text, time};
use wec_record::Chain;
use wec_requester::config::{Command, Key, Mistakes, Place, Settings};
use wec_requester::executor::{FleetDrive, fleet_speed};
use wec_requester::picker::Weights;
use wec_requester::{Flags, Plan, Scenario};
use wec_startup::{Exit, Stop, WrongUse, say, write_beside};

use super::settings::FleetFlags;
use crate::driven;
use crate::here::{self, Here};
use crate::output::OutputOptions;

/// The heading in `--help`.
const HEADING: &str = "Window";
/// Time before the first account, and between the steps that make accounts, orders and certificates: a node that
/// receives a rate late loses the starts before.
const AHEAD: u64 = 3;
/// Orders, and certificates, that are made in a second before the window.
const PREPARED: u64 = 20;
/// Accounts that are made before the window.
const ACCOUNTS: u64 = 10;

/// Options of `wec fleet drive`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    fleet: FleetFlags,
    /// The CA's ACME directory
    #[arg(long, value_name = "URL", env = "WEC_DIRECTORY", help_heading = HEADING)]
    directory: Url,
    /// The window of the fleet's time: worst:LENGTH for the one with the most orders, or BEGIN:LENGTH
    #[arg(long, value_name = "WINDOW", default_value = "worst:5m", value_parser = window, help_heading = HEADING)]
    window: Window,
    /// Seconds of the fleet's clock in a second: 1440 for a day in a minute. The rate of the scenario fleet, so it can be
    /// changed during the run
    #[arg(long, value_name = "N", default_value = "1", value_parser = fleet_speed, help_heading = HEADING)]
    speed: f64,
    /// The largest number of workers: renewals at the same time
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = HEADING)]
    workers: u32,
    /// Certificates that are made before the window, 20 a second; as many as can be renewed at the same time
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000), help_heading = HEADING)]
    prepare: u64,
    /// Write what was planned and what was driven as JSON
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    fleet_json: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags<Driven>,
    #[command(flatten)]
    output: OutputOptions,
}

/// A window of the fleet's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Its begin; none for the worst one.
    from: Option<Second>,
    /// Its length in seconds.
    length: i32,
}

fn window(text: &str) -> Result<Window, String> {
    let wrong = |why: String| format!("{text:?} is not a window like worst:5m or 31d:5m ({why})");
    let (from, length) = text.split_once(':').ok_or_else(|| wrong("a colon is missing".to_owned()))?;
    let from = if from == "worst" { None } else { Some(time::duration(from).map_err(wrong)?) };
    match time::duration(length).map_err(wrong)? {
        0 => Err(wrong("it has no length".to_owned())),
        length => Ok(Window { from, length }),
    }
}

/// The keys of a run that the fleet does not set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Driven {}

/// The keys that the fleet sets beside the load.
const BY_FLEET: [&str; 2] = ["run_time", "max_retries"];

impl Command for Driven {
    fn takes(key: &Key) -> bool {
        key.place != Place::Search && !driven::sets(key.name, &BY_FLEET) && key.name != "directory"
    }
}

pub(crate) async fn drive(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { fleet, directory, window, speed, workers, prepare, fleet_json, flags, output } = options;
    let (fleet, mut plan) = match (fleet.scenario(), plan(flags.plan.settings(), directory)) {
        (Ok(fleet), Ok(plan)) => (fleet, plan),
        (fleet, plan) => {
            if let Err(wrong) = fleet {
                say(format_args!("error: {wrong}"));
            }
            if let Err(mistakes) = plan {
                say(&mistakes);
                output.leave_mistakes(&mistakes);
            }
            return Ok(Exit::Usage);
        }
    };
    if let Some(from) = window.from.filter(|from| from.saturating_add(window.length) > fleet.length) {
        say(format_args!(
            "error: --window: {} and {} are after the end of the fleet's time, {}: give a longer --length",
            time::duration_text(from),
            time::duration_text(window.length),
            time::duration_text(fleet.length)
        ));
        return Ok(Exit::Usage);
    }
    let simulated = fleet.clone();
    let planning = tokio::task::spawn_blocking(move || Planned::of(&simulated, window));
    let Some(planned) = stop.finish.run_until_cancelled(planning).await else {
        say("interrupted");
        // The simulation cannot be stopped otherwise.
        std::process::exit(Exit::Interrupted.code().into());
    };
    let Planned { from, classes, live } = planned.context("simulating the fleet")?;
    let driven = FleetDrive::new(fleet.clone(), live, speed);
    let run_time = Duration::from_secs_f64(f64::from(window.length) / speed);
    set(&mut plan, &driven, (workers, prepare), run_time)?;
    let notes = vec![format!(
        "drives {} of the fleet from {} at {speed} times its speed: {} orders planned",
        time::duration_text(window.length),
        time::moment_text(fleet.start_day, from),
        text::count(total(&classes).orders)
    )];
    let exit = here::run(Here { plan, output, notes, when_limited: "" }, stop).await?;
    let account = driven.account();
    let report = Report {
        from,
        seconds: window.length,
        speed,
        planned: total(&classes),
        driven: total(&account.classes),
        waiting: account.tick.waiting,
        down: account.tick.down,
        classes: fleet.classes.iter().map(|(class, _)| class.name.to_owned()).collect(),
        planned_classes: classes.into_iter().map(Totals::from).collect(),
        driven_classes: account.classes.into_iter().map(Totals::from).collect(),
    };
    if let Some(file) = fleet_json {
        leave(&file, &report)?;
    }
    say(report.text());
    Ok(exit)
}

fn leave(file: &Path, report: &Report) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    write_beside(file, text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

/// The plan without its scenarios. Keys of a file that the fleet sets are errors.
fn plan(settings: Settings, directory: Url) -> Result<Plan, Mistakes> {
    driven::plan(
        settings,
        directory,
        &BY_FLEET,
        "wec fleet drive takes the load from the fleet: leave it out",
    )
}

/// Replaces the plan's scenario by those that make certificates, and the fleet.
fn set(
    plan: &mut Plan,
    driven: &FleetDrive,
    (workers, prepare): (u32, u64),
    run_time: Duration,
) -> anyhow::Result<()> {
    let [base] = &plan.scenarios[..] else {
        let why = "wec fleet drive makes the scenarios: use a configuration file without scenarios";
        anyhow::bail!(WrongUse(why.to_owned()));
    };
    let second = Duration::from_secs(1);
    let ahead = usize::try_from(AHEAD)?;
    let spread = |number: u64| -> Vec<u64> {
        let steps = number.div_ceil(PREPARED);
        (0..steps).map(|step| number * (step + 1) / steps - number * step / steps).collect()
    };
    let mut after = 0;
    let mut step = |name: &str, chain: Chain, counts: Vec<u64>| {
        let counts = [vec![0; after + ahead], counts].concat();
        after = counts.len();
        base.repeating(name.to_owned(), chain, None, &counts, second)
    };
    let mut scenarios = vec![
        step("make-accounts", Chain::Registration, vec![ACCOUNTS]),
        step("make-orders", Chain::Authorization, spread(prepare)),
        step("make-certificates", Chain::Certificate, spread(prepare)),
    ];
    scenarios.push(Scenario {
        name: "fleet".to_owned(),
        start_at: Duration::from_secs(after as u64 + AHEAD),
        run_time,
        load: driven.load(workers),
        weights: Weights::only(Chain::Refresh),
        ..base.clone()
    });
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    plan.scenarios = scenarios;
    // What a client does after a 503 is its class's business.
    plan.patience.max_retries = 0;
    Ok(())
}

/// A window, planned, and the fleet at its begin.
struct Planned {
    from: Second,
    /// What the model gives in the window, by class.
    classes: Vec<Flow>,
    live: LiveFleet,
}

impl Planned {
    fn of(fleet: &FleetScenario, window: Window) -> Self {
        let worst = || Recorder::run(fleet, window.length, |_| {}).demand.worst_window.from;
        let from = window.from.unwrap_or_else(worst);
        let mut cohorts = Cohorts::new(fleet.clone());
        for _ in 0..from {
            cohorts.step();
        }
        let live = LiveFleet::of(cohorts.clone());
        let mut classes = vec![Flow::default(); fleet.classes.len()];
        for _ in 0..window.length {
            classes.iter_mut().zip(&cohorts.step().classes).for_each(|(sum, flow)| sum.add(flow));
        }
        Self { from, classes, live }
    }
}

fn total(classes: &[Flow]) -> Totals {
    let mut total = Flow::default();
    classes.iter().for_each(|flow| total.add(flow));
    total.into()
}

/// What was planned beside what was driven.
#[derive(Debug, Serialize)]
struct Report {
    /// The window's begin on the fleet's clock.
    from: Second,
    /// Its length on the fleet's clock.
    seconds: i32,
    speed: f64,
    planned: Totals,
    driven: Totals,
    /// Renewals that were due and not served at the end.
    waiting: u64,
    /// Sites that were down at the end.
    down: u64,
    classes: Vec<String>,
    planned_classes: Vec<Totals>,
    driven_classes: Vec<Totals>,
}

impl Report {
    fn text(&self) -> String {
        type Count = fn(&Totals) -> u64;
        let rows: [(&str, Count); 7] = [
            ("orders", |totals| totals.orders),
            ("due", |totals| totals.due),
            ("issued", |totals| totals.issued),
            ("answered 503", |totals| totals.refused),
            ("failed", |totals| totals.failed),
            ("late", |totals| totals.late),
            ("expired", |totals| totals.expired),
        ];
        let mut text = format!("\n{:<14}{:>12}{:>12}\n", "fleet", "planned", "driven");
        for (name, value) in rows {
            let (planned, driven) = (text::count(value(&self.planned)), text::count(value(&self.driven)));
            text.push_str(&format!("{name:<14}{planned:>12}{driven:>12}\n"));
        }
        text.push_str(&format!(
            "{} renewals waited and {} sites were down at the end",
            text::count(self.waiting),
            text::count(self.down)
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_errors_named() {
        assert_eq!(window("worst:5m"), Ok(Window { from: None, length: 300 }));
        assert_eq!(window("1d12h:90s"), Ok(Window { from: Some(129_600), length: 90 }));
        for (text, part) in [
            ("worst", "a colon is missing"),
            ("best:5m", "\"best\" is not a time"),
            ("worst:0s", "it has no length"),
            ("worst:", "\"\" is not a time"),
        ] {
            let error = window(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_load_in_a_file_is_refused() {
        let mut settings = Settings::default();
        settings.text("load.toml", "seed = 1\nrate = 5\n");
        let error = plan(settings, Url::parse("http://127.0.0.1:1/dir").unwrap()).unwrap_err().to_string();
        assert!(
            error.contains("load.toml:2: rate: wec fleet drive takes the load from the fleet"),
            "{error}"
        );
    }
}
