//! Caddy as a CA. Caddy 2.6 asks the system's resolver and validates on ports 53, 80 and 443, none of which can be
//! configured: so it gets a loopback address of its own on which the challenge server has these ports, and an
//! `/etc/resolv.conf` of its own in a mount namespace. Both need root.

use std::hash::{BuildHasher as _, RandomState};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Context as _, bail};
use tokio::process::Command;
use wec_requester::Listen;

use super::Started;
use super::server::{Program, Server};
use crate::demo::free_port;

const CADDY: Program = Program {
    binary: "caddy",
    install: "apt-get install caddy (Debian, Ubuntu), or https://caddyserver.com/download",
};
const UNSHARE: Program = Program { binary: "unshare", install: "apt-get install util-linux" };
/// With two, Caddy 2.6 answers some orders with 500.
const WORKERS: u32 = 1;
/// Addresses tried.
const ATTEMPTS: u32 = 50;

/// Starts it with its files in this folder.
///
/// # Errors
/// When it is not installed, cannot be started, or this is not root.
pub(super) fn start(folder: &Path) -> anyhow::Result<Started> {
    let (caddy, unshare) = (CADDY.find()?, UNSHARE.find()?);
    let own = free_address()?;
    let (address, http, admin) = (free_port()?, free_port()?, free_port()?);
    std::fs::write(folder.join("resolv.conf"), format!("nameserver {own}\n"))?;
    let data = folder.join("data");
    let config = configuration(address.port(), http.port(), admin.port(), &data.display().to_string());
    std::fs::write(folder.join("Caddyfile"), config).context("Caddy's configuration")?;
    let mut command = Command::new(unshare);
    command
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg("mount --bind resolv.conf /etc/resolv.conf && exec \"$1\" run --config Caddyfile --adapter caddyfile")
        .arg("caddy")
        .arg(caddy)
        .env("HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("XDG_CONFIG_HOME", folder);
    let server = Server::start("caddy", folder, command)?;
    let at = |port: u16| SocketAddr::from((own, port));
    Ok(Started {
        server,
        directory: format!("https://localhost:{}/acme/local/directory", address.port()).parse()?,
        root: data.join("pki/authorities/local/root.crt"),
        listen: Listen { http01: Some(at(80)), tlsalpn01: Some(at(443)), dns: Some(at(53)) },
        workers: WORKERS,
    })
}

fn configuration(https: u16, http: u16, admin: u16, data: &str) -> String {
    format!(
        "{{
	admin 127.0.0.1:{admin}
	http_port {http}
	https_port {https}
	auto_https disable_redirects
	skip_install_trust
	storage file_system {data}
}}
https://localhost:{https} {{
	tls internal
	acme_server
}}
"
    )
}

/// A loopback address on which ports 53, 80 and 443 are free.
fn free_address() -> anyhow::Result<Ipv4Addr> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        let [.., a, b, c] = RandomState::new().hash_one(attempt).to_be_bytes();
        // 127.0.x.y is left to those who write addresses by hand; the last byte is no network's first or last.
        let address = Ipv4Addr::new(127, a.clamp(16, 250), b, c.clamp(1, 254));
        match bindable(address) {
            Ok(()) => return Ok(address),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!(
                "cannot listen on port 53 of {address}: Caddy validates on ports 53, 80 and 443 and asks the system's \
                 resolver, so wec try caddy needs root: sudo wec try caddy"
            ),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).context(
            "no loopback address has its ports 53, 80 and 443 free: end the server that listens on all addresses (ss -tulpn \
             shows it)",
        ),
        None => bail!("no loopback address was tried"),
    }
}

fn bindable(address: Ipv4Addr) -> std::io::Result<()> {
    UdpSocket::bind((address, 53))?;
    for port in [53, 80, 443] {
        TcpListener::bind((address, port))?;
    }
    Ok(())
}
