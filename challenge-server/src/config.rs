//! What a challenge server is to do: which listeners it has, and their bounds.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use wec_store::challenge::CaaRules;

/// Configuration of a challenge server. A listener that is none is not started; port 0 takes a free port.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// http-01, over plain HTTP/1.1.
    pub http01: Option<SocketAddr>,
    /// tls-alpn-01.
    pub tls_alpn01: Option<SocketAddr>,
    /// dns-01 and all other DNS, over UDP and TCP on the same port.
    pub dns: Option<SocketAddr>,
    /// The same over HTTPS.
    pub doh: Option<DohConfig>,
    /// The management API of pebble-challtestsrv.
    pub management: Option<ManagementConfig>,
    /// The answer to A queries for hosts: where the CA connects for http-01 and tls-alpn-01.
    pub default_ipv4: Option<Ipv4Addr>,
    /// The answer to AAAA queries for hosts.
    pub default_ipv6: Option<Ipv6Addr>,
    /// Answers to CAA queries for names without records of their own.
    pub caa: CaaRules,
    /// Bounds for clients.
    pub limits: ListenLimits,
}

/// DNS over HTTPS.
#[derive(Clone, Debug)]
pub struct DohConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate.
    pub certificate: DohCertificate,
}

/// The certificate of the DNS-over-HTTPS listener.
#[derive(Clone, Debug)]
pub enum DohCertificate {
    /// One made at the start, for `localhost` and the address it listens on.
    SelfSigned,
    /// A chain and its key, both PEM.
    Pem {
        /// The leaf first.
        chain: Vec<u8>,
        /// PKCS#8, SEC 1 or PKCS#1.
        key: Vec<u8>,
    },
    /// Plain HTTP/1.1, behind a proxy with TLS.
    None,
}

/// The management API.
#[derive(Clone, Debug)]
pub struct ManagementConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Required as `Authorization: Bearer` when set.
    pub token: Option<String>,
    /// It may listen beyond loopback without a token, as pebble-challtestsrv does.
    pub open: bool,
}

/// Bounds for each listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// How long a client may take for a request or a handshake.
    pub request_timeout: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self { connections: 4096, request_timeout: Duration::from_secs(10) }
    }
}
