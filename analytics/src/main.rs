//! `wec-analytics`: the service as its own program.

use std::process::ExitCode;

use clap::Parser;
use wec_analytics::{Options, run};
use wec_startup::Logging;

/// Receives results, logs them, aggregates them and shows them live
#[derive(Parser)]
#[command(name = "wec-analytics", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    logging: Logging,
}

fn main() -> ExitCode {
    wec_startup::guarded(serve)
}

#[tokio::main]
async fn serve() -> ExitCode {
    let Cli { options, logging } = wec_startup::parse_arguments::<Cli>();
    wec_startup::run_service(&logging, |stop| run(options, stop)).await
}
