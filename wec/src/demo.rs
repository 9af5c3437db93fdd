//! `wec demo`: the whole pipeline against the built-in CA, with nothing installed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use wec_null_ca::{Config as CaConfig, Latency, NullCa, Validation};
use wec_requester::config::{Command, Decided, Key};
use wec_requester::{Flags, Listen};
use wec_startup::{Exit, Stop, say};

use crate::here::{self, Here};
use crate::output::OutputOptions;

/// The limit is expected in a demonstration.
const WHEN_LIMITED: &str = "A limited load tester is expected here: in a demonstration the CA shares its processors. The figures \
    are of both together.\n";

/// Options of `wec demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags<Demo>,
    #[command(flatten)]
    output: OutputOptions,
}

/// A demonstration has no configuration, so the environment is not read either.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Demo {}

impl Command for Demo {
    const ENVIRONMENT: bool = false;

    fn takes(key: &Key) -> bool {
        ["workers", "run_time", "thresholds"].contains(&key.name)
    }

    fn help(key: &Key) -> &'static str {
        match key.name {
            "workers" => "Virtual users that run chains concurrently [default: 50]",
            "run_time" => "How long to run: 30s, 5m, 1h30m [default: 60s]",
            _ => key.help,
        }
    }
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
    std::fs::write(&root, ca.root_pem().context("the built-in CA uses HTTPS")?)?;
    let directory = Some(ca.directory_url().parse().context("the built-in CA's directory")?);
    let listen = Some(Listen { http01: Some(http01), tlsalpn01: Some(tlsalpn01), dns: None });
    let decided = Decided { directory, listen, ..Decided::default() };
    let mut plan = match options.flags.plan.resolve_as(decided, None) {
        Ok(plan) => plan,
        Err(mistakes) => {
            say(mistakes);
            return Ok(Exit::Usage);
        }
    };
    plan.cacert = Some(root);
    plan.state = format!("sqlite://{}", folder.path().join("state.sqlite").display());
    // The built-in CA validates once and decides by that.
    plan.plain.challenge_linger = Duration::ZERO.into();
    let notes = vec![
        "a demonstration: the built-in CA answers slowly on purpose; the figures are not those of a real CA"
            .to_owned(),
    ];
    let outcome =
        here::run(Here { plan, output: options.output, notes, when_limited: WHEN_LIMITED }, stop).await;
    ca.stop().await;
    outcome
}

/// A loopback port that was free at the time of the call.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    let listener =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port on loopback")?;
    Ok(listener.local_addr()?)
}
