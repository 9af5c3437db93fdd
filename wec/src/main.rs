//! `wec`: the whole suite in one binary. This file is its table of contents.

mod bench;
mod calibrate;
mod capacity;
mod demo;
mod here;
mod junit;
mod progress;
mod run;
mod session;
mod shorthand;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wec_startup::{Exit, Stop, run_service, start_logging, stop_on_signals};

/// Load-tests ACME certificate authorities the way their users use them
#[derive(Parser)]
#[command(name = "wec", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run against the built-in CA: nothing to install, nothing to configure
    Demo(demo::Options),
    /// Run against an ACME CA, with challenge server, analytics and page in this process
    Run(run::Options),
    /// Run with a constant number of workers
    Hammer(shorthand::Hammer),
    /// Run with one number of workers after the other
    Seq(shorthand::Seq),
    /// Run with ever more workers, step by step
    Aseq(shorthand::Aseq),
    /// Find the highest rate that a CA sustains
    Capacity(capacity::Options),
    /// Run virtual users that send their results to analytics elsewhere
    Requester(run::RemoteRun),
    /// Answer a CA's validations from stored challenge data
    ChallengeServer(wec_challenge_server::Options),
    /// Take results, log them and show them live
    Analytics(wec_analytics::Options),
    /// The built-in CA by itself: for demonstrations, faults and calibration
    NullCa(wec_null_ca::Options),
    /// Look at a run, and change it while it goes on
    Session(session::Options),
    /// Print the JSON Schema of configuration files, for editors
    Schema,
    /// Measure what this machine can do as a load tester, and keep it
    Calibrate(calibrate::Options),
    /// Measure the load tester itself
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::CouldNotRun.into();
        }
    };
    runtime.block_on(async {
        match command {
            Command::Demo(options) => conclude(|stop| demo::demo(options, stop)).await,
            Command::Run(options) => conclude(|stop| run::run(options, stop)).await,
            Command::Hammer(options) => conclude(|stop| shorthand::hammer(options, stop)).await,
            Command::Seq(options) => conclude(|stop| shorthand::seq(options, stop)).await,
            Command::Aseq(options) => conclude(|stop| shorthand::aseq(options, stop)).await,
            Command::Capacity(options) => conclude(|stop| capacity::capacity(options, stop)).await,
            Command::Schema => conclude(|_| schema()).await,
            Command::Requester(options) => conclude(|stop| run::remote(options, stop)).await,
            Command::Session(options) => conclude(|_| session::session(options)).await,
            Command::Calibrate(options) => conclude(|stop| calibrate::calibrate(options, stop)).await,
            Command::Bench(options) => conclude(|stop| bench::bench(options, stop)).await,
            Command::ChallengeServer(options) => {
                run_service(|stop| wec_challenge_server::run(options, stop)).await
            }
            Command::Analytics(options) => run_service(|stop| wec_analytics::run(options, stop)).await,
            Command::NullCa(options) => run_service(|stop| wec_null_ca::run(options, stop)).await,
        }
    })
}

/// Runs a command that ends by itself, or in two stages by signals, to its exit code.
async fn conclude<F>(command: impl FnOnce(Stop) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    start_logging("warn");
    let stop = Stop::default();
    let watching = stop_on_signals(stop.clone());
    let outcome = command(stop).await;
    watching.abort();
    wec_startup::conclude(outcome).into()
}

async fn schema() -> anyhow::Result<Exit> {
    wec_startup::report(serde_json::to_string_pretty(&wec_requester::plan_schema())?)?;
    Ok(Exit::Passed)
}
