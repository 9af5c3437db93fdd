//! `wec hammer`, `wec seq`, `wec aseq`: `wec run` with the load said in a few words.
//!
//! | command | workers |
//! | --- | --- |
//! | `hammer N` | N, all the time |
//! | `seq INTERVAL N N N…` | each N in turn, each for INTERVAL |
//! | `aseq INCREMENT FINAL INTERVAL` | INCREMENT at the start, as many more after every INTERVAL, until FINAL has been held for one |

use std::time::Duration;

use wec_requester::PlanOptions;
use wec_startup::{Exit, Stop, say};

use crate::run;

/// The most workers of a run.
const MAX_WORKERS: u32 = 1_000_000;
/// The most steps of one sequence.
const MAX_STEPS: u32 = 10_000;

/// What `wec hammer` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Hammer {
    /// Virtual users that run chains side by side
    #[arg(value_name = "N", value_parser = workers)]
    number: u32,
    #[command(flatten)]
    run: run::Options,
}

/// What `wec seq` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Seq {
    /// How long each number of workers is kept: 30s, 5m
    #[arg(value_parser = interval)]
    interval: Duration,
    /// Numbers of workers, in turn
    #[arg(value_name = "N", required = true, value_parser = workers)]
    numbers: Vec<u32>,
    #[command(flatten)]
    run: run::Options,
}

/// What `wec aseq` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Aseq {
    /// Workers at the start, and added after every interval
    #[arg(value_parser = increment)]
    increment: u32,
    /// Workers in the end
    #[arg(value_name = "FINAL", value_parser = workers)]
    last: u32,
    /// How long each number of workers is kept: 30s, 5m
    #[arg(value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    run: run::Options,
}

pub(crate) async fn hammer(Hammer { number, run }: Hammer, stop: Stop) -> anyhow::Result<Exit> {
    run_with("hammer", run, number, None, stop).await
}

pub(crate) async fn seq(Seq { interval, numbers, run }: Seq, stop: Stop) -> anyhow::Result<Exit> {
    run_with("seq", run, numbers[0], Some(steps(interval, numbers)), stop).await
}

pub(crate) async fn aseq(aseq: Aseq, stop: Stop) -> anyhow::Result<Exit> {
    let Aseq { increment, last, interval, run } = aseq;
    if increment > last {
        say(format_args!(
            "INCREMENT: {increment} is more than FINAL, which is {last}, and workers begin with INCREMENT: they would never rise; take {last} at \
             most, or wec hammer {last} --run-time {} to keep them",
            humantime::format_duration(interval)
        ));
        return Ok(Exit::Usage);
    }
    if last.div_ceil(increment) > MAX_STEPS {
        say(format_args!(
            "INCREMENT: {increment} up to {last} are more than {MAX_STEPS} steps: take a larger one, or wec run --stages {}:{last}",
            humantime::format_duration(interval)
        ));
        return Ok(Exit::Usage);
    }
    run_with("aseq", run, increment, Some(steps(interval, rising(increment, last))), stop).await
}

/// Numbers of workers from `increment` in steps of it to `last`.
fn rising(increment: u32, last: u32) -> Vec<u32> {
    let whole = (1..).map(|step: u32| step.saturating_mul(increment)).take_while(|number| *number < last);
    whole.chain([last]).collect()
}

/// As `--stages` takes it: each number is jumped to, then kept.
fn steps(interval: Duration, numbers: impl IntoIterator<Item = u32>) -> String {
    let interval = humantime::format_duration(interval).to_string().replace(' ', "");
    let stages = numbers.into_iter().map(|number| format!("0s:{number},{interval}:{number}"));
    stages.collect::<Vec<_>>().join(",")
}

async fn run_with(
    command: &str,
    mut options: run::Options,
    workers: u32,
    stages: Option<String>,
    stop: Stop,
) -> anyhow::Result<Exit> {
    let contradicting = contradictions(&options.plan, stages.is_some());
    if !contradicting.is_empty() {
        say(format_args!(
            "wec {command} says itself how hard to push: leave away {}, or use wec run",
            contradicting.join(", ")
        ));
        return Ok(Exit::Usage);
    }
    options.plan.executor = Some("workers".into());
    options.plan.workers = Some(workers.to_string());
    options.plan.stages = stages;
    run::run(options, stop).await
}

/// Flags that say how hard to push, too.
fn contradictions(plan: &PlanOptions, staged: bool) -> Vec<&'static str> {
    [
        ("--executor", plan.executor.is_some()),
        ("--workers", plan.workers.is_some()),
        ("--rate", plan.rate.is_some()),
        ("--target-rps", plan.target_rps.is_some()),
        ("--iterations", plan.iterations.is_some()),
        ("--stages", plan.stages.is_some()),
        ("--run-time", staged && plan.run_time.is_some()),
    ]
    .into_iter()
    .filter_map(|(flag, given)| given.then_some(flag))
    .collect()
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
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(format!("{text:?} is not a time like 30s, 5m, 1h30m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_stages() {
        assert_eq!(steps(Duration::from_secs(90), [5, 20]), "0s:5,1m30s:5,0s:20,1m30s:20");
        assert_eq!(rising(10, 35), [10, 20, 30, 35]);
        assert_eq!(rising(10, 30), [10, 20, 30]);
        assert_eq!(rising(10, 4), [4]);
        assert_eq!(rising(u32::MAX, u32::MAX), [u32::MAX]);
    }

    #[test]
    fn a_sequence_is_as_long_as_its_steps() {
        let plan = PlanOptions {
            directory: Some("https://127.0.0.1:14000/dir".into()),
            workers: Some("10".into()),
            stages: Some(steps(Duration::from_secs(30), rising(10, 35))),
            ..PlanOptions::default()
        };
        let plan = plan.resolve(None).unwrap();
        assert_eq!(plan.run_time(), Duration::from_secs(120));
        let workers = plan.scenarios[0].load.workers();
        let seen = [0, 29, 30, 89, 90, 119].map(|at| workers.at(Duration::from_secs(at)));
        assert_eq!(seen, [10.0, 10.0, 20.0, 30.0, 35.0, 35.0]);
    }
}
