//! tls-alpn-01 (RFC 8737): reads the ClientHello, looks the name up, and sends a certificate made for it.
//!
//! The look-up may need a store over the network, so it happens between ClientHello and handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};
use tokio_util::sync::CancellationToken;
use wec_listen::Connection;
use wec_record::{ChallengeType, Identifier, Verdict};
use wec_store::ValidationFault;

use crate::accept::accept;
use crate::answers::Answers;
use crate::certificate::{ALPN, Mint};
use crate::config::ListenLimits;
use crate::faults;
use crate::history;
use crate::hits::beginning;

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    answers: Arc<Answers>,
    mint: Arc<Mint>,
    limits: ListenLimits,
    stop: CancellationToken,
) {
    accept("tls-alpn-01", listener, limits, stop, |stream, source, place| {
        let (answers, mint) = (Arc::clone(&answers), Arc::clone(&mint));
        let deadline = Instant::now() + limits.request_timeout;
        async move { connection((&answers, &mint), stream, source, &place, deadline).await }
    })
    .await;
}

async fn connection(
    (answers, mint): (&Answers, &Mint),
    stream: TcpStream,
    source: SocketAddr,
    place: &Connection,
    deadline: Instant,
) {
    let arrival = answers.hits.arrival(ChallengeType::TlsAlpn01, source);
    let hello = match within(deadline, LazyConfigAcceptor::new(Acceptor::default(), stream)).await {
        Ok(hello) => hello,
        Err(error) => {
            // A health check that opens the port and sends nothing is no validation; bytes that are not TLS are a
            // wrong one.
            if error.kind() == io::ErrorKind::InvalidData {
                let answer = format!("not a ClientHello: {error}");
                answers.hits.add(arrival, String::new(), Verdict::Refused, answer);
            }
            return;
        }
    };
    let _busy = place.busy();
    let Asked { name, protocols } = asked(&hello);
    if let Some(history) = &answers.history {
        let server_name = hello.client_hello().server_name().unwrap_or_default().to_owned();
        let event = history::Request::TlsAlpn {
            server_name: server_name.clone(),
            supported_protos: protocols.clone(),
        };
        history.add(server_name, event);
    }

    let (verdict, answer) = match choose(answers, mint, &name, &protocols).await {
        Ok(Proof { config, digest, fault }) => {
            let verdict = if fault.is_some() { Verdict::Faulted } else { Verdict::Answered };
            let answer = match fault {
                Some(fault) => fault.to_string(),
                None => format!("certificate with digest {}", beginning(&hex::encode(digest))),
            };
            match within(deadline, hello.into_stream(config)).await {
                Ok(mut stream) => {
                    // The proof has been given; it does not matter whether the client reads the close.
                    let _ = within(deadline, stream.shutdown()).await;
                    (verdict, answer)
                }
                Err(error) => (verdict, format!("{answer}, but the handshake failed: {error}")),
            }
        }
        Err(Denied::Refusal(refusal)) => {
            let mut stream = hello.io;
            let _ = stream.write_all(&refusal.alert.record()).await;
            (refusal.verdict, refusal.why)
        }
        Err(Denied::Fault(fault)) => {
            // Recorded first, because some of them last.
            answers.hits.add(arrival, name, Verdict::Faulted, fault.to_string());
            return disturb(fault, hello.io).await;
        }
    };
    answers.hits.add(arrival, name, verdict, answer);
}

/// The header of a handshake record that is sent so slowly that it does not end.
const ENDLESS_RECORD: &[u8] = &[22, 3, 3, 0x40, 0];

/// Ends a connection by a fault.
async fn disturb(fault: ValidationFault, mut stream: TcpStream) {
    match fault {
        // The close is then a reset; if it cannot be one, it is a close without an answer.
        ValidationFault::Reset => {
            let _ = stream.set_zero_linger();
        }
        ValidationFault::Silence => faults::silence(&mut stream).await,
        ValidationFault::Slow => faults::drip(&mut stream, ENDLESS_RECORD).await,
        _ => {
            let _ = stream.write_all(&Alert::AccessDenied.record()).await;
        }
    }
}

async fn within<T>(deadline: Instant, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(deadline, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

struct Asked {
    /// Empty if the ClientHello has no server name.
    name: String,
    protocols: Vec<String>,
}

fn asked(hello: &StartHandshake<TcpStream>) -> Asked {
    let hello = hello.client_hello();
    let protocols = hello
        .alpn()
        .map(|alpn| alpn.map(|protocol| String::from_utf8_lossy(protocol).into_owned()).collect::<Vec<_>>());
    Asked {
        name: hello
            .server_name()
            .map_or_else(String::new, |name| Identifier::of_server_name(name).validated().into_owned()),
        protocols: protocols.unwrap_or_default(),
    }
}

/// What a name is proven by.
struct Proof {
    config: Arc<rustls::ServerConfig>,
    digest: [u8; 32],
    /// The digest is a wrong one on purpose.
    fault: Option<ValidationFault>,
}

/// Why there is no proof.
enum Denied {
    Refusal(Refusal),
    Fault(ValidationFault),
}

/// Why a handshake is refused.
struct Refusal {
    verdict: Verdict,
    why: String,
    alert: Alert,
}

/// The TLS alerts for it (RFC 8446 §6.2, RFC 7301 §3.2).
#[derive(Clone, Copy)]
enum Alert {
    AccessDenied = 49,
    InternalError = 80,
    UnrecognizedName = 112,
    NoApplicationProtocol = 120,
}

impl Alert {
    /// A fatal alert before the ServerHello is a plain record.
    fn record(self) -> [u8; 7] {
        [21, 3, 3, 0, 2, 2, self as u8]
    }
}

async fn choose(answers: &Answers, mint: &Mint, name: &str, protocols: &[String]) -> Result<Proof, Denied> {
    let refuse = |verdict, why: String, alert| Denied::Refusal(Refusal { verdict, why, alert });
    if protocols.len() != 1 || protocols[0].as_bytes() != ALPN {
        // RFC 8737 §3: the only protocol that a CA offers.
        let why = format!("application protocols {protocols:?}, not only acme-tls/1");
        return Err(refuse(Verdict::Refused, why, Alert::NoApplicationProtocol));
    }
    if name.is_empty() {
        return Err(refuse(Verdict::Refused, "no server name".into(), Alert::UnrecognizedName));
    }
    let digest = match answers.tls_alpn01(name).await {
        Ok(Some(digest)) => digest,
        Ok(None) => {
            let why = "no challenge for this name".into();
            return Err(refuse(Verdict::Unknown, why, Alert::UnrecognizedName));
        }
        Err(failed) => {
            return Err(refuse(Verdict::StoreFailed, failed.to_string(), Alert::InternalError));
        }
    };
    let fault = ValidationFault::of_digest(&digest);
    if let Some(fault) = fault.filter(|fault| *fault != ValidationFault::Wrong) {
        return Err(Denied::Fault(fault));
    }
    match mint.config(name, digest) {
        Ok(config) => Ok(Proof { config, digest, fault }),
        Err(error) => Err(refuse(Verdict::Refused, error.to_string(), Alert::InternalError)),
    }
}
