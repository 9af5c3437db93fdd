//! `wec hammer`, `wec seq`, `wec aseq`: `wec run` with short arguments for the load.
//!
//! | command | workers |
//! | --- | --- |
//! | `hammer N` | N, all the time |
//! | `seq INTERVAL N N N…` | each N in turn, each for INTERVAL |
//! | `aseq INCREMENT FINAL INTERVAL` | INCREMENT at the start, INCREMENT more after every INTERVAL, until FINAL has lasted for one |

use std::time::Duration;

use wec_record::plan::{MAX_WORKERS, Stage};
use wec_requester::config::{Command, Decided, Key, Mistakes, Push};
use wec_requester::{Flags, Plan, PlanOptions};
use wec_startup::{Exit, Stop, say};

use crate::output::OutputOptions;
use crate::run::{resolve, run_plan};

/// The most steps of one sequence.
const MAX_STEPS: u32 = 10_000;

/// Options of `wec hammer`.
#[derive(Debug, clap::Args)]
pub(crate) struct Hammer {
    /// Virtual users that run chains concurrently
    #[arg(value_name = "N", value_parser = workers)]
    number: u32,
    #[command(flatten)]
    flags: Flags<Constant>,
    #[command(flatten)]
    output: OutputOptions,
}

/// Options of `wec seq`.
#[derive(Debug, clap::Args)]
pub(crate) struct Seq {
    /// How long each number of workers is kept: 30s, 5m
    #[arg(value_parser = interval)]
    interval: Duration,
    /// Numbers of workers, in turn
    #[arg(value_name = "N", required = true, value_parser = workers)]
    numbers: Vec<u32>,
    #[command(flatten)]
    flags: Flags<Stepped>,
    #[command(flatten)]
    output: OutputOptions,
}

/// Options of `wec aseq`.
#[derive(Debug, clap::Args)]
pub(crate) struct Aseq {
    /// Workers at the start, and added after every interval
    #[arg(value_parser = increment)]
    increment: u32,
    /// Workers at the end
    #[arg(value_name = "FINAL", value_parser = workers)]
    last: u32,
    /// How long each number of workers is kept: 30s, 5m
    #[arg(value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    flags: Flags<Stepped>,
    #[command(flatten)]
    output: OutputOptions,
}

/// A constant number of workers. The command sets the load, `--run-time` the duration.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Constant {}

impl Command for Constant {
    const SETS_LOAD: bool = true;
    const KEEPS: &'static [&'static str] = &["think_time", "start_at", "after", "weights", "warm_up"];

    fn help(key: &Key) -> &'static str {
        match key.name {
            "run_time" => "How long to run: 30s, 5m, 1h30m [default: 60s]",
            "think_time" => "Pause of a worker between two chains: 2s, or a range 1s..5s [default: none]",
            _ => key.help,
        }
    }
}

/// One number of workers after the other. The command also sets the duration.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stepped {}

impl Command for Stepped {
    const SETS_LOAD: bool = true;
    const KEEPS: &'static [&'static str] = Constant::KEEPS;
    const SETS: &'static [&'static str] = &["run_time"];

    fn help(key: &Key) -> &'static str {
        Constant::help(key)
    }
}

pub(crate) async fn hammer(hammer: Hammer, stop: Stop) -> anyhow::Result<Exit> {
    let Hammer { number: workers, flags, output } = hammer;
    run_workers("hammer", flags, Push::Workers { workers, stages: Vec::new() }, output, stop).await
}

pub(crate) async fn seq(Seq { interval, numbers, flags, output }: Seq, stop: Stop) -> anyhow::Result<Exit> {
    run_workers("seq", flags, steps(interval, &numbers), output, stop).await
}

pub(crate) async fn aseq(aseq: Aseq, stop: Stop) -> anyhow::Result<Exit> {
    let Aseq { increment, last, interval, flags, output } = aseq;
    if increment > last {
        say(format_args!(
            "INCREMENT: {increment} is more than FINAL, {last}, so the number would never grow: give {last} at \
             most, or wec hammer {last} --run-time {} for a constant number",
            humantime::format_duration(interval)
        ));
        return Ok(Exit::Usage);
    }
    if last.div_ceil(increment) > MAX_STEPS {
        say(format_args!(
            "INCREMENT: {increment} up to {last} are more than {MAX_STEPS} steps: give a larger one, or use wec run --stages {}:{last}",
            humantime::format_duration(interval)
        ));
        return Ok(Exit::Usage);
    }
    run_workers("aseq", flags, steps(interval, &rising(increment, last)), output, stop).await
}

/// Numbers of workers from `increment` in steps of it to `last`.
fn rising(increment: u32, last: u32) -> Vec<u32> {
    let whole = (1..).map(|step: u32| step.saturating_mul(increment)).take_while(|number| *number < last);
    whole.chain([last]).collect()
}

/// The load jumps to each number, then keeps it.
fn steps(interval: Duration, numbers: &[u32]) -> Push {
    let step = |number: &u32| {
        let target = f64::from(*number);
        [Stage { duration: Duration::ZERO.into(), target }, Stage { duration: interval.into(), target }]
    };
    let workers = numbers.first().copied().unwrap_or_default();
    Push::Workers { workers, stages: numbers.iter().flat_map(step).collect() }
}

