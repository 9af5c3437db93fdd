//! Whom to trust, and how TLS is spoken: 1.2 and 1.3 by aws-lc-rs, sessions resumed, and one HTTP version asked for.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Which HTTP is spoken. A server that does not speak it is an error: a measurement of the other would be one of
/// something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1: a request at a time on each connection.
    #[default]
    Http1,
    /// HTTP/2: one connection for all requests at once. Over TLS only.
    Http2,
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "1.1",
            Self::Http2 => "2",
        })
    }
}

impl std::str::FromStr for HttpVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.1" => Ok(Self::Http1),
            "2" => Ok(Self::Http2),
            _ => Err(format!("{text:?} is no HTTP version: there are 1.1 and 2")),
        }
    }
}

impl HttpVersion {
    /// The name in TLS (RFC 7301).
    pub(crate) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Whose certificates the CA's HTTPS server may present.
#[derive(Clone)]
pub enum Roots {
    /// The operating system's.
    System,
    /// These and no others, PEM.
    Pem(Vec<u8>),
    /// Any at all: for test servers whose root is not at hand.
    Insecure,
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Pem(_) => "Pem",
            Self::Insecure => "Insecure",
        })
    }
}

/// What is wrong with the roots; for people.
pub(crate) fn client_config(roots: &Roots, http: HttpVersion) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = match roots {
        Roots::System => builder.with_root_certificates(system_roots()?),
        Roots::Pem(pem) => builder.with_root_certificates(pem_roots(pem)?),
        Roots::Insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone { provider }))
        }
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![http.alpn().to_vec()];
    Ok(Arc::new(config))
}

/// The same for a client that nobody has seen before: no session is resumed, and none kept.
pub(crate) fn without_resumption(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(store);
    }
    let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
    Err(format!("the system has no root certificates{why}: install ca-certificates, or give the CA's root"))
}

fn pem_roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| format!("the root certificates are not PEM: {error}"))?;
        store.add(certificate).map_err(|error| format!("a root certificate cannot be used: {error}"))?;
    }
    if store.is_empty() {
        return Err("the root certificates' file has no `BEGIN CERTIFICATE`".into());
    }
    Ok(store)
}

/// Accepts every certificate; signatures are still checked, so that the peer has the key it shows.
#[derive(Debug)]
struct TrustAnyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
