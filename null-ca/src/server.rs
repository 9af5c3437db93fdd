//! Listening and serving: threads with a runtime each, TLS, HTTP/1.1 and HTTP/2. Owns everything that runs;
//! when the CA stops, its connections and validations are interrupted.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use wec_listen::http::{http1, http2, tracked};
use wec_listen::{Connection, Connections, Rules, WhenFull, accept, within_descriptors};

use crate::ca::Ca;
use crate::config::{Config, ConfigError};
use crate::counters::Counts;
use crate::issuer::{Issuer, limit_validity, mint_root};
use crate::seconds::Seconds;
use crate::validation::Validator;

/// Why the CA did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot listen on the address.
    #[error("cannot listen on {addr}: {source}; choose another address, or port 0 for a free port")]
    Listen {
        /// The configured address.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// One of `names` cannot be in a certificate, or the system has no randomness.
    #[error("cannot make the TLS certificate or the issuing chain: {0}; check `names`")]
    Mint(#[from] rcgen::Error),
    /// The file for the requests of each second cannot be created.
    #[error("cannot write {path}: {source}; choose another file for the requests of each second")]
    Seconds {
        /// The configured file.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// The TLS library refuses the certificate.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A thread or its runtime cannot be started.
    #[error("cannot start a serving thread: {0}")]
    Thread(io::Error),
}

/// A running CA. It ends when stopped or dropped; stopping also waits for its threads.
pub struct NullCa {
    addr: SocketAddr,
    directory_url: String,
    root_pem: Option<String>,
    ca: Arc<Ca>,
    threads: Vec<JoinHandle<()>>,
}

impl NullCa {
    /// Creates the roots, binds the address and serves on its own threads.
    ///
    /// # Errors
    /// When the settings contradict each other, the address is in use, or threads cannot be started.
    pub fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let listen = |source| StartError::Listen { addr: config.listen, source };
        let listener = std::net::TcpListener::bind(config.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let (tls, root_pem) = match config.tls {
            true => {
                let (tls, root_pem) = tls_identity(&config, addr.ip(), &provider)?;
                (Some(tls), Some(root_pem))
            }
            false => (None, None),
        };
        let scheme = if config.tls { "https" } else { "http" };
        let host = match addr.ip().is_unspecified() {
            true => format!("localhost:{}", addr.port()),
            false => addr.to_string(),
        };
        let threads = config.threads.get();
        let seconds = config.seconds.as_deref().map(|path| {
            let failed = |source| StartError::Seconds { path: path.display().to_string(), source };
            Seconds::create(path).map_err(failed)
        });
        let seconds = seconds.transpose()?;
        let ca = Arc::new(Ca::new(
            Issuer::new(config.lifetime)?,
            Validator::new(&config.validation, &provider)?,
            seconds,
            CancellationToken::new(),
            config,
        ));
        let connections = Connections::new(rules());
        // Every thread accepts from the same socket: an idle one takes the next connection.
        let mut started = Self {
            addr,
            directory_url: format!("{scheme}://{host}/directory"),
            root_pem,
            ca,
            threads: Vec::with_capacity(threads),
        };
        for _ in 0..threads {
            let listener = listener.try_clone().map_err(StartError::Thread)?;
            started.spawn_thread(listener, tls.clone(), connections.clone())?;
        }
        Ok(started)
    }

    /// The directory's URL.
    pub fn directory_url(&self) -> &str {
        &self.directory_url
    }

    /// The root that HTTPS clients must trust, in PEM; `None` on plain HTTP.
    pub fn root_pem(&self) -> Option<&str> {
        self.root_pem.as_deref()
    }

    /// The root above the issued certificates, in PEM. HTTPS uses another root.
    pub fn issuer_root_pem(&self) -> &str {
        &self.ca.issuer.root_pem
    }

    /// The root of the alternate chains of its certificates.
    pub fn alternate_root_pem(&self) -> &str {
        &self.ca.issuer.alternate_root_pem
    }

    /// Its address, with the actual port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The counts so far.
    pub fn counters(&self) -> Counts {
        self.ca.counts()
    }

    /// Stops serving, waits for the threads and returns the final counts. Connections are closed.
    pub async fn stop(mut self) -> Counts {
        self.ca.stop.cancel();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| {
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        match joined.await {
            Ok(0) => {}
            Ok(panicked) => warn!(panicked, "null CA threads panicked"),
            Err(error) => warn!(%error, "the null CA's threads were not waited for"),
        }
        if let Some(seconds) = &self.ca.seconds {
            seconds.finish();
        }
        self.ca.counts()
    }

    fn spawn_thread(
        &mut self,
        listener: std::net::TcpListener,
        tls: Option<TlsAcceptor>,
        connections: Arc<Connections>,
    ) -> Result<(), StartError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener).map_err(StartError::Thread)?
        };
        let ca = self.ca.clone();
        let name = format!("null-ca-{}", self.threads.len());
        let thread = std::thread::Builder::new().name(name);
        let thread = thread.spawn(move || serve_until_stopped(&runtime, ca, listener, connections, tls));
        self.threads.push(thread.map_err(StartError::Thread)?);
        Ok(())
    }
}

