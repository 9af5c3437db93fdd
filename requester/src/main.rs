//! `wec-requester`, the service on its own.

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use wec_requester::{Challenges, PlanOptions, RemoteOptions, remote_challenges, run_remote};
use wec_startup::{Exit, Stop, conclude, report, say, start_logging, stop_on_signals};

/// Runs virtual users against an ACME CA and sends their results to analytics
#[derive(Parser)]
#[command(name = "wec-requester", version)]
struct Cli {
    #[command(flatten)]
    plan: PlanOptions,
    #[command(flatten)]
    remote: RemoteOptions,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging("info");
    let stop = Stop::default();
    stop_on_signals(stop.clone());
    conclude(run(cli, stop).await).into()
}

async fn run(cli: Cli, stop: Stop) -> anyhow::Result<Exit> {
    let plan = match cli.plan.resolve(std::env::var("WEC_EAB_HMAC_KEY").ok()) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    let Some(challenges) = stop.unless_stopped(remote_challenges(&plan)).await? else {
        debug_assert_eq!(plan.challenges, Challenges::Memory);
        bail!(
            "--challenges memory needs a challenge server in the same process: use wec run, or --challenges redis://…"
        );
    };
    let delivered = run_remote(plan, cli.remote, challenges, stop.clone()).await?;
    report(delivered.report())?;
    Ok(delivered.exit(&stop))
}
