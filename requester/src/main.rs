//! `wec-requester`: the service as its own program.

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use wec_requester::config::Run;
use wec_requester::{Challenges, Flags, RemoteOptions, remote_challenges, run_remote};
use wec_startup::{Exit, LevelFilter, Logging, Stop, guarded, run_command, say, show};

/// Runs virtual users against an ACME CA and sends their results to analytics
#[derive(Parser)]
#[command(name = "wec-requester", version)]
struct Cli {
    #[command(flatten)]
    flags: Flags<Run>,
    #[command(flatten)]
    remote: RemoteOptions,
    #[command(flatten)]
    logging: Logging,
}

fn main() -> ExitCode {
    guarded(serve)
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> ExitCode {
    let cli = wec_startup::parse_arguments::<Cli>();
    cli.logging.start(LevelFilter::INFO);
    run_command(|stop| run(cli, stop)).await.into()
}

async fn run(cli: Cli, stop: Stop) -> anyhow::Result<Exit> {
    let plan = match cli.flags.plan.resolve(std::env::var("WEC_EAB_HMAC_KEY").ok()) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    let Some(challenges) = stop.unless_stopped(remote_challenges(&plan, &cli.remote.delivery.tls)).await?
    else {
        debug_assert_eq!(plan.challenges, Challenges::Memory);
        bail!(
            "--challenges memory needs a challenge server in the same process: use wec run, or --challenges redis://…"
        );
    };
    let delivered = run_remote(plan, cli.remote, challenges, stop.clone()).await?;
    show(delivered.report());
    Ok(delivered.exit(&stop))
}
