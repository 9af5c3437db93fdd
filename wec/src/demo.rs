//! `wec demo`: the whole pipeline against the built-in CA, with nothing installed.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use wec_null_ca::{Config as CaConfig, Latency, NullCa, Validation};
use wec_requester::PlanOptions;
use wec_startup::{Exit, Stop, say};

use crate::here::{self, Here};
use crate::run::OutputOptions;

/// Honest, and nothing to worry about.
const WHEN_LIMITED: &str = "That the load tester was limited is to be expected here: in a demonstration the CA shares its processors. The figures \
    are of both together.\n";

/// What `wec demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Virtual users that run chains side by side [default: 50]
    #[arg(short = 'u', long, value_name = "N")]
    workers: Option<String>,
    /// How long to run: 30s, 5m [default: 60s]
    #[arg(short = 't', long, value_name = "TIME")]
    run_time: Option<String>,
    /// What the run must hold to pass, else it ends with 99: "chain.certificate{p(99)} < 2s"; may be repeated
    #[arg(long, value_name = "EXPR")]
    threshold: Vec<String>,
    #[command(flatten)]
    output: OutputOptions,
}

pub(crate) async fn demo(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir().context("a folder for the demonstration's state")?;
    // Free ports, so that a demonstration never meets a Pebble or another demonstration.
    let (http01, tlsalpn01) = (free_port()?, free_port()?);
    let ca = NullCa::start(CaConfig {
        latency: vec!["5ms..15ms".parse()?],
        validation: Validation {
            delay: "20ms..80ms".parse::<Latency>()?,
            http01: Some(http01),
            tls_alpn01: Some(tlsalpn01),
            ..Validation::default()
        },
        bad_nonce: "0.01".parse()?,
        ..CaConfig::default()
    })?;
    let root = folder.path().join("root.pem");
    std::fs::write(&root, ca.root_pem().context("the built-in CA speaks HTTPS")?)?;
    let plan = PlanOptions {
        directory: Some(ca.directory_url().to_owned()),
        cacert: Some(root.display().to_string()),
        workers: options.workers,
        run_time: options.run_time,
        threshold: options.threshold,
        state: Some(format!("sqlite://{}", folder.path().join("state.sqlite").display())),
        http01_listen: Some(http01.to_string()),
        tlsalpn01_listen: Some(tlsalpn01.to_string()),
        ..PlanOptions::default()
    };
    let plan = match plan.resolve(None) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    let notes = vec![
        "a demonstration: the built-in CA answers, a little slowly on purpose; its figures say nothing about any real CA"
            .to_owned(),
    ];
    let outcome =
        here::run(Here { plan, output: options.output, notes, when_limited: WHEN_LIMITED }, stop).await;
    ca.stop().await;
    outcome
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    let listener =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port on loopback")?;
    Ok(listener.local_addr()?)
}
