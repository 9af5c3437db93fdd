//! Pebble: its own certificate, free ports, and the challenge server of this process as its resolver.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;

use super::server::{Program, Server};
use super::{Listeners, Started};
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
    let listen = Listeners { http01: free_port()?, tlsalpn01: free_port()?, dns: free_port()? };
    let config = folder.join("pebble.json");
    let text = json!({ "pebble": {
        "listenAddress": address.to_string(),
        "managementListenAddress": management.to_string(),
        "certificate": files.certificate,
        "privateKey": files.key,
        "httpPort": listen.http01.port(),
        "tlsPort": listen.tlsalpn01.port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
    }});
    std::fs::write(&config, text.to_string()).context("Pebble's configuration")?;
    let mut command = Command::new(binary);
    // Without it, Pebble sleeps up to 15 s before each validation.
    command.arg("-config").arg(&config).env("PEBBLE_VA_NOSLEEP", "1");
    command.arg("-dnsserver").arg(listen.dns.to_string());
    let server = Server::start("pebble", folder, command)?;
    let directory = format!("https://localhost:{}/dir", address.port()).parse()?;
    Ok(Started { server, directory, root: files.ca, listen, workers: WORKERS })
}
