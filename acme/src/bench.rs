//! The cost of an issuance at the client: with this crate, and with a minimal client (the floor).
//!
//! Both sides send the seven signed POSTs of an issuance over TLS 1.3 to a server of fixed answers, which runs in a
//! separate thread and is not counted. The floor signs, sends with hyper and reads; it has no nonces, no JSON, no
//! trace. CPU time is the kernel's figure for the client's thread.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{Account, AccountKey, Client, Clock, Config, HttpVersion, Roots, Trace, certificate_request};

/// The cost of one issuance.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time of the client's thread, nanoseconds.
    pub cpu_ns: u64,
    /// Wall time, nanoseconds.
    pub wall_ns: u64,
}

/// A server that answers each of ACME's requests with fixed bytes, in a separate thread.
#[derive(Debug)]
pub struct CannedServer {
    address: SocketAddr,
    root_pem: Vec<u8>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CannedServer {
    /// Starts it on a free loopback port.
    ///
    /// # Errors
    /// If there is no port or no certificate.
    pub fn start() -> std::io::Result<Self> {
        let key = KeyPair::generate().map_err(std::io::Error::other)?;
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .and_then(|params| params.self_signed(&key))
            .map_err(std::io::Error::other)?;
        let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(std::io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], der)
            })
            .map_err(std::io::Error::other)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];

        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let answers = Arc::new(Answers::new(address, &certificate.pem()));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let serving = serve(listener, TlsAcceptor::from(Arc::new(tls)), answers, stopped);
            runtime().block_on(serving);
        });
        let root_pem = certificate.pem().into_bytes();
        Ok(Self { address, root_pem, stop: Some(stop), thread: Some(thread) })
    }

    /// The floor: for each issuance seven P-256 signatures, seven POSTs with bare hyper, one key and CSR.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn floor(&self, workers: u64, issuances: u64) -> Cost {
        measure(issuances, async {
            let config =
                crate::tls::client_config(&Roots::Pem(self.root_pem.clone()), None, HttpVersion::Http1)
                    .expect("our own root");
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
            let key = Arc::new(key);
            let connections = (0..workers).map(|_| connect(self.address, &config));
            let mut senders = Vec::new();
            for connection in connections {
                senders.push(connection.await);
            }
            let address = self.address;
            move || {
                let mut tasks = JoinSet::new();
                for (worker, mut sender) in senders.into_iter().enumerate() {
                    let (key, share) = (Arc::clone(&key), share(issuances, workers, worker));
                    tasks.spawn(async move {
                        for _ in 0..share {
                            floor_issuance(&mut sender, &key, address).await;
                        }
                    });
                }
                tasks
            }
        })
    }

    /// The same by this crate's client.
    ///
    /// # Panics
    /// If an issuance fails.
    pub fn client(&self, workers: u64, issuances: u64) -> Cost {
        measure(issuances, async {
            let clock = Clock::start();
            let url = format!("https://localhost:{}/directory", self.address.port());
            let config = Config {
                roots: Roots::Pem(self.root_pem.clone()),
                max_connections: usize::try_from(workers).expect("a small number"),
                ..Config::new(url.parse().expect("a URL"))
            };
            let client = Arc::new(Client::discover(config, clock).await.expect("the canned directory"));
            let key = AccountKey::generate().expect("a key");
            let account =
                client.new_account(&mut Trace::new(clock), &key, &[], None).await.expect("an account");
            let account = Arc::new(account);
            // Connections and nonces are made before the measurement, as for the floor.
            let mut warm = JoinSet::new();
            for _ in 0..workers {
                let (client, account) = (Arc::clone(&client), Arc::clone(&account));
                warm.spawn(async move { issuance(&client, clock, &account).await });
            }
            warm.join_all().await;
            move || {
                let mut tasks = JoinSet::new();
                for worker in 0..usize::try_from(workers).expect("a small number") {
                    let (client, account) = (Arc::clone(&client), Arc::clone(&account));
                    let share = share(issuances, workers, worker);
                    tasks.spawn(async move {
                        for _ in 0..share {
                            issuance(&client, clock, &account).await;
                        }
                    });
                }
                tasks
            }
        })
    }
}

impl Drop for CannedServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been printed.
            let _ = thread.join();
        }
    }
}

/// Runs `prepare`, then what it returns, on a runtime of this thread; only the latter is counted.
fn measure<R: FnOnce() -> JoinSet<()>>(issuances: u64, prepare: impl Future<Output = R>) -> Cost {
    let clock = Clock::start();
    runtime().block_on(async {
        let run = prepare.await;
        let (cpu, wall) = (thread_cpu_ns(), clock.now());
        run().join_all().await;
        Cost {
            cpu_ns: (thread_cpu_ns() - cpu) / issuances.max(1),
            wall_ns: (clock.now() - wall) / issuances.max(1),
        }
    })
}

/// CPU time of this thread so far, nanoseconds, from Linux.
///
/// # Panics
/// Without `/proc/thread-self/schedstat`.
pub fn thread_cpu_ns() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .expect("/proc/thread-self/schedstat tells a thread's CPU time on Linux")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// How many of `issuances` this worker does.
fn share(issuances: u64, workers: u64, worker: usize) -> u64 {
    issuances / workers + u64::from((worker as u64) < issuances % workers)
}

