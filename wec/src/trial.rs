//! `wec try`: starts an installed CA on loopback, with certificates and DNS, runs against it, and stops it.
//!
//! | file | subject |
//! | --- | --- |
//! | [`server`] | a server as a child process that never outlives this one |
//! | [`pebble`], [`caddy`] | their configuration, and what they need |

mod caddy;
mod pebble;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use wec_acme::{Clock, Url};
use wec_requester::config::{Command, Decided, Key, Push};
use wec_requester::{Flags, Listen, Plan, connect};
use wec_startup::{Exit, Stop, report, say, told};

use self::server::Server;
use crate::here::{self, Here};
use crate::output::OutputOptions;

/// How long a CA may take to start.
const START: Duration = Duration::from_secs(60);
/// How often a starting CA is asked.
const ASK: Duration = Duration::from_millis(50);

/// Options of `wec try`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The CA
    #[arg(value_name = "CA", value_enum)]
    ca: Ca,
    /// How long to run: 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = "Load")]
    duration: Duration,
    #[command(flatten)]
    flags: Flags<Trial>,
    #[command(flatten)]
    output: OutputOptions,
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("write it like 30s or 5m".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ca {
    /// Pebble, which is started
    Pebble,
    /// Caddy's acme_server, which is started; needs root
    Caddy,
    /// Boulder in containers: prints the commands
    BoulderCompose,
}

/// A trial has no configuration, so the environment is not read either.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trial {}

impl Command for Trial {
    const ENVIRONMENT: bool = false;

    fn takes(key: &Key) -> bool {
        ["workers", "weights", "thresholds", "names_per_order", "key_types"].contains(&key.name)
    }

    fn help(key: &Key) -> &'static str {
        match key.name {
            "workers" => "Virtual users that run chains concurrently [default: 2 at Pebble, 1 at Caddy]",
            _ => key.help,
        }
    }
}

/// A CA that was started.
pub(crate) struct Started {
    /// The process.
    server: Server,
    /// Its directory.
    directory: Url,
    /// The file of the root that signs its HTTPS certificate; it may be written later.
    root: PathBuf,
    /// Where it validates.
    listen: Listen,
    /// The number of workers that it sustains.
    workers: u32,
}

pub(crate) async fn trial(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let Options { ca, duration, flags, output } = options;
    let folder = tempfile::tempdir().context("a folder for the CA")?;
    let mut started = match ca {
        Ca::Pebble => pebble::start(folder.path())?,
        Ca::Caddy => caddy::start(folder.path())?,
        Ca::BoulderCompose => {
            report(BOULDER)?;
            return Ok(Exit::Passed);
        }
    };
    let Started { directory, root, listen, workers, .. } = &started;
    let push = match flags.plan.is_given("workers") {
        true => Push::Settings,
        false => Push::Workers { workers: *workers, stages: Vec::new() },
    };
    let decided =
        Decided { directory: Some(directory.clone()), push, listen: Some(*listen), ..Decided::default() };
    let mut plan = match flags.plan.resolve_as(decided, None) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    for scenario in &mut plan.scenarios {
        scenario.run_time = duration;
    }
    plan.cacert = Some(root.clone());
    plan.state = format!("sqlite://{}", folder.path().join("state.sqlite").display());
    // Both validate once and decide by that.
    plan.plain.challenge_linger = Duration::ZERO.into();
    let notes = vec![format!("the CA is started for this run at {directory}, and stopped after it")];
    stop.unless_stopped(ready(&mut started.server, &plan)).await?;
    let outcome = here::run(Here { plan, output, notes, when_limited: "" }, stop).await;
    started.server.stop().await;
    outcome
}

/// Waits until the CA's directory can be read.
async fn ready(server: &mut Server, plan: &Plan) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + START;
    loop {
        if let Some(status) = server.ended()? {
            bail!("{} ended with {status}; its output:\n{}", server.name(), server.output());
        }
        match connect(plan, Clock::start()).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() >= deadline => {
                let why = told(&error.into());
                bail!(
                    "{} did not start in {START:?}: {why}; its output:\n{}",
                    server.name(),
                    server.output()
                );
            }
            Err(_) => tokio::time::sleep(ASK).await,
        }
    }
}

const BOULDER: &str = "\
Boulder has no package: it runs in containers, built from its own repository, beside a checkout of this one.

  git clone https://github.com/letsencrypt/boulder && cd boulder && docker compose run --rm bsetup
  docker compose run --detach --use-aliases --service-ports --env FAKE_DNS=64.112.117.100 boulder
  cd ../wile-e-coyote
  docker compose -f docker-compose.yml -f docker-compose.boulder.yml up --build

docs/compose.md (Against Boulder) explains the networks, and names its limits.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_for_boulder_are_those_of_the_document() {
        let page = include_str!("../../docs/compose.md");
        for line in BOULDER.lines().filter_map(|line| line.strip_prefix("  ")) {
            assert!(page.contains(line), "{line}");
        }
    }
}
