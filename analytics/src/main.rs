//! `wec-analytics`, the service on its own.

use std::process::ExitCode;

use clap::Parser;
use wec_analytics::{Options, run};

/// Takes results, logs them, aggregates them and shows them live
#[derive(Parser)]
#[command(name = "wec-analytics", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { options } = Cli::parse();
    wec_startup::run_service(|stop| run(options, stop)).await
}