async fn issuance(client: &Client, clock: Clock, account: &Account) {
    let names = ["a.example.test".to_owned()];
    let mut trace = Trace::new(clock);
    let trace = &mut trace;
    let order = client.new_order(trace, account, &names, None).await.expect("an order");
    let url = &order.authorizations[0];
    let authorization = client.authorization(trace, account, url).await.expect("an authorization");
    let challenge =
        client.respond(trace, account, &authorization.challenges[0].url).await.expect("a challenge");
    // The fixed authorization is always pending: one request is the poll.
    std::hint::black_box(challenge);
    client.authorization(trace, account, url).await.expect("an authorization");
    let (_, csr) = trace.keygen(|| certificate_request(&names)).expect("a CSR");
    let order = client.finalize(trace, account, &order, &csr).await.expect("a finalized order");
    // A poll without the wait before it, which would leave caches cold: the floor does not wait either.
    let order = client.order(trace, account, &order.url).await.expect("an order");
    let url = order.certificate.expect("the canned order is valid");
    client.certificate(trace, account, &url).await.expect("a certificate");
}

type Sender = http1::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr, tls: &Arc<rustls::ClientConfig>) -> Sender {
    let stream = TcpStream::connect(address).await.expect("the canned server accepts");
    stream.set_nodelay(true).expect("a TCP option");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.expect("TLS");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    // Ends with its sender.
    tokio::spawn(connection);
    sender
}

async fn floor_issuance(sender: &mut Sender, key: &EcdsaKeyPair, address: SocketAddr) {
    // As long as the client's: 240 bytes are signed, 550 sent.
    const SIGNED: [u8; 240] = [b'x'; 240];
    static BODY: [u8; 550] = [b'x'; 550];
    for path in ["/new-order", "/authz/1", "/chall/1", "/authz/1", "/finalize/1", "/order/1", "/cert/1"] {
        std::hint::black_box(key.sign(&crate::key::random(), &SIGNED).expect("a signature"));
        let mut request = http::Request::new(Full::new(Bytes::from_static(&BODY)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static(path);
        let host = http::HeaderValue::from_str(&address.to_string()).expect("an address");
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/jose+json"));
        sender.ready().await.expect("a live connection");
        let answer = sender.send_request(request).await.expect("an answer");
        std::hint::black_box(answer.into_body().collect().await.expect("a body").to_bytes());
    }
    std::hint::black_box(certificate_request(&["a.example.test".to_owned()]).expect("a CSR"));
}

struct Answers {
    base: String,
    directory: Bytes,
    pending: Bytes,
    ready: Bytes,
    processing: Bytes,
    valid: Bytes,
    authorization: Bytes,
    challenge: Bytes,
    certificate: Bytes,
    empty: Bytes,
}

impl Answers {
    fn new(address: SocketAddr, pem: &str) -> Self {
        let base = format!("https://localhost:{}", address.port());
        let order = |status: &str, more: &str| {
            Bytes::from(format!(
                r#"{{"status":"{status}","expires":"2099-01-01T00:00:00Z","identifiers":[{{"type":"dns","value":"a.example.test"}}],"authorizations":["{base}/authz/1"],"finalize":"{base}/finalize/1"{more}}}"#
            ))
        };
        let challenge = format!(
            r#"{{"type":"http-01","url":"{base}/chall/1","token":"LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0","status":"pending"}}"#
        );
        Self {
            directory: Bytes::from(format!(
                r#"{{"newNonce":"{base}/new-nonce","newAccount":"{base}/new-account","newOrder":"{base}/new-order","revokeCert":"{base}/revoke"}}"#
            )),
            pending: order("pending", ""),
            ready: order("ready", ""),
            processing: order("processing", ""),
            valid: order("valid", &format!(r#","certificate":"{base}/cert/1""#)),
            authorization: Bytes::from(format!(
                r#"{{"status":"pending","expires":"2099-01-01T00:00:00Z","identifier":{{"type":"dns","value":"a.example.test"}},"challenges":[{challenge}]}}"#
            )),
            challenge: challenge.into(),
            certificate: pem.repeat(2).into(),
            empty: Bytes::new(),
            base,
        }
    }

    fn answer(&self, path: &str) -> http::Response<Full<Bytes>> {
        let (status, location, body) = match path {
            "/directory" => (200, "", &self.directory),
            "/new-nonce" => (200, "", &self.empty),
            "/new-account" => (201, "/account/1", &self.ready),
            "/new-order" => (201, "/order/1", &self.pending),
            "/authz/1" => (200, "", &self.authorization),
            "/chall/1" => (200, "", &self.challenge),
            "/finalize/1" => (200, "/order/1", &self.processing),
            "/order/1" => (200, "", &self.valid),
            "/cert/1" => (200, "", &self.certificate),
            _ => (404, "", &self.empty),
        };
        let mut builder = http::Response::builder()
            .status(status)
            .header("replay-nonce", "vWZVgL5hvR1FsZBYbqFvzrSRxSl5HzO0nyb4YcGM4BQ")
            .header("cache-control", "public, max-age=0, no-cache")
            .header(CONTENT_TYPE, "application/json");
        if !location.is_empty() {
            builder = builder.header("location", format!("{}{location}", self.base));
        }
        builder.body(Full::new(body.clone())).expect("headers written here")
    }
}

async fn serve(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    answers: Arc<Answers>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).expect("a listener made non-blocking");
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
        connections.spawn(async move {
            if stream.set_nodelay(true).is_err() {
                return;
            }
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
                let answers = Arc::clone(&answers);
                async move {
                    let answer = answers.answer(request.uri().path());
                    request.into_body().collect().await?;
                    Ok::<_, hyper::Error>(answer)
                }
            });
            // A client that closes its connection is no error here.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clients_issue_and_their_cost_is_measured() {
        let server = CannedServer::start().unwrap();
        for cost in [server.floor(2, 4), server.client(2, 4)] {
            assert!(cost.cpu_ns > 0 && cost.wall_ns > 0, "{cost:?}");
        }
    }
}
