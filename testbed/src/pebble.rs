//! Pebble, the ACME CA made for testing clients, and `pebble-challtestsrv`, the challenge server made for it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::caddy::Standard;
use crate::ports::{free_address, on_free_ports};
use crate::process::{Process, Program};

const PEBBLE: Program = Program { binary: "pebble", package: "pebble" };
const CHALLTESTSRV: Program = Program { binary: "pebble-challtestsrv", package: "pebble" };

/// How Pebble behaves. The default is Pebble's own, except that it does not sleep before it validates.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// Share of good nonces that it rejects, percent.
    pub nonce_reject: u8,
    /// Share of orders that reuse a valid authorization, percent.
    pub authz_reuse: u8,
    /// Whether it sleeps up to 15 s before each validation.
    pub sleep: bool,
    /// Whether it takes every validation for a success without looking.
    pub always_valid: bool,
    /// Port that http-01 is validated on.
    pub http_port: u16,
    /// Port that tls-alpn-01 is validated on.
    pub tls_port: u16,
    /// The resolver that it asks, over TCP; the system's if none.
    pub dns: Option<SocketAddr>,
    /// The only external account, identifier and HMAC key in base64url; new accounts then need it.
    pub external_account: Option<(String, String)>,
    /// Intermediates between root and leaf.
    pub chain_length: u8,
    /// Further roots, each with a chain that it offers as an alternate one.
    pub alternate_roots: u8,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        Self {
            nonce_reject: 5,
            authz_reuse: 50,
            sleep: false,
            always_valid: false,
            http_port: 5002,
            tls_port: 5001,
            dns: None,
            external_account: None,
            chain_length: 1,
            alternate_roots: 0,
        }
    }
}

/// A running Pebble.
#[derive(Debug)]
pub struct Pebble {
    process: Process,
    address: SocketAddr,
    management: SocketAddr,
}

impl Pebble {
    /// Starts Pebble and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not start; the message has its log.
    pub async fn start(options: PebbleOptions) -> anyhow::Result<Self> {
        on_free_ports(async || Self::start_once(&options).await).await
    }

    async fn start_once(options: &PebbleOptions) -> anyhow::Result<Self> {
        let (address, management) = (free_address(), free_address());
        let mut process = Process::start(PEBBLE, |command, dir| {
            write_certificates(dir)?;
            let mut pebble = json!({
                "listenAddress": address.to_string(),
                "managementListenAddress": management.to_string(),
                "certificate": dir.join("server.pem"),
                "privateKey": dir.join("server.key"),
                "httpPort": options.http_port,
                "tlsPort": options.tls_port,
                "ocspResponderURL": "",
                "externalAccountBindingRequired": options.external_account.is_some(),
            });
            if let Some((kid, key)) = &options.external_account {
                pebble["externalAccountMACKeys"] = json!({ kid: key });
            }
            let config = dir.join("pebble.json");
            std::fs::write(&config, json!({ "pebble": pebble }).to_string())?;
            command
                .arg("-config")
                .arg(&config)
                .env("PEBBLE_WFE_NONCEREJECT", options.nonce_reject.to_string())
                .env("PEBBLE_AUTHZREUSE", options.authz_reuse.to_string())
                .env("PEBBLE_VA_NOSLEEP", if options.sleep { "0" } else { "1" })
                .env("PEBBLE_VA_ALWAYS_VALID", if options.always_valid { "1" } else { "0" })
                .env("PEBBLE_CHAIN_LENGTH", options.chain_length.to_string())
                .env("PEBBLE_ALTERNATE_ROOTS", options.alternate_roots.to_string());
            if let Some(dns) = options.dns {
                command.arg("-dnsserver").arg(dns.to_string());
            }
            Ok(())
        })?;
        process.accepting(address).await?;
        Ok(Self { process, address, management })
    }

    /// The URL of its directory.
    pub fn directory_url(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }

    /// File with the root certificate of its HTTPS server, PEM. Not the root of what it issues.
    pub fn ca_file(&self) -> PathBuf {
        self.process.dir().join("ca.pem")
    }

    /// The root certificate of its HTTPS server, PEM.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ca_pem(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(self.ca_file()).context("cannot read the root made for Pebble")
    }

    /// Where it is managed: `/roots/0`, `/intermediates/0`, `/cert-status-by-serial/{hex}`.
    pub fn management_url(&self) -> String {
        format!("https://localhost:{}", self.management.port())
    }

    /// The process: its log, its pid, and how to kill it.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A root, and a server certificate for localhost from it.
fn write_certificates(dir: &Path) -> anyhow::Result<()> {
    let root_key = KeyPair::generate()?;
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "testbed root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root_pem = root.self_signed(&root_key)?.pem();
    let issuer = Issuer::new(root, root_key);

    let server_key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let server = CertificateParams::new(names)?.signed_by(&server_key, &issuer)?;
    std::fs::write(dir.join("ca.pem"), root_pem)?;
    std::fs::write(dir.join("server.pem"), server.pem())?;
    std::fs::write(dir.join("server.key"), server_key.serialize_pem())?;
    Ok(())
}

/// A running `pebble-challtestsrv`: challenge answers and DNS, set through its management API.
#[derive(Debug)]
pub struct ChallTestSrv {
    process: Process,
    management: SocketAddr,
    /// DNS, UDP and TCP.
    pub dns: SocketAddr,
    /// http-01.
    pub http01: SocketAddr,
    /// tls-alpn-01.
    pub tlsalpn01: SocketAddr,
}

impl ChallTestSrv {
    /// Starts it and waits until its management API answers. Every A query is answered 127.0.0.1, AAAA nothing.
    ///
    /// # Errors
    /// When it is not installed or does not start; the message has its log.
    pub async fn start() -> anyhow::Result<Self> {
        on_free_ports(async || {
            let [dns, http01, tlsalpn01] = std::array::from_fn(|_| free_address());
            Self::start_at(dns, http01, tlsalpn01).await
        })
        .await
    }

    /// Starts it on the standard ports of an address, as Caddy needs it; every A query is answered that address.
    ///
    /// # Errors
    /// As [`ChallTestSrv::start`].
    pub async fn start_standard(standard: &Standard) -> anyhow::Result<Self> {
        Self::start_at(standard.dns(), standard.http01(), standard.tlsalpn01()).await
    }

    async fn start_at(dns: SocketAddr, http01: SocketAddr, tlsalpn01: SocketAddr) -> anyhow::Result<Self> {
        let management = free_address();
        let mut process = Process::start(CHALLTESTSRV, |command, _| {
            command
                .args(["-management", &management.to_string(), "-dns01", &dns.to_string()])
                .args(["-http01", &http01.to_string(), "-tlsalpn01", &tlsalpn01.to_string()])
                .args(["-https01", "", "-defaultIPv4", &http01.ip().to_string(), "-defaultIPv6", ""]);
            Ok(())
        })?;
        for address in [management, dns, http01, tlsalpn01] {
            process.accepting(address).await?;
        }
        Ok(Self { process, management, dns, http01, tlsalpn01 })
    }

    /// The management API: `POST {url}/add-http01` and the like.
    pub fn management_url(&self) -> String {
        format!("http://{}", self.management)
    }

    /// Its address, for requests written by hand.
    pub const fn management_address(&self) -> SocketAddr {
        self.management
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
