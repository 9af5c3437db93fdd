//! The client: RFC 8555's requests, each noted in the caller's [`Trace`].
//!
//! | file | subject |
//! | --- | --- |
//! | `client.rs` | configuring, making and copying clients |
//! | `client/requests.rs` | one method for each request, and reading its answer |
//! | `client/accounts.rs` | the same for requests about an account that exists, and for authorizations without an order |
//! | `client/refusals.rs` | requests that a CA must refuse |
//! | `client/retries.rs` | a nonce for each request; retries after `badNonce` and from busy servers within the [`Policy`]; polls |
//! | `client/network.rs` | which servers may be connected to, and by which transport |
//!
//! `wec-chains` decides what a request means for a chain.

mod accounts;
mod network;
mod refusals;
mod requests;
mod retries;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use url::Url;

pub use refusals::{Expected, Flaw, MustRefuse};
pub use requests::{Download, finalize_payload, new_order_payload};

use network::Network;

use crate::FailureClass;
use crate::account::Account;
use crate::ca_clock::CaClock;
use crate::certificate::CertificateKey;
use crate::clock::Clock;
use crate::connect::NO_HTTP2;
use crate::correlation::Correlation;
use crate::dial::{Dialling, Resolver, SystemResolver};
use crate::directory::Directory;
use crate::exchange::Trace;
use crate::failure::Failure;
use crate::gate::{Gate, OpenGate};
use crate::nonce::NoncePool;
use crate::policy::Policy;
use crate::pulse::Pulse;
use crate::template::Templates;
use crate::tls::{self, ClientCertificate, HttpVersion, Roots};
use crate::transport::{Queueing, Transport};

/// Settings of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory's URL.
    pub directory: Url,
    /// Trusted certificates.
    pub roots: Roots,
    /// The client's certificate in TLS handshakes, for servers that request one.
    pub client_certificate: Option<ClientCertificate>,
    /// The HTTP version.
    pub http: HttpVersion,
    /// Most connections; further requests wait in turn. HTTP/2 always has one to each server.
    pub max_connections: usize,
    /// Bound on making a TCP connection, and again on the TLS handshake.
    pub connect_timeout: Duration,
    /// Bound on waiting for a connection, and again from sending to the last byte of the answer.
    pub request_timeout: Duration,
    /// The User-Agent header (RFC 8555 §6.1 requires one).
    pub user_agent: String,
    /// Ids by which requests are found in the CA's logs.
    pub correlation: Correlation,
    /// Bounds on retries and polls.
    pub policy: Policy,
    /// Checks each server before its first connection, and each address before it is dialled.
    pub gate: Arc<dyn Gate>,
    /// How to connect to servers.
    pub dialling: Dialling,
    /// Finds the servers' addresses, for each new connection.
    pub resolver: Arc<dyn Resolver>,
}

impl Config {
    /// Settings for this directory with the usual bounds, trusting the system's roots.
    pub fn new(directory: Url) -> Self {
        Self {
            directory,
            roots: Roots::System,
            client_certificate: None,
            http: HttpVersion::default(),
            max_connections: 256,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            user_agent: concat!("wile-e-coyote/", env!("CARGO_PKG_VERSION")).into(),
            correlation: Correlation::default(),
            policy: Policy::default(),
            gate: Arc::new(OpenGate),
            dialling: Dialling::default(),
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// Why there is no client, and what a person must change.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The configuration cannot be right.
    #[error("{url} cannot be a CA's directory: {why}")]
    Url {
        /// The URL given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No usable roots, or a User-Agent that is not valid in a header.
    #[error("{0}")]
    Setting(String),
    /// The directory, or a resource that it names, must not be connected to. Nothing was sent there.
    #[error("{}{why}", named(.directory, .key, .url))]
    Refused {
        /// The directory's URL.
        directory: String,
        /// The directory's key that names the resource; none for the directory itself.
        key: Option<&'static str>,
        /// The refused URL.
        url: String,
        /// The gate's reason.
        why: String,
    },
    /// No answer.
    #[error("the CA cannot be reached: {0}; check the URL and whether the CA is running")]
    Unreachable(Failure),
    /// The server's certificate is not trusted, or TLS fails otherwise.
    #[error(
        "the CA's server is not trusted: {0}; give the root certificate that its own certificate was issued from"
    )]
    Untrusted(Failure),
    /// The server's certificate is no longer, or not yet, valid.
    #[error(
        "the CA's server presents a certificate that is not valid now: {0}; renew it, or set the clock that is wrong"
    )]
    NotValidNow(Failure),
    /// The server's certificate is for another name.
    #[error(
        "the CA's server has a certificate for another name: {0}; name the server in the directory's URL as its certificate does"
    )]
    OtherName(Failure),
    /// The server requires a client certificate, or another one.
    #[error("the CA's server {wants}: {why}")]
    ClientCertificate {
        /// What it requires.
        wants: &'static str,
        /// Its answer.
        why: Failure,
    },
    /// HTTP/2 was asked for.
    #[error("{url} cannot be loaded by HTTP/2: {why}; use HTTP/1.1")]
    NoHttp2 {
        /// The URL given.
        url: String,
        /// The finding.
        why: String,
    },
    /// HTTP without TLS was requested.
    #[error("{0} cannot be read: the server seems to use TLS there; write https://")]
    SpeaksTls(String),
    /// It is no ACME directory.
    #[error("{url} is not an ACME directory: {why}; its URL often ends in `/directory` or `/dir`")]
    NotAcme {
        /// The URL given.
        url: String,
        /// The finding.
        why: Failure,
    },
}