impl fmt::Debug for NullCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NullCa").field("directory_url", &self.directory_url).finish_non_exhaustive()
    }
}

impl Drop for NullCa {
    fn drop(&mut self) {
        self.ca.stop.cancel();
    }
}

/// A root, and a server certificate signed by it.
fn tls_identity(
    config: &Config,
    listen: IpAddr,
    provider: &Arc<CryptoProvider>,
) -> Result<(TlsAcceptor, String), StartError> {
    let root = mint_root("null-ca TLS root")?;
    let mut names =
        vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    for name in std::iter::once(listen.to_string()).chain(config.names.iter().cloned()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    limit_validity(&mut params);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &root.issuer)?;
    let mut tls = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    if config.http2 {
        tls.alpn_protocols.push(H2.to_vec());
    }
    tls.alpn_protocols.push(b"http/1.1".to_vec());
    tls.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok((TlsAcceptor::from(Arc::new(tls)), root.pem))
}

/// Time limit of a handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

const H2: &[u8] = b"h2";

/// A load tester opens thousands of connections from one address, and keeps them open.
fn rules() -> Rules {
    Rules {
        connections: within_descriptors(16_384, 2),
        per_source: None,
        when_full: WhenFull::Refuse,
        idle: Duration::from_secs(120),
        streams: 256,
        grace: Duration::ZERO,
        ..Rules::control("the null CA")
    }
}

fn serve_until_stopped(
    runtime: &Runtime,
    ca: Arc<Ca>,
    listener: TcpListener,
    connections: Arc<Connections>,
    tls: Option<TlsAcceptor>,
) {
    runtime.block_on(async {
        accept(listener, connections, ca.stop.clone(), |tcp, _, connection| {
            ca.counters.connections.add();
            serve_connection(ca.clone(), tcp, connection, tls.clone())
        })
        .await;
        ca.validations.close();
        ca.validations.wait().await;
    });
}

async fn serve_connection(ca: Arc<Ca>, tcp: TcpStream, connection: Connection, tls: Option<TlsAcceptor>) {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%error, "cannot switch Nagle's algorithm off");
    }
    match tls {
        None => serve_http1(ca, tcp, &connection, |tcp| tcp).await,
        Some(tls) => match timeout(HANDSHAKE_PATIENCE, tls.accept(tcp)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
                serve_http2(ca, stream, &connection).await;
            }
            Ok(Ok(stream)) => serve_http1(ca, stream, &connection, |stream| stream.get_ref().0).await,
            Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
            Err(_) => debug!("TLS handshake not finished in time"),
        },
    }
}

/// HTTP/2. A fault that resets the connection in HTTP/1.1 resets the stream here.
async fn serve_http2<S>(ca: Arc<Ca>, stream: S, connection: &Connection)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let rules = rules();
    let service = tracked(connection, &rules, service_fn(move |request| ca.clone().serve(request)));
    if let Err(error) = http2(&rules).serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "connection ended");
    }
}

async fn serve_http1<S>(ca: Arc<Ca>, stream: S, connection: &Connection, socket: impl Fn(&S) -> &TcpStream)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let rules = rules();
    let reset = AtomicBool::new(false);
    let service = tracked(connection, &rules, service_fn(move |request| ca.clone().serve(request)));
    let service = service_fn(|request| {
        let answer = service.call(request);
        let reset = &reset;
        // Boxed, because giving the socket back, below, needs an Unpin future.
        Box::pin(async move { answer.await.inspect_err(|_| reset.store(true, Ordering::Relaxed)) })
    });
    let mut connection = http1(&rules).serve_connection(TokioIo::new(stream), service);
    let ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    if reset.load(Ordering::Relaxed) {
        // Closing with a linger time of zero makes the kernel send RST instead of FIN.
        if let Err(error) = socket(&stream).set_zero_linger() {
            debug!(%error, "cannot reset a connection");
        }
        return;
    }
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
    if let Err(error) = stream.shutdown().await {
        debug!(%error, "connection not closed properly");
    }
}
