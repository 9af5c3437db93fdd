//! The files for TLS that a process takes, and what is made of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const TLS: &str = "TLS between services";

/// Options of a process for TLS with other services.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsOptions {
    /// PEM file with the CA of the services' certificates (wec pki init)
    #[arg(long, env = "WEC_TLS_CA", value_name = "FILE", help_heading = TLS, hide_short_help = true)]
    pub tls_ca: Option<PathBuf>,
    /// PEM file with the certificate that this process presents (wec pki issue)
    #[arg(long, env = "WEC_TLS_CERT", value_name = "FILE", requires = "tls_ca", requires = "tls_key", help_heading = TLS, hide_short_help = true)]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the key of --tls-cert
    #[arg(long, env = "WEC_TLS_KEY", value_name = "FILE", requires = "tls_cert", help_heading = TLS, hide_short_help = true)]
    pub tls_key: Option<PathBuf>,
    /// Use connections beyond loopback without TLS
    #[arg(long, env = "WEC_PLAINTEXT", value_parser = clap::builder::FalseyValueParser::new(), help_heading = TLS, hide_short_help = true)]
    pub plaintext: bool,
}

impl TlsOptions {
    /// Those of the environment, for commands that people use now and then.
    pub fn of_environment() -> Self {
        let file = |name: &str| std::env::var_os(name).filter(|file| !file.is_empty()).map(PathBuf::from);
        let plaintext = std::env::var("WEC_PLAINTEXT").unwrap_or_default().to_lowercase();
        Self {
            tls_ca: file("WEC_TLS_CA"),
            tls_cert: file("WEC_TLS_CERT"),
            tls_key: file("WEC_TLS_KEY"),
            plaintext: !["", "0", "no", "n", "off", "f", "false"].contains(&plaintext.as_str()),
        }
    }

    /// The files; none without a CA.
    pub fn files(&self) -> Option<TlsFiles> {
        let client = self.tls_cert.clone().zip(self.tls_key.clone());
        self.tls_ca.clone().map(|ca| TlsFiles { ca, client })
    }

    /// Reads the files; none without a CA.
    ///
    /// # Errors
    /// When one cannot be read or is not what it must be.
    pub fn load(&self) -> Result<Option<Tls>, TlsError> {
        self.files().map(Tls::read).transpose()
    }
}

/// Files of PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The CA whose certificates are trusted.
    pub ca: PathBuf,
    /// The own certificate with its intermediates, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Which clients a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Those with a certificate of the CA.
    Services,
    /// Also those without a certificate. They have a token.
    People,
}

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or wrong.
    #[error("cannot use {file} for TLS: {reason}; wec pki issue makes such files")]
    File {
        /// Its path.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The certificate does not belong to the key, or is not usable.
    #[error("cannot use the certificate {file} with its key: {reason}")]
    Pair {
        /// The certificate's path.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A server needs a certificate.
    #[error("{0} needs a certificate: give --tls-cert and --tls-key with --tls-ca")]
    NoCertificate(&'static str),
    /// A name that no certificate can have.
    #[error("{0:?} is not a host name or an IP address")]
    Name(String),
}

/// Certificates and keys that were read.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    roots: Arc<RootCertStore>,
    pair: Option<Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for Tls {
    /// The files, not their content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or is not what it must be.
    pub fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            roots.add(certificate).map_err(|error| wrong(&files.ca, error))?;
        }
        let roots = Arc::new(roots);
        let pair = match &files.client {
            None => None,
            Some((certificate, key)) => {
                let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
                Some(Arc::new((certificates(certificate)?, key_der)))
            }
        };
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&files.ca, error))?
            .with_root_certificates(Arc::clone(&roots));
        let client = match &pair {
            None => client.with_no_client_auth(),
            Some(pair) => client
                .with_client_auth_cert(pair.0.clone(), pair.1.clone_key())
                .map_err(|error| unusable(&files, error))?,
        };
        Ok(Self { files, roots, pair, client: Arc::new(client) })
    }

    /// The files.
    pub const fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// For a listener; `what` names it, `alpn` is its protocol, such as `h2`.
    ///
    /// # Errors
    /// When there is no certificate, or it cannot be used.
    pub fn acceptor(
        &self,
        what: &'static str,
        clients: Clients,
        alpn: &str,
    ) -> Result<TlsAcceptor, TlsError> {
        let pair = self.pair.as_ref().ok_or(TlsError::NoCertificate(what))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider));
        let verifier = match clients {
            Clients::Services => verifier,
            Clients::People => verifier.allow_unauthenticated(),
        };
        let verifier = verifier.build().map_err(|error| wrong(&self.files.ca, error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.files, error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(pair.0.clone(), pair.1.clone_key())
            .map_err(|error| unusable(&self.files, error))?;
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Begins TLS on a connection to `host`, a name or an IP address.
    ///
    /// # Errors
    /// Why the handshake failed, with the files to look at.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| TlsError::Name(host.to_owned()).to_string())?;
        let connecting = TlsConnector::from(Arc::clone(&self.client)).connect(name, stream);
        connecting.await.map_err(|error| self.explained(&error.to_string()))
    }

    /// As [`TlsFiles::explained`].
    pub fn explained(&self, error: &str) -> String {
        self.files.explained(error)
    }
}

impl TlsFiles {
    /// The text of an error of TLS, with the way out if it is about certificates.
    pub fn explained(&self, error: &str) -> String {
        let (ca, own) = (self.ca.display(), self.client.as_ref().map(|(own, _)| own.display()));
        let way_out = if error.contains("UnknownIssuer") || error.contains("BadSignature") {
            format!("its certificate is not from the CA in {ca}")
        } else if error.contains("NotValidForName") {
            "its certificate is for other hosts: issue one with wec pki issue --host".to_owned()
        } else if error.contains("Expired") {
            "its certificate has expired: issue a new one with wec pki issue".to_owned()
        } else if error.contains("CertificateRequired") {
            "it requires a certificate: give --tls-cert and --tls-key".to_owned()
        } else if ["UnknownCA", "DecryptError", "BadCertificate", "CertificateUnknown"]
            .iter()
            .any(|alert| error.contains(alert))
        {
            match own {
                Some(own) => {
                    format!("it refuses the certificate {own}: both sides need certificates of one CA")
                }
                None => "it refuses this certificate: both sides need certificates of one CA".to_owned(),
            }
        } else {
            return error.to_owned();
        };
        format!("{error} ({way_out})")
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(file, error))?;
    let read: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(file, error))?;
    if read.is_empty() {
        return Err(wrong(file, "it has no certificate"));
    }
    Ok(read)
}

fn wrong(file: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError::File { file: file.display().to_string(), reason: reason.to_string() }
}

fn unusable(files: &TlsFiles, reason: impl fmt::Display) -> TlsError {
    let file = files.client.as_ref().map(|(certificate, _)| certificate.display().to_string());
    TlsError::Pair { file: file.unwrap_or_default(), reason: reason.to_string() }
}
