//! Starts the configured listeners and owns their tasks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wec_store::ChallengeReader;

use crate::answers::Answers;
use crate::certificate::{Mint, MintError, self_signed, server_config};
use crate::config::{Config, DohCertificate, DohConfig};
use crate::history::History;
use crate::hits::Hits;
use crate::records::Records;
use crate::{dns_listen, doh, http01, management, tls_alpn01};
use wec_clock::Clock;

/// Where the listeners are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// http-01.
    pub http01: Option<SocketAddr>,
    /// tls-alpn-01.
    pub tls_alpn01: Option<SocketAddr>,
    /// DNS over UDP and TCP.
    pub dns: Option<SocketAddr>,
    /// DNS over HTTPS.
    pub doh: Option<SocketAddr>,
    /// The management API.
    pub management: Option<SocketAddr>,
}

/// A challenge server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, not of this machine, or not allowed for this user.
    #[error("cannot listen for {what} on {address}: {source}")]
    Listen {
        /// The listener.
        what: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Anyone who reaches the management API controls the CA's validations.
    #[error(
        "the management API may not listen on {0}, beyond loopback, without a token: set one, allow access to anyone with --management-open, or listen on 127.0.0.1"
    )]
    OpenManagement(SocketAddr),
    /// The certificate or key of DNS over HTTPS cannot be used.
    #[error("the certificate for DNS over HTTPS cannot be used: {0}")]
    DohCertificate(String),
    /// The cryptography of this process fails.
    #[error("cannot make a key for tls-alpn-01: {0}")]
    Key(String),
}

/// A running challenge server: its listeners, and the record of hits.
///
/// It stops when the token given to [`start`](Self::start) is cancelled; [`finish`](Self::finish) waits for it.
#[derive(Debug)]
pub struct ChallengeServer {
    addresses: Addresses,
    hits: Arc<Hits>,
    clock: Clock,
    listeners: JoinSet<()>,
}

impl ChallengeServer {
    /// Binds all listeners of `config`, or none, and serves on the current tokio runtime until `stop`.
    pub async fn start(
        config: Config,
        reader: Arc<dyn ChallengeReader>,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let clock = Clock::start();
        let hits = Arc::new(Hits::new(clock));
        let records = Records::new(config.default_ipv4, config.default_ipv6).with_caa(config.caa.clone());
        let history = config.management.is_some().then(History::default);
        let answers = Arc::new(Answers::new(reader, records, Arc::clone(&hits), history));
        let mut server = Self { addresses: Addresses::default(), hits, clock, listeners: JoinSet::new() };
        server.listen(config, &answers, &stop).await?;
        Ok(server)
    }

    async fn listen(
        &mut self,
        config: Config,
        answers: &Arc<Answers>,
        stop: &CancellationToken,
    ) -> Result<(), StartError> {
        let limits = config.limits;
        let tasks = &mut self.listeners;
        if let Some(address) = config.http01 {
            let listener = bind("http-01", address, &mut self.addresses.http01).await?;
            tasks.spawn(http01::serve(listener, Arc::clone(answers), limits, stop.clone()));
        }
        if let Some(address) = config.tls_alpn01 {
            let mint = Arc::new(Mint::new().map_err(|error| StartError::Key(error.to_string()))?);
            let listener = bind("tls-alpn-01", address, &mut self.addresses.tls_alpn01).await?;
            tasks.spawn(tls_alpn01::serve(listener, Arc::clone(answers), mint, limits, stop.clone()));
        }
        if let Some(address) = config.dns {
            let failed = |source| StartError::Listen { what: "DNS", address, source };
            let (udp, tcp) = dns_listen::bind(address).await.map_err(failed)?;
            self.addresses.dns = Some(tcp.local_addr().map_err(failed)?);
            tasks.spawn(dns_listen::serve_udp(udp, Arc::clone(answers), stop.clone()));
            tasks.spawn(dns_listen::serve_tcp(tcp, Arc::clone(answers), limits, stop.clone()));
        }
        if let Some(doh) = config.doh {
            let tls = doh_tls(&doh)?;
            let listener = bind("DNS over HTTPS", doh.listen, &mut self.addresses.doh).await?;
            tasks.spawn(doh::serve(listener, tls, Arc::clone(answers), limits, stop.clone()));
        }
        if let Some(management) = config.management {
            if !management.listen.ip().is_loopback() && management.token.is_none() && !management.open {
                return Err(StartError::OpenManagement(management.listen));
            }
            let listener =
                bind("the management API", management.listen, &mut self.addresses.management).await?;
            let api = management::api(Arc::clone(answers), management.token);
            tasks.spawn(management::serve(listener, api, stop.clone()));
        }
        Ok(())
    }

    /// Where the listeners are.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The record of validation hits.
    pub fn hits(&self) -> &Arc<Hits> {
        &self.hits
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Waits until every listener has ended after the stop; then the stream of hits ends.
    pub async fn finish(mut self) {
        while let Some(ended) = self.listeners.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener of the challenge server failed");
            }
        }
        self.hits.close();
    }
}

async fn bind(
    what: &'static str,
    address: SocketAddr,
    bound: &mut Option<SocketAddr>,
) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    *bound = Some(listener.local_addr().map_err(failed)?);
    Ok(listener)
}

fn doh_tls(doh: &DohConfig) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let minted = |error: MintError| StartError::DohCertificate(error.to_string());
    let builder = server_config().map_err(minted)?;
    let mut config = match &doh.certificate {
        DohCertificate::None => return Ok(None),
        DohCertificate::SelfSigned => {
            let names = vec!["localhost".to_owned(), doh.listen.ip().to_string()];
            let certified = self_signed(names).map_err(minted)?;
            builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        DohCertificate::Pem { chain, key } => {
            let chain = CertificateDer::pem_slice_iter(chain)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| StartError::DohCertificate(format!("its chain: {error}")))?;
            if chain.is_empty() {
                let why = "--doh-cert (WEC_DOH_CERT) names a file without a `BEGIN CERTIFICATE`: give a chain in PEM";
                return Err(StartError::DohCertificate(why.to_owned()));
            }
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| StartError::DohCertificate(format!("its key: {error}")))?;
            builder
                .with_single_cert(chain, key)
                .map_err(|error| StartError::DohCertificate(error.to_string()))?
        }
    };
    doh::offer_http(&mut config);
    Ok(Some(Arc::new(config)))
}
