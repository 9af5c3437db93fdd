//! `wec replay --drive`: repeats the chain starts of a log at a CA.
//!
//! Each kind of chain, and each profile of its orders, becomes a scenario whose arrivals are counted by steps of
//! time. The rest is a run like any other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use url::Url;
use wec_analytics::{LogReport, read_logs};
use wec_record::{Chain, Record, RunTimes, Within};
use wec_requester::config::{Command, Mistakes, Settings};
use wec_requester::{Flags, Plan, Scenario};
use wec_startup::{Exit, Stop, WrongUse, say};

use crate::driven;
use crate::here::{self, Here};
use crate::output::{OutputOptions, refuse_an_input};

/// The shortest step in which arrivals are counted.
const STEP: Duration = Duration::from_millis(100);
/// Time between the begin of the run and its first start: a node that receives a rate late loses the starts before.
const AHEAD: Duration = Duration::from_secs(3);
/// The most steps of a run; the steps of a longer one are longer. The plan in the log's header has all of them.
const MAX_STEPS: u128 = 3_600;

/// The keys of a run that the log does not set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Drive {}

impl Command for Drive {
    // Here --strict applies to the log.
    const OWN: &'static [&'static str] = &["directory", "strict"];
    const SETS_LOAD: bool = true;
    const SETS: &'static [&'static str] = &["profile"];
}

/// The logs whose starts are run again, and where.
pub(super) struct Recorded {
    pub(super) logs: Vec<PathBuf>,
    /// Whether a log with problems is an error.
    pub(super) strict: bool,
    /// The CA's directory.
    pub(super) directory: Url,
    /// Recorded seconds in a second.
    pub(super) speed: f64,
}

/// Runs the starts of the logs at a CA.
pub(super) async fn drive(
    recorded: Recorded,
    flags: Flags<Drive>,
    output: OutputOptions,
    stop: Stop,
) -> anyhow::Result<Exit> {
    let Recorded { logs, strict, directory, speed } = recorded;
    for file in output.json.iter().chain(&output.junit) {
        refuse_an_input(file, &logs)?;
    }
    let read = tokio::task::spawn_blocking(move || Starts::read(&logs));
    let Some(read) = stop.finish.run_until_cancelled(read).await else { return Ok(Exit::Interrupted) };
    let (starts, report) = read.context("reading the log")??;
    super::tell(&report.why_incomplete(), strict)?;
    let is_cut = flags.plan.is_given("run_time");
    let mut plan = match plan(flags.plan.settings(), directory) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(&mistakes);
            output.leave_mistakes(&mistakes);
            return Ok(Exit::Usage);
        }
    };
    let notes = vec![starts.set(&mut plan, speed, is_cut)?];
    here::run(Here { plan, output, notes, when_limited: "" }, stop).await
}

/// The plan without its scenarios. Keys of a file that the log sets are errors.
fn plan(settings: Settings, directory: Url) -> Result<Plan, Mistakes> {
    driven::plan::<Drive>(
        settings,
        Some(directory),
        "wec replay --drive takes the load from the log: leave it out",
    )
}

/// When chains were due in a recorded run.
#[derive(Debug, Default)]
struct Starts {
    /// By chain and profile, nanoseconds since the Unix epoch.
    due: BTreeMap<(Chain, String), Vec<u64>>,
    /// Chains without a time in the run, or without a name.
    left_out: u64,
}

impl Starts {
    fn read(logs: &[PathBuf]) -> anyhow::Result<(Self, LogReport)> {
        let (mut starts, mut times) = (Self::default(), RunTimes::default());
        let report = read_logs(logs, |record| {
            if let Record::Header(header) = record {
                times.begin(header.started_unix_ns);
            }
            let at = record.unix_ns().unwrap_or(0);
            let within = times.take(at, at) != Within::Nothing;
            let Record::Chain { origin_unix_ns, result, .. } = record else { return };
            let due_before = result.due <= result.done;
            match result.chain.filter(|_| *origin_unix_ns > 0 && within && due_before) {
                Some(chain) => {
                    // A certificate has the profile of the order that was ready.
                    let chooses = chain.orders() && chain != Chain::Certificate;
                    let profile = if chooses { result.profile.clone() } else { String::new() };
                    let due = origin_unix_ns.saturating_add(result.due);
                    starts.due.entry((chain, profile)).or_default().push(due);
                }
                None => starts.left_out += 1,
            }
        })?;
        Ok((starts, report))
    }

