//! Trust and TLS settings: versions 1.2 and 1.3 by aws-lc-rs, sessions resumed, and one HTTP version.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::failure::Failure;

use crate::given::GivenOrSigned;
use crate::readable;

/// The HTTP version. A server that does not support it is an error, because the measurement would be of something
/// else.
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

/// Which certificates of the CA's HTTPS server are trusted.
#[derive(Clone)]
pub enum Roots {
    /// Those of the operating system's roots.
    System,
    /// These and no others, PEM: certificates that they signed, and a server's own certificate that is one of them.
    Pem(Vec<u8>),
    /// All: for test servers without a known root.
    Insecure,
}

impl Roots {
    /// Whether they are usable.
    ///
    /// # Errors
    /// What is wrong with them; for people.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Pem(pem) => pem_roots(pem).map(|_| ()),
            Self::System | Self::Insecure => Ok(()),
        }
    }
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

/// How PEM marks an encrypted key: in its label (RFC 7468 §11) or, as OpenSSL once wrote it, in a header.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// The client's certificate in TLS handshakes (RFC 8446 §4.4.2).
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// From PEM: the certificate, with the intermediates behind it, and the key, which must be that of the certificate.
    ///
    /// # Errors
    /// What is wrong, of the certificates or of the key; for people.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, WrongClientCertificate> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| WrongClientCertificate::Chain(format!("it is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(WrongClientCertificate::Chain("it has no `BEGIN CERTIFICATE`".into()));
        }
        let encrypted = key.windows(ENCRYPTED.len()).any(|bytes| bytes == ENCRYPTED);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            WrongClientCertificate::Key(
                match encrypted {
                    true => "it is encrypted: decrypt it with openssl pkey -in FILE -out PLAIN",
                    false => "it has no private key in PEM that is not encrypted",
                }
                .into(),
            )
        })?;
        let certificate = Self { chain, key };
        certificate.signer().map(|_| certificate)
    }

    fn signer(&self) -> Result<CertifiedKey, WrongClientCertificate> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider).map_err(|error| {
            match error {
                rustls::Error::InconsistentKeys(_) => WrongClientCertificate::Key(
                    "it is not the key of the first certificate in --client-cert".into(),
                ),
                rustls::Error::InvalidCertificate(_) => {
                    WrongClientCertificate::Chain(format!("its first certificate cannot be used: {error}"))
                }
                _ => WrongClientCertificate::Key(format!("it cannot be used: {error}")),
            }
        })
    }
}

impl Clone for ClientCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for ClientCertificate {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// What is wrong with a client certificate or its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongClientCertificate {
    /// The certificate or an intermediate.
    #[error("{0}")]
    Chain(String),
    /// The key.
    #[error("{0}")]
    Key(String),
}

/// Whether a server failed a request because a client certificate was missing or not accepted: by an alert (TLS 1.3
/// sends it after the handshake), or with nginx's text.
pub(crate) fn wants_client_certificate(failure: &Failure) -> bool {
    const ALERTS: [&str; 5] =
        ["CertificateRequired", "BadCertificate", "UnknownCA", "CertificateUnknown", "AccessDenied"];
    const NGINX: [&str; 2] = ["No required SSL certificate was sent", "The SSL certificate error"];
    let says = |words: &[&str]| words.iter().any(|words| failure.message.contains(words));
    failure.message.contains("fatal alert") && says(&ALERTS) || says(&NGINX)
}

/// What is wrong with the roots or the client's certificate; for people.
pub(crate) fn client_config(
    roots: &Roots,
    client: Option<&ClientCertificate>,
    http: HttpVersion,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        Roots::System => Arc::new(GivenOrSigned::new(Vec::new(), system_roots()?, provider)?),
        Roots::Pem(pem) => {
            let (given, roots) = pem_roots(pem)?;
            Arc::new(GivenOrSigned::new(given, roots, provider)?)
        }
        Roots::Insecure => Arc::new(TrustAnyone { provider }),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let signer = client.signer().map_err(|error| format!("the client certificate: {error}"))?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(signer)))
        }
    };
    config.alpn_protocols = vec![http.alpn().to_vec()];
    Ok(Arc::new(config))
}

/// The same for a stranger: no session is resumed or kept.
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

fn pem_roots(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), String> {
    let mut given = Vec::new();
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate
            .map_err(|error| format!("the root certificates are not PEM: {}", readable::pem(&error)))?;
        given.push(certificate.clone());
        store.add(certificate).map_err(|error| format!("a root certificate cannot be used: {error}"))?;
    }
    if store.is_empty() {
        return Err("the root certificates' file has no `BEGIN CERTIFICATE`".into());
    }
    Ok((given, store))
}

/// Accepts every certificate. Signatures are still checked, so the peer must have the key.
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
