//! `wec fleet drive`: a window of the fleet's time for real. Its clients order at a CA, and what the CA does decides
//! what they do next.
//!
//! The fleet is simulated up to the window, then a run begins: the accounts of its members are made first, and then the
//! executor `fleet` starts a renewal for each attempt. A member always orders the same names with the same account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use url::Url;
use wec_fleet::outlook::Totals;
use wec_fleet::{
    ClientClass, Cohorts, Extremes, Flow, LiveFleet, Recorder, Scenario as FleetScenario, Second, text, time,
};
use wec_record::Chain;
use wec_requester::config::{Command, Mistakes, Settings};
use wec_requester::executor::{FleetDrive, fleet_speed};
use wec_requester::picker::Weights;
use wec_requester::{Flags, Plan, Scenario};
use wec_startup::{Exit, Stop, WrongUse, say, write_beside};

use super::observed::{Observer, PlannedSeries};
use super::settings::FleetFlags;
use crate::driven;
use crate::here::{self, Here};
use crate::output::OutputOptions;

/// The heading in `--help`.
const HEADING: &str = "Window";
/// Time before the first account, and between the last one and the window: a node that receives a rate late loses the
/// starts before.
const AHEAD: u64 = 3;
/// Accounts that are made in a second before the window.
const PREPARED: u64 = 20;

/// For how long a renewal keeps a worker busy when none was given the number of workers, seconds.
const RENEWAL: u64 = 5;
/// The number of workers if none is given, at least and at most. They are made when they are needed.
const LEAST_WORKERS: u32 = 1_000;
const MOST_WORKERS: u32 = 50_000;

/// Options of `wec fleet drive`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    fleet: FleetFlags,
    /// The CA's ACME directory; required, here or in the configuration file
    #[arg(long, value_name = "URL", env = "WEC_DIRECTORY", help_heading = HEADING)]
    directory: Option<Url>,
    /// The window of the fleet's time: worst:LENGTH for the one with the most orders, or BEGIN:LENGTH
    #[arg(long, value_name = "WINDOW", default_value = "worst:5m", value_parser = window, help_heading = HEADING)]
    window: Window,
    /// Seconds of the fleet's clock in a second: 1440 for a day in a minute. The rate of the scenario fleet, so it can be
    /// changed during the run
    #[arg(long, value_name = "N", default_value = "1", value_parser = fleet_speed, help_heading = HEADING)]
    speed: f64,
    /// The largest number of workers: renewals at the same time. Orders that find no free worker are not sent [default:
    /// for renewals of 5 s in the plan's worst second, from 1000 to 50000]
    #[arg(long, value_name = "N", env = "WEC_WORKERS", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = HEADING)]
    workers: Option<u32>,
    /// Accounts of the members, made before the window, 20 a second. Members are spread over them evenly, except the share
    /// that --largest-account gives to one of them
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=8_000), help_heading = HEADING)]
    accounts: u64,
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

impl Window {
    /// Whether it is within so many seconds of the fleet's time.
    fn within(self, length: i32) -> Result<(), String> {
        let from = self.from.unwrap_or(0);
        if from.saturating_add(self.length) <= length {
            return Ok(());
        }
        let begins = self.from.map_or_else(String::new, |from| format!("{} and ", time::duration_text(from)));
        Err(format!(
            "--window: {begins}{} are more than the fleet's time, {}: give a longer --length",
            time::duration_text(self.length),
            time::duration_text(length)
        ))
    }
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

impl Command for Driven {
    /// `--rate` is that of the CA in the model.
    const OWN: &'static [&'static str] = &["directory", "workers", "rate"];
    const SETS_LOAD: bool = true;
    const SETS: &'static [&'static str] = &["run_time", "max_retries"];
}