async fn run_workers<C: Command>(
    command: &str,
    flags: Flags<C>,
    push: Push,
    output: OutputOptions,
    stop: Stop,
) -> anyhow::Result<Exit> {
    run_plan(read::<C>(command, &flags.plan, push), output, stop).await
}

/// The plan; flags, variables and keys of a file that also set the load are errors.
fn read<C: Command>(command: &str, options: &PlanOptions, push: Push) -> Result<Plan, Mistakes> {
    let mut settings = options.settings();
    settings.refuse(&C::refused(), |_| {
        format!("wec {command} sets the load itself: leave it out, or use wec run")
    });
    resolve(settings, Decided { push, ..Decided::default() })
}

/// As `--workers` takes it.
fn workers(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ ..=MAX_WORKERS) => Ok(number),
        _ => Err(format!("{text:?} is not a whole number from 0 to {MAX_WORKERS}")),
    }
}

fn increment(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 1..=MAX_WORKERS) => Ok(number),
        _ => Err(format!("{text:?} is not a whole number from 1 to {MAX_WORKERS}")),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        // Every step takes this long, and there are many.
        Ok(time) if time > Duration::from_secs(366 * 86_400) => {
            Err(format!("{text:?} is longer than a year"))
        }
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(format!("{text:?} is not a time like 30s, 5m, 1h30m")),
    }
}

#[cfg(test)]
mod tests {
    use wec_requester::config::KeyPlace;

    use super::*;

    #[test]
    fn sequences_become_stages() {
        let Push::Workers { workers, stages } = steps(Duration::from_secs(90), &[5, 20]) else { panic!() };
        let stages: Vec<_> = stages.iter().map(|stage| (stage.duration.0.as_secs(), stage.target)).collect();
        assert_eq!((workers, stages), (5, vec![(0, 5.0), (90, 5.0), (0, 20.0), (90, 20.0)]));
        assert_eq!(rising(10, 35), [10, 20, 30, 35]);
        assert_eq!(rising(10, 30), [10, 20, 30]);
        assert_eq!(rising(10, 4), [4]);
        assert_eq!(rising(u32::MAX, u32::MAX), [u32::MAX]);
    }

    fn plan(push: Push) -> wec_requester::Plan {
        let options = PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir");
        options.resolve_as(Decided { push, ..Decided::default() }, None).unwrap()
    }

    #[test]
    fn a_sequence_is_as_long_as_its_steps() {
        let plan = plan(steps(Duration::from_secs(30), &rising(10, 35)));
        assert_eq!(plan.run_time(), Duration::from_secs(120));
        let workers = plan.scenarios[0].load.workers();
        let seen = [0, 29, 30, 89, 90, 119].map(|at| workers.at(Duration::from_secs(at)));
        assert_eq!(seen, [10.0, 10.0, 20.0, 30.0, 35.0, 35.0]);
    }

    /// The messages of two commands about a file, without its folder.
    fn said(text: &str) -> [String; 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.toml");
        std::fs::write(&file, text).unwrap();
        let options = PlanOptions::default()
            .with("directory", "https://127.0.0.1:14000/dir")
            .with("config", file.display().to_string());
        let constant = Push::Workers { workers: 5, stages: Vec::new() };
        let stepped = steps(Duration::from_secs(1), &[2, 3]);
        let plans =
            [read::<Constant>("hammer", &options, constant), read::<Stepped>("seq", &options, stepped)];
        plans.map(|plan| {
            let said = plan.map(|_| String::new()).unwrap_or_else(|mistakes| mistakes.to_string());
            said.replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn keys_of_a_file_that_set_the_load_are_refused() {
        for line in [
            "executor = \"iterations\"",
            "workers = 3",
            "rate = \"5/s\"",
            "target_rps = 5",
            "iterations = 5",
            "stages = [{ duration = \"1m\", workers = 9 }]",
            "spacing = \"even\"",
            "rate_unit = \"requests\"",
        ] {
            let key = line.split(' ').next().unwrap();
            for (beginning, place) in [
                ("", format!("s.toml:1: {key}")),
                ("[scenarios.a]\n", format!("s.toml:2: scenarios.a.{key}")),
            ] {
                let told = ["hammer", "seq"].map(|command| {
                    format!("{place}: wec {command} sets the load itself: leave it out, or use wec run")
                });
                assert_eq!(said(&format!("{beginning}{line}\n")), told);
            }
        }
        let [constant, stepped] = said("run_time = \"9s\"\n");
        assert_eq!(constant, "", "the command has no time of its own");
        assert_eq!(stepped, "s.toml:1: run_time: wec seq sets the load itself: leave it out, or use wec run");
        assert_eq!(said("[capacity]\nfrom = \"5/s\"\n[weights]\nrevoke = 0\n"), ["", ""]);
    }

    /// A key that neither the plan reads nor the command refuses would have no effect.
    #[test]
    fn every_key_is_read_or_refused() {
        let mut settings = PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir").settings();
        let push = Push::Workers { workers: 5, stages: Vec::new() };
        wec_requester::config::plan::plan(&mut settings, Decided { push, ..Decided::default() }, None);
        let unread = settings.unread().into_iter();
        let unread = unread.filter(|key| !matches!(key.place, KeyPlace::Command | KeyPlace::Search));
        let missed = unread.filter(|key| !Constant::refuses(key)).map(|key| key.name);
        assert_eq!(missed.collect::<Vec<_>>(), [""; 0]);
    }
}
