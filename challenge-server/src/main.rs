//! The challenge server in a process of its own.

use std::process::ExitCode;

use clap::Parser;
use wec_challenge_server::{Options, run};

/// Answers a CA's http-01, tls-alpn-01 and dns-01 validations, and records every one
#[derive(Parser)]
#[command(name = "wec-challenge-server", version)]
struct Command {
    #[command(flatten)]
    options: Options,
}

// One thread: the work of a validation is small, and a second one would cost more in hand-overs than it takes over.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command { options } = Command::parse();
    wec_startup::run_service(|stop| run(options, stop)).await
}