pub(crate) async fn drive(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { fleet, directory, window, speed, workers, accounts, fleet_json, flags, output } = options;
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
    if let Err(wrong) = window.within(fleet.length) {
        say(format_args!("error: {wrong}"));
        return Ok(Exit::Usage);
    }
    let simulated = fleet.clone();
    let planning = tokio::task::spawn_blocking(move || Planned::of(&simulated, window));
    let Some(planned) = stop.finish.run_until_cancelled(planning).await else {
        say("interrupted");
        // The simulation cannot be stopped otherwise.
        std::process::exit(Exit::Interrupted.code().into());
    };
    let Planned { from, classes, series, live } = planned.context("simulating the fleet")?;
    let peak = series.peak(speed);
    let workers = workers.unwrap_or_else(|| workers_for(peak));
    let driven = FleetDrive::new(fleet.clone(), live, speed);
    let run_time = Duration::from_secs_f64(f64::from(window.length) / speed);
    set(&mut plan, &driven, (workers, accounts), run_time)?;
    let mut notes = vec![format!(
        "drives {} of the fleet from {} at {speed} times its speed: {} orders planned, {} in the worst second of the run",
        time::duration_text(window.length),
        time::moment_text(fleet.start_day, from),
        text::count(total(&classes).orders),
        text::count(peak)
    )];
    notes.extend(too_few(workers, peak));
    let mut observer = Observer::planned(&driven, series);
    let here = Here { plan, output, notes, when_limited: "" };
    let exit = here::run_controlled(here, &mut observer, stop).await?;
    let account = driven.account();
    let report = Report {
        from,
        seconds: window.length,
        speed,
        planned: total(&classes),
        driven: total(&account.classes),
        waiting: account.tick.waiting,
        down: account.tick.down,
        classes: fleet.classes.iter().map(|(class, _)| class.name).collect(),
        extremes: account.extremes,
        start_day: fleet.start_day,
        ended_at: account.now,
        planned_classes: classes.into_iter().map(Totals::from).collect(),
        driven_classes: account.classes.into_iter().map(Totals::from).collect(),
    };
    if let Some(file) = fleet_json {
        leave(&file, &report)?;
    }
    let classes: Vec<_> = fleet.classes.iter().map(|(class, _)| *class).collect();
    say(report.text(&classes));
    Ok(exit)
}

/// Workers for so many orders in the worst second, each of [`RENEWAL`].
fn workers_for(peak: u64) -> u32 {
    u32::try_from(peak.saturating_mul(RENEWAL)).unwrap_or(MOST_WORKERS).clamp(LEAST_WORKERS, MOST_WORKERS)
}

/// The warning if so many workers cannot begin all orders of the worst second, even if each takes one second only.
fn too_few(workers: u32, peak: u64) -> Option<String> {
    (u64::from(workers) < peak).then(|| {
        format!(
            "warning: {} workers are fewer than the {} orders of the worst second: what finds no free worker is not sent; \
             give --workers {}, or a lower --speed",
            text::count(workers.into()),
            text::count(peak),
            workers_for(peak)
        )
    })
}