    /// Makes these starts the load of the plan, `speed` times as fast. Returns a line for people.
    fn set(&self, plan: &mut Plan, speed: f64, is_cut: bool) -> anyhow::Result<String> {
        let all = || self.due.values().flatten().copied();
        let (Some(first), Some(last)) = (all().min(), all().max()) else {
            anyhow::bail!("the log has no chains with times, so there is nothing to start");
        };
        let [base] = &plan.scenarios[..] else {
            anyhow::bail!(WrongUse(
                "--drive takes the scenarios from the log: use a configuration file without scenarios"
                    .to_owned()
            ));
        };
        let after = |due: u64| Duration::from_nanos(due - first).div_f64(speed);
        let step = step(after(last));
        let steps = usize::try_from(after(last).as_nanos() / step.as_nanos() + 1)?;
        let ahead = usize::try_from(AHEAD.as_nanos().div_ceil(step.as_nanos()))?;
        let cut = is_cut.then_some(base.run_time.saturating_add(AHEAD));
        let mut scenarios = Vec::with_capacity(self.due.len());
        for (number, ((chain, profile), due)) in self.due.iter().enumerate() {
            let mut counts = vec![0; ahead + steps];
            for due in due {
                counts[ahead + usize::try_from(after(*due).as_nanos() / step.as_nanos())?] += 1;
            }
            let several = self.due.keys().filter(|(other, _)| other == chain).count() > 1;
            let name = if several { format!("{chain}-{number}") } else { chain.to_string() };
            let profile = match &profile[..] {
                "" => None,
                named => Some(named.parse().map_err(anyhow::Error::msg)?),
            };
            let scenario = base.repeating(name, *chain, profile, &counts, step);
            let run_time = cut.map_or(scenario.run_time, |cut| cut.min(scenario.run_time));
            scenarios.push(Scenario { run_time, ..scenario });
        }
        ensure!(scenarios.len() <= 64, "the log has too many profiles to drive: {}", scenarios.len());
        scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        plan.scenarios = scenarios;
        let left_out = match self.left_out {
            0 => String::new(),
            some => format!("; {some} without a time in the run or a known chain are left out"),
        };
        Ok(format!(
            "drives {} recorded chain starts within {}, counted by steps of {}{left_out}",
            all().count(),
            wec_analytics::time_text(u64::try_from(after(last).as_nanos())?),
            wec_analytics::time_text(u64::try_from(step.as_nanos())?),
        ))
    }
}

/// The shortest step with which a run of this length has few enough of them.
fn step(length: Duration) -> Duration {
    let fits = |step: &Duration| length.as_nanos() / step.as_nanos() < MAX_STEPS;
    (0..40).map(|doublings| STEP * 2u32.pow(doublings % 31)).find(fits).unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_in_a_file_is_refused() {
        let plan = |text: &str| {
            let mut settings = Settings::default();
            settings.text("load.toml", text);
            plan(settings, Url::parse("http://127.0.0.1:1/dir").unwrap())
        };
        plan("\u{feff}directory = \"http://127.0.0.1:2/dir\"\nseed = 1\nrun_time = \"5s\"\n").unwrap();
        let refused = plan("seed = 1\nrate = 5\n[weights]\nrevoke = 3\n").unwrap_err().to_string();
        for line in [
            "load.toml:2: rate: wec replay --drive takes the load from the log",
            "load.toml:4: weights.revoke: ",
        ] {
            assert!(refused.contains(line), "{refused}");
        }
    }

    #[test]
    fn a_longer_run_has_longer_steps() {
        let cases = [(0, 100), (359_999, 100), (360_000, 200), (3_600_000, 1_600)];
        for (length, wanted) in cases {
            assert_eq!(step(Duration::from_millis(length)), Duration::from_millis(wanted), "{length}");
        }
    }
}