fn named(directory: &str, key: &Option<&'static str>, url: &str) -> String {
    match key {
        Some(key) => format!("the directory {directory} names {url} as its {key}: "),
        None => String::new(),
    }
}

/// Whose key signs a revocation (RFC 8555 §7.6).
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    /// The account that issued it, or one with authorizations for its names.
    Account(&'a Account),
    /// The certificate's own key.
    CertificateKey(&'a CertificateKey),
}

/// An ACME client for one runtime: connections and nonces are its own.
pub struct Client {
    ca: Arc<Ca>,
    transport: Arc<dyn Transport>,
    nonces: NoncePool,
    /// For a client that reads the directory first: whether it has.
    introduced: Option<OnceCell<()>>,
}

/// What a client shares with its siblings.
struct Ca {
    directory: Directory,
    templates: Templates,
    /// None with a foreign transport.
    network: Option<Network>,
    policy: Policy,
    correlation: Correlation,
    clock: Clock,
    ca_clock: CaClock,
    pulse: Pulse,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("directory", &self.ca.directory).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the directory and makes a client of its CA.
    ///
    /// # Errors
    /// See [`DiscoverError`]; each names the culprit and the way out.
    pub async fn discover(config: Config, clock: Clock) -> Result<Self, DiscoverError> {
        let network = Network::of(&config, clock)?;
        let url = network.directory_url.clone();
        // Until the directory is known, only what `unsigned` uses matters.
        let unknown = Directory {
            new_nonce: url.clone(),
            new_account: url.clone(),
            new_order: url.clone(),
            revoke_cert: url.clone(),
            key_change: None,
            new_authz: None,
            renewal_info: None,
            meta: crate::directory::Meta::default(),
        };
        let transport = network.transport(config.max_connections, false, clock);
        let ca_clock = CaClock::new(clock);
        let correlation = config.correlation.clone();
        let ca = Ca { correlation, ..Ca::of(unknown, None, config.policy.clone(), ca_clock.clone()) };
        let client = Self::of(ca, Arc::clone(&transport), None);
        let found = client.read_directory(&mut Trace::new(clock), &url).await;
        let shown = config.client_certificate.is_some();
        let directory = found.map_err(|failure| match failure.kind {
            _ if tls::wants_client_certificate(&failure) => DiscoverError::ClientCertificate {
                wants: if shown { "refuses the client certificate" } else { "demands a client certificate" },
                why: failure,
            },
            FailureClass::Connect | FailureClass::Timeout | FailureClass::Reset | FailureClass::Local => {
                DiscoverError::Unreachable(failure)
            }
            FailureClass::RefusedOrigin => DiscoverError::Refused {
                directory: url.clone(),
                key: None,
                url: url.clone(),
                why: failure.message,
            },
            FailureClass::Tls if failure.message.contains(NO_HTTP2) => {
                DiscoverError::NoHttp2 { url: url.clone(), why: NO_HTTP2.to_owned() }
            }
            FailureClass::Tls if failure.message.contains("not valid for name") => {
                DiscoverError::OtherName(failure)
            }
            FailureClass::Tls if is_not_valid_now(&failure) => DiscoverError::NotValidNow(failure),
            FailureClass::Tls => DiscoverError::Untrusted(failure),
            // An HTTPS server answers plain HTTP with a TLS alert, or with 400 in nginx's words.
            _ if url.starts_with("http://") && speaks_tls(&failure) => DiscoverError::SpeaksTls(url.clone()),
            _ => DiscoverError::NotAcme { url: url.clone(), why: failure },
        })?;
        network.judge(&directory).await?;
        let nonces = client.nonces;
        let ca = Ca::of(directory, Some(network), config.policy, ca_clock);
        let ca = Ca { correlation: config.correlation, ..ca };
        Ok(Self { nonces, ..Self::of(ca, transport, None) })
    }

    /// A client over another transport: a fake, or one with delays. Its siblings share it.
    pub fn with_transport(
        directory: Directory,
        transport: Box<dyn Transport>,
        policy: Policy,
        clock: Clock,
    ) -> Self {
        Self::of(Ca::of(directory, None, policy, CaClock::new(clock)), transport.into(), None)
    }

    /// Another client of the same CA with its own nonces and connections, at most `max_connections`. Directory,
    /// settings and TLS configuration are shared, including sessions to resume. It sends no request.
    pub fn sibling(&self, max_connections: usize) -> Self {
        let transport = match &self.ca.network {
            Some(network) => network.transport(max_connections, false, self.ca.clock),
            None => Arc::clone(&self.transport),
        };
        Self::of(Arc::clone(&self.ca), transport, None)
    }

    /// Another client of the same CA that behaves like an unknown one: on its own connection, with a full TLS
    /// handshake, and reading the directory before its first request, in that request's trace.
    ///
    /// The content of that directory is checked but not used: a CA does not move its resources during a load.
    pub fn stranger(&self) -> Self {
        let transport = match &self.ca.network {
            Some(network) => network.transport(1, true, self.ca.clock),
            None => Arc::clone(&self.transport),
        };
        Self::of(Arc::clone(&self.ca), transport, Some(OnceCell::new()))
    }

    /// The same client as part of a run: its User-Agent, and that of its siblings, has `… run/ID` from now on. An id
    /// that is not valid in a header is left out.
    #[must_use]
    pub fn in_run(&self, run: &str) -> Self {
        let Ca { directory, network, policy, correlation, ca_clock, .. } = &*self.ca;
        let network = network.as_ref().map(|network| network.in_run(run));
        let transport = match &network {
            Some(network) => network.transport(network.settings.max_connections, false, self.ca.clock),
            None => Arc::clone(&self.transport),
        };
        let ca = Ca::of(directory.clone(), network, policy.clone(), ca_clock.clone());
        Self::of(Ca { correlation: correlation.clone(), ..ca }, transport, None)
    }

    fn of(ca: impl Into<Arc<Ca>>, transport: Arc<dyn Transport>, introduced: Option<OnceCell<()>>) -> Self {
        let ca = ca.into();
        let nonces = NoncePool::new(ca.policy.nonce_pool, ca.policy.nonce_max_age);
        Self { ca, transport, nonces, introduced }
    }

    /// The CA's resources.
    pub fn directory(&self) -> &Directory {
        &self.ca.directory
    }

    /// The CA's clock, from its answers to this client and its siblings.
    pub fn ca_clock(&self) -> &CaClock {
        &self.ca.ca_clock
    }

    /// How long this client, its siblings and strangers waited for connections, and had them; none with a foreign
    /// transport.
    pub fn queueing(&self) -> Option<&Queueing> {
        Some(&self.ca.network.as_ref()?.settings.queueing)
    }

    /// Whether the CA answers, over all siblings.
    pub fn pulse(&self) -> &Pulse {
        &self.ca.pulse
    }
}

impl Ca {
    fn of(directory: Directory, network: Option<Network>, policy: Policy, ca_clock: CaClock) -> Self {
        let (templates, clock) = (Templates::new(&directory.new_order), ca_clock.ours());
        let correlation = Correlation::default();
        Self { templates, directory, network, policy, correlation, clock, ca_clock, pulse: Pulse::default() }
    }
}

fn is_not_valid_now(failure: &Failure) -> bool {
    ["expired", "not valid yet"].iter().any(|words| failure.message.contains(words))
}

fn speaks_tls(failure: &Failure) -> bool {
    let message = failure.message.to_lowercase();
    ["invalid http version", "https port", "http request to an https server"]
        .iter()
        .any(|words| message.contains(words))
}
