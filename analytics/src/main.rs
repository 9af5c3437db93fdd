//! `wec-analytics`, the service on its own.

use std::process::ExitCode;

use clap::Parser;
use wec_analytics::{Options, run};
use wec_startup::Logging;

/// Takes results, logs them, aggregates them and shows them live
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