fn leave(file: &Path, report: &Report) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    write_beside(file, text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

/// The plan without its scenarios. Keys of a file that the fleet sets are errors.
fn plan(settings: Settings, directory: Option<Url>) -> Result<Plan, Mistakes> {
    driven::plan::<Driven>(settings, directory, "wec fleet drive takes the load from the fleet: leave it out")
}

/// Replaces the plan's scenario by the one that makes accounts, and the fleet.
fn set(
    plan: &mut Plan,
    driven: &FleetDrive,
    (workers, accounts): (u32, u64),
    run_time: Duration,
) -> anyhow::Result<()> {
    let [base] = &plan.scenarios[..] else {
        let why = "wec fleet drive makes the scenarios: use a configuration file without scenarios";
        anyhow::bail!(WrongUse(why.to_owned()));
    };
    let second = Duration::from_secs(1);
    let ahead = usize::try_from(AHEAD)?;
    let steps = accounts.div_ceil(PREPARED);
    let spread = (0..steps).map(|step| accounts * (step + 1) / steps - accounts * step / steps);
    let counts: Vec<u64> = std::iter::repeat_n(0, ahead).chain(spread).collect();
    let fleet = Scenario {
        name: "fleet".to_owned(),
        start_at: Duration::from_secs(counts.len() as u64 + AHEAD),
        run_time,
        load: driven.load(workers),
        weights: Weights::only(Chain::Refresh),
        ..base.clone()
    };
    let made = base.repeating("make-accounts".to_owned(), Chain::Registration, None, &counts, second);
    plan.scenarios = vec![fleet, made];
    // What a client does after a 503 is its class's business.
    plan.patience.max_retries = 0;
    Ok(())
}

/// A window, planned, and the fleet at its begin.
struct Planned {
    from: Second,
    /// What the model gives in the window, by class.
    classes: Vec<Flow>,
    series: PlannedSeries,
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
        let mut series = PlannedSeries::default();
        for _ in 0..window.length {
            let tick = cohorts.step();
            series.add(&tick.total());
            classes.iter_mut().zip(&tick.classes).for_each(|(sum, flow)| sum.add(flow));
        }
        Self { from, classes, series, live }
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
    #[serde(skip)]
    extremes: Extremes,
    #[serde(skip)]
    start_day: i32,
    /// The second of the fleet's clock at which the run ended: before the window's end if it was ended early.
    ended_at: Second,
    classes: Vec<&'static str>,
    planned_classes: Vec<Totals>,
    driven_classes: Vec<Totals>,
}

impl Report {
    fn text(&self, classes: &[ClientClass]) -> String {
        type Count = fn(&Totals) -> u64;
        let rows: [(&str, Count); 8] = [
            ("orders", |totals| totals.orders),
            ("due", |totals| totals.due),
            ("issued", |totals| totals.issued),
            ("refused", |totals| totals.refused),
            ("failed", |totals| totals.failed),
            ("not sent", |totals| totals.not_sent),
            ("late", |totals| totals.late),
            ("expired", |totals| totals.expired),
        ];
        let mut text = format!("\n{:<14}{:>12}{:>12}\n", "fleet", "planned", "driven");
        for (name, value) in rows {
            let (planned, driven) = (text::count(value(&self.planned)), text::count(value(&self.driven)));
            text.push_str(&format!("{name:<14}{planned:>12}{driven:>12}\n"));
        }
        text.push_str(&self.levels());
        let driven: Vec<_> = classes.iter().copied().zip(self.driven_classes.iter().copied()).collect();
        text.push_str(text::by_class(&driven).trim_end());
        text
    }

    /// The worst second, and what waited.
    fn levels(&self) -> String {
        let Extremes { peak, backlog, drained_after } = self.extremes;
        let moment = |second| time::moment_text(self.start_day, second);
        let mut text = String::new();
        if self.ended_at < self.from + self.seconds {
            let passed = time::duration_text(self.ended_at - self.from);
            text.push_str(&format!("the run ended after {passed} of the window; planned is all of it\n"));
        }
        let mean = self.driven.orders as f64 / f64::from((self.ended_at - self.from).max(1));
        if peak.0 > 0 {
            let times = text::times(peak.0 as f64 / mean);
            let (orders, at) = (text::count(peak.0), moment(peak.1));
            text.push_str(&format!("worst second: {orders} orders at {at}, {times} times the mean\n"));
        }
        if backlog.0 > 0 {
            let drained = match drained_after {
                Some(seconds) => format!("drained {} later", time::duration_text(seconds)),
                None => "not drained at the end".to_owned(),
            };
            let (most, at) = (text::count(backlog.0), moment(backlog.1));
            text.push_str(&format!("backlog: at most {most} renewals, at {at}, {drained}\n"));
        }
        text.push_str(&format!(
            "{} renewals waited and {} sites were down at the end\n\n",
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
    fn a_window_is_within_the_fleets_time() {
        let within = |text: &str| window(text).unwrap().within(time::DAY);
        assert_eq!((within("worst:1d"), within("23h:1h")), (Ok(()), Ok(())));
        for (text, part) in
            [("worst:400d", "--window: 400d are more"), ("23h:2h", "--window: 23h and 2h are more")]
        {
            let error = within(text).unwrap_err();
            assert!(error.contains(part) && error.contains("give a longer --length"), "{text}: {error}");
        }
    }

    #[test]
    fn workers_are_for_the_plans_worst_second_and_too_few_are_warned_about() {
        for (peak, workers) in [(0, 1_000), (200, 1_000), (201, 1_005), (10_000, 50_000), (u64::MAX, 50_000)]
        {
            assert_eq!(workers_for(peak), workers, "{peak}");
        }
        assert_eq!(too_few(1_000, 1_000), None);
        let said = too_few(1_000, 38_840).unwrap();
        assert!(
            said.contains("1,000 workers are fewer than the 38,840 orders of the worst second"),
            "{said}"
        );
        assert!(said.contains("give --workers 50000, or a lower --speed"), "{said}");
    }

    #[test]
    fn the_load_in_a_file_is_refused() {
        let mut settings = Settings::default();
        settings.text("load.toml", "seed = 1\nrate = 5\n");
        let error = plan(settings, Url::parse("http://127.0.0.1:1/dir").ok()).unwrap_err().to_string();
        assert!(
            error.contains("load.toml:2: rate: wec fleet drive takes the load from the fleet"),
            "{error}"
        );
    }
}
