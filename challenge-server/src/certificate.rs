//! Makes the certificates of tls-alpn-01 (RFC 8737 §3) and keeps the TLS configurations that serve them.
//!
//! One key serves the whole process: it is the certificate's key, and signs certificate and handshake.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni, WantsServerCert};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use wec_record::Identifier;

/// RFC 8737 §6.2.
pub(crate) const ALPN: &[u8] = b"acme-tls/1";

/// A CA validates from several places within seconds. Older certificates than this many names are made again.
const CACHED_NAMES: usize = 4096;

/// Makes TLS configurations for one name and digest.
pub(crate) struct Mint {
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    /// The common part of every configuration; its own resolver has no certificate.
    template: ServerConfig,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    by_name: HashMap<String, ([u8; 32], Arc<ServerConfig>)>,
    oldest_first: VecDeque<String>,
}

/// No certificate can be made for this name or with this key.
#[derive(Debug, thiserror::Error)]
#[error("no certificate can be made: {0}")]
pub(crate) struct MintError(String);

impl Mint {
    pub(crate) fn new() -> Result<Self, MintError> {
        let (key, signer) = new_key()?;
        let mut template = server_config()?.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        template.alpn_protocols = vec![ALPN.to_vec()];
        // A validation never resumes a session, so tickets are useless.
        template.send_tls13_tickets = 0;
        template.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { key, signer, template, cache: Mutex::default() })
    }

    /// A TLS configuration whose one certificate proves `digest` for `name`.
    pub(crate) fn config(&self, name: &str, digest: [u8; 32]) -> Result<Arc<ServerConfig>, MintError> {
        if let Some(config) = self.cache().get(name, digest) {
            return Ok(config);
        }
        let certificate = challenge_certificate(&self.key, name, digest)?;
        let certified = CertifiedKey::new(vec![certificate], Arc::clone(&self.signer));
        let mut config = self.template.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        let config = Arc::new(config);
        self.cache().put(name, digest, Arc::clone(&config));
        Ok(config)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn get(&self, name: &str, digest: [u8; 32]) -> Option<Arc<ServerConfig>> {
        let (cached, config) = self.by_name.get(name)?;
        (*cached == digest).then(|| Arc::clone(config))
    }

    fn put(&mut self, name: &str, digest: [u8; 32], config: Arc<ServerConfig>) {
        if self.by_name.insert(name.to_owned(), (digest, config)).is_some() {
            return;
        }
        self.oldest_first.push_back(name.to_owned());
        if self.oldest_first.len() > CACHED_NAMES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_name.remove(&oldest);
        }
    }
}

/// RFC 8737 §3: self-signed, the name as its only subjectAltName, and a critical acmeIdentifier with the digest.
fn challenge_certificate(
    key: &KeyPair,
    name: &str,
    digest: [u8; 32],
) -> Result<CertificateDer<'static>, MintError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![subject_alt_name(name)?];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tls-alpn-01 challenge");
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let certificate = params.self_signed(key).map_err(|error| MintError(error.to_string()))?;
    Ok(certificate.into())
}

/// RFC 8738 §3: an IP identifier is an iPAddress, a name a dNSName.
fn subject_alt_name(name: &str) -> Result<SanType, MintError> {
    match Identifier::of(name) {
        Identifier::Ip(address) => Ok(SanType::IpAddress(address)),
        Identifier::Dns(_) | Identifier::Wildcard(_) => {
            let name = name.try_into().map_err(|error: rcgen::Error| MintError(error.to_string()))?;
            Ok(SanType::DnsName(name))
        }
        Identifier::Other { kind, .. } => {
            Err(MintError(format!("a certificate cannot have an identifier of the type {kind:?}")))
        }
    }
}

/// A self-signed certificate of this process for a listener whose certificate nobody checks (DNS over HTTPS in a test
/// network).
pub(crate) fn self_signed(names: Vec<String>) -> Result<CertifiedKey, MintError> {
    let (key, signer) = new_key()?;
    let params = CertificateParams::new(names).map_err(|error| MintError(error.to_string()))?;
    let certificate = params.self_signed(&key).map_err(|error| MintError(error.to_string()))?;
    Ok(CertifiedKey::new(vec![certificate.into()], signer))
}

/// A rustls configuration with this crate's provider, before the certificate.
pub(crate) fn server_config() -> Result<rustls::ConfigBuilder<ServerConfig, WantsServerCert>, MintError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| MintError(error.to_string()))?;
    Ok(builder.with_no_client_auth())
}

/// aws-lc-rs with its cheapest key exchange first: nothing in a validation is secret.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    CryptoProvider {
        kx_groups: vec![X25519, SECP256R1, SECP384R1, X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    }
}

fn new_key() -> Result<(KeyPair, Arc<dyn SigningKey>), MintError> {
    let key = KeyPair::generate().map_err(|error| MintError(error.to_string()))?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    let signer =
        aws_lc_rs::sign::any_ecdsa_type(&der.into()).map_err(|error| MintError(error.to_string()))?;
    Ok((key, signer))
}

#[cfg(test)]
mod tests {
    use ::aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use x509_parser::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_carries_what_rfc_8737_asks_for_and_nothing_else() {
        let mint = Mint::new().unwrap();
        let der = challenge_certificate(&mint.key, "www.example.test", [7; 32]).unwrap();
        let (rest, certificate) = X509Certificate::from_der(&der).unwrap();
        assert!(rest.is_empty());
        assert_eq!(certificate.issuer(), certificate.subject());
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, mint.key.public_key_raw());
        let signature = &certificate.signature_value.data;
        key.verify(certificate.tbs_certificate.as_ref(), signature).expect("signed by its own key");
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName("www.example.test")]);
        let acme = certificate
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .expect("id-pe-acmeIdentifier");
        assert!(acme.critical);
        assert_eq!(acme.value, [&[0x04, 0x20][..], &[7; 32]].concat(), "OCTET STRING of the digest");
        assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), mint.key.public_key_raw());
    }

    #[test]
    fn a_new_digest_is_a_new_certificate_and_the_cache_is_bounded() {
        let mint = Mint::new().unwrap();
        let first = mint.config("a.test", [1; 32]).unwrap();
        assert!(Arc::ptr_eq(&first, &mint.config("a.test", [1; 32]).unwrap()));
        assert!(!Arc::ptr_eq(&first, &mint.config("a.test", [2; 32]).unwrap()));

        let mut cache = Cache::default();
        for number in 0..CACHED_NAMES + 10 {
            cache.put(&number.to_string(), [0; 32], Arc::clone(&first));
        }
        assert_eq!(cache.by_name.len(), CACHED_NAMES);
        assert!(cache.get("9", [0; 32]).is_none());
        assert!(cache.get("10", [0; 32]).is_some());
    }

    #[test]
    fn a_name_that_no_certificate_can_carry_is_an_error() {
        assert!(Mint::new().unwrap().config("münchen.test", [0; 32]).is_err());
    }
}
