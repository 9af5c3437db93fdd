//! Pebble: its own certificate, free ports, and the challenge server of this process as its resolver.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;
use wec_requester::Listen;

use super::Started;
use super::server::{Program, Server};
use crate::demo::free_port;

const PEBBLE: Program = Program {
    binary: "pebble",
    install: "apt-get install pebble (Debian, Ubuntu), or go install github.com/letsencrypt/pebble/v2/cmd/pebble@latest",
};
/// Pebble 2.4 deadlocks with three requests in flight (docs/servers.md).
const WORKERS: u32 = 2;

/// Starts it with its files in this folder.
///
/// # Errors
/// When it is not installed or cannot be started.
pub(super) fn start(folder: &Path) -> anyhow::Result<Started> {
    let binary = PEBBLE.find()?;
    let files = wec_pki::loopback_server(&folder.join("pki"), "pebble")?;
    let (address, management) = (free_port()?, free_port()?);
    let (http01, tlsalpn01, dns) = (free_port()?, free_port()?, free_port()?);
    let config = folder.join("pebble.json");
    let text = json!({ "pebble": {
        "listenAddress": address.to_string(),
        "managementListenAddress": management.to_string(),
        "certificate": files.certificate,
        "privateKey": files.key,
        "httpPort": http01.port(),
        "tlsPort": tlsalpn01.port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    std::fs::write(&config, text.to_string()).context("Pebble's configuration")?;
    let mut command = Command::new(binary);
    // Without it, Pebble sleeps up to 15 s before each validation.
    command.arg("-config").arg(&config).env("PEBBLE_VA_NOSLEEP", "1");
    command.arg("-dnsserver").arg(dns.to_string());
    let server = Server::start("pebble", folder, command)?;
    let directory = format!("https://localhost:{}/dir", address.port()).parse()?;
    let listen = Listen { http01: Some(http01), tlsalpn01: Some(tlsalpn01), dns: Some(dns) };
    Ok(Started { server, directory, root: files.ca, listen, workers: WORKERS })
}
