//! Caddy as a CA (`acme_server`), and the loopback address on which it finds what it validates.
//!
//! Caddy asks the system's resolver, and validates on ports 53, 80 and 443: none of it can be configured in 2.6.
//! So a test gets a loopback address of its own ([`Standard`]), on which DNS and challenges are served at their
//! standard ports, and Caddy gets an `/etc/resolv.conf` of its own, in a mount namespace, that names this address.
//! Nothing but Caddy is in the namespace: the test's client and servers stay where they are.
//!
//! A test reserves the address by [`Standard::reserve`], serves DNS on `dns()` (with `address()` as the answer to every A
//! query), http-01 on `http01()` and tls-alpn-01 on `tlsalpn01()`, and then starts [`Caddy`]. It issues from
//! `directory_url()` and trusts `ca_pem()`. `acme/tests/acme/caddy.rs` does so.
//!
//! It needs root, for the ports and the namespace; without it, [`Standard::reserve`] fails with a message
//! about this.

use std::hash::{BuildHasher as _, RandomState};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::ports::{free_port, on_free_ports};
use crate::process::{PATIENCE, Process, Program};

const CADDY: Program = Program { binary: "caddy", package: "caddy" };
const UNSHARE: Program = Program { binary: "unshare", package: "util-linux" };

/// A loopback address whose standard ports are free: 53, 80 and 443.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    address: Ipv4Addr,
}

impl Standard {
    /// Finds an address. Two test runs at once get two.
    ///
    /// # Errors
    /// When the ports cannot be bound: they need root.
    pub fn reserve() -> anyhow::Result<Self> {
        let mut last = None;
        for attempt in 0..50 {
            let [.., a, b, c] = RandomState::new().hash_one(attempt).to_be_bytes();
            // 127.0.x.y is left to those who write addresses by hand; the last byte is no network's first or last.
            let address = Ipv4Addr::new(127, a.clamp(16, 250), b, c.clamp(1, 254));
            match bindable(address) {
                Ok(()) => return Ok(Self { address }),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    bail!(
                        "cannot bind port 53 of {address}: Caddy validates on ports 53, 80 and 443, so this test \
                         must run as root"
                    );
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("no address tried"), Into::into)).context(
            "no loopback address has its ports 53, 80 and 443 free (is a server bound to all addresses?)",
        )
    }

    /// The address: what every name must resolve to.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where DNS is asked, UDP and TCP.
    pub fn dns(&self) -> SocketAddr {
        (self.address, 53).into()
    }

    /// Where http-01 is validated.
    pub fn http01(&self) -> SocketAddr {
        (self.address, 80).into()
    }

    /// Where tls-alpn-01 is validated.
    pub fn tlsalpn01(&self) -> SocketAddr {
        (self.address, 443).into()
    }
}

fn bindable(address: Ipv4Addr) -> std::io::Result<()> {
    UdpSocket::bind((address, 53))?;
    for port in [53, 80, 443] {
        TcpListener::bind((address, port))?;
    }
    Ok(())
}

/// A running Caddy that is a CA.
#[derive(Debug)]
pub struct Caddy {
    process: Process,
    port: u16,
    admin: u16,
}

impl Caddy {
    /// Starts Caddy with `standard` as the system's resolver, and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed, does not start, or no mount namespace can be had; the message has its log.
    pub async fn start(standard: &Standard) -> anyhow::Result<Self> {
        on_free_ports(async || Self::start_once(standard).await).await
    }

    async fn start_once(standard: &Standard) -> anyhow::Result<Self> {
        let (port, http_port, admin) = (free_port(), free_port(), free_port());
        let (caddy, unshare) = (CADDY.find()?, UNSHARE.find()?);
        let mut process = Process::start_with("caddy", |dir| {
            std::fs::write(dir.join("resolv.conf"), format!("nameserver {}\n", standard.address))?;
            std::fs::write(
                dir.join("Caddyfile"),
                format!(
                    "{{\n\
                     \tadmin 127.0.0.1:{admin}\n\
                     \tservers {{\n\
                     \t\tmetrics\n\
                     \t}}\n\
                     \thttp_port {http_port}\n\
                     \thttps_port {port}\n\
                     \tauto_https disable_redirects\n\
                     \tskip_install_trust\n\
                     \tstorage file_system {data}\n\
                     }}\n\
                     https://localhost:{port} {{\n\
                     \ttls internal\n\
                     \tacme_server\n\
                     }}\n",
                    data = dir.join("data").display()
                ),
            )?;
            let mut command = Command::new(&unshare);
            command
                .args(["--mount", "--propagation", "private", "sh", "-c"])
                .arg("mount --bind resolv.conf /etc/resolv.conf && exec \"$1\" run --config Caddyfile --adapter caddyfile")
                .arg("caddy")
                .arg(&caddy)
                .env("HOME", dir)
                .env("XDG_DATA_HOME", dir)
                .env("XDG_CONFIG_HOME", dir);
            Ok(command)
        })?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let root = root(&process);
        // It listens before it has made the certificate that it serves with.
        process
            .ready(PATIENCE, async || {
                let root = root.clone();
                tokio::task::spawn_blocking(move || greet(address, &root))
                    .await
                    .is_ok_and(|greeted| greeted.is_ok())
            })
            .await?;
        Ok(Self { process, port, admin })
    }

    /// The URL of its directory.
    pub fn directory_url(&self) -> String {
        format!("https://localhost:{}/acme/local/directory", self.port)
    }

    /// Where its metrics are, for Prometheus.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.admin)
    }

    /// File with its root certificate, PEM: of its HTTPS server and of what it issues.
    pub fn ca_file(&self) -> PathBuf {
        root(&self.process)
    }

    /// Its root certificate, PEM.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ca_pem(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(self.ca_file()).context("cannot read Caddy's root")
    }

    /// The process: its log, its pid, and how to kill it.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A TLS handshake as `localhost`, trusting the root in this file.
fn greet(address: SocketAddr, root: &Path) -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(())
}

fn root(process: &Process) -> PathBuf {
    process.dir().join("data/pki/authorities/local/root.crt")
}
