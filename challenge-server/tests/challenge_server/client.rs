//! Requests as a CA sends them, byte for byte where this matters.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::*;

/// Longer than any answer takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Sends `request` and reads until the server closes.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    // A server that refuses early may reset the connection with unread data; the answer read before that counts.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut response)).await.expect("the server closes");
    String::from_utf8_lossy(&response).into_owned()
}

/// GET with `Connection: close`.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    parsed(&exchange(address, request.as_bytes()).await)
}

/// POST of a body with `Connection: close` and further header lines.
pub(crate) async fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    parsed(&exchange(address, request.as_bytes()).await)
}

fn parsed(response: &str) -> (u16, String) {
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.unwrap_or_else(|| panic!("no HTTP response: {response:?}")), body.unwrap_or_default())
}

/// What a tls-alpn-01 handshake has proved.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) intermediates: usize,
}

/// A CA's TLS client: it accepts any chain, but the certificate's key must sign the handshake.
#[derive(Debug)]
struct Lenient {
    provider: CryptoProvider,
    shown: Mutex<Option<Shown>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown =
            Shown { certificate: certificate.clone().into_owned(), intermediates: intermediates.len() };
        *self.shown.lock().unwrap() = Some(shown);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed_by_key_of(certificate, message, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed_by_key_of(certificate, message, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Lenient {
    /// rustls's own check is not used: it refuses the critical acmeIdentifier extension.
    fn signed_by_key_of(
        &self,
        certificate: &CertificateDer<'_>,
        message: &[u8],
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
        let key = &certificate.public_key().subject_public_key.data;
        let algorithms = self.provider.signature_verification_algorithms.mapping.iter();
        algorithms
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| *algorithms)
            .find(|algorithm| algorithm.verify_signature(key, message, signature.signature()).is_ok())
            .map(|_| HandshakeSignatureValid::assertion())
            .ok_or(Error::General("not signed by the key in the certificate".into()))
    }
}

/// A TLS handshake that offers these application protocols and versions; the stream, and the certificate.
pub(crate) async fn handshake(
    address: SocketAddr,
    name: ServerName<'static>,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<(TlsStream<TcpStream>, Shown)> {
    let provider = aws_lc_rs::default_provider();
    let verifier = Arc::new(Lenient { provider: provider.clone(), shown: Mutex::default() });
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let stream = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await??;
    let shown = verifier.shown.lock().unwrap().clone().expect("a certificate was verified");
    Ok((stream, shown))
}
