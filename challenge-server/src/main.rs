//! The challenge server as its own process.

use std::process::ExitCode;

use clap::Parser;
use wec_challenge_server::{Options, run};
use wec_startup::Logging;

/// Answers a CA's http-01, tls-alpn-01 and dns-01 validations, and records every one
#[derive(Parser)]
#[command(name = "wec-challenge-server", version)]
struct Command {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    logging: Logging,
}

fn main() -> ExitCode {
    wec_startup::guarded(serve)
}

// One thread: a validation is little work, and a second thread would cost more in hand-overs than it saves.
#[tokio::main(flavor = "current_thread")]
async fn serve() -> ExitCode {
    let Command { options, logging } = wec_startup::parse_arguments::<Command>();
    wec_startup::run_service(&logging, |stop| run(options, stop)).await
}
