//! `GivenOrSigned`: trusts certificates signed by the given roots, and the given certificates themselves.
//!
//! WebPKI accepts a root only as an issuer. `openssl req -x509` makes certificates that are marked as a CA's and are
//! used as a server's own. OpenSSL and curl trust such a certificate if it is given as root, and so do we.
//!
//! A certificate from elsewhere is refused with the name of its issuer ([`OtherIssuer`]).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

#[derive(Debug)]
pub(crate) struct GivenOrSigned {
    signed: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl GivenOrSigned {
    /// What is wrong with the roots; for people.
    pub(crate) fn new(
        given: Vec<CertificateDer<'static>>,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let signed = signed.build().map_err(|error| format!("the roots cannot be used: {error}"))?;
        Ok(Self { signed, given })
    }
}

impl ServerCertVerifier for GivenOrSigned {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let signed = self.signed.verify_server_cert(server, intermediates, name, ocsp, now);
        match signed {
            Err(_) if self.given.iter().any(|given| **given == **server) => {
                verify_server_name(&ParsedCertificate::try_from(server)?, name)?;
                check_validity(server, now)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Err(refused(OtherIssuer::Unknown, intermediates.last().unwrap_or(server)))
            }
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                Err(refused(OtherIssuer::OtherKey, intermediates.last().unwrap_or(server)))
            }
            signed => signed,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// No trusted root signed what the server sent. With the issuer of the last certificate of it.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum OtherIssuer {
    /// No root has its name.
    #[error(
        "the server's certificate was issued by {0:?}, which is neither a trusted root nor signed by one"
    )]
    Unknown(String),
    /// A root has its name: a CA that was set up again makes such roots.
    #[error(
        "the server's certificate was issued by {0:?}, and the trusted root of that name has another key"
    )]
    OtherKey(String),
}

fn refused(why: fn(String) -> OtherIssuer, last: &CertificateDer<'_>) -> Error {
    let error = match X509Certificate::from_der(last) {
        Ok((_, last)) => CertificateError::Other(OtherError(Arc::new(why(last.issuer().to_string())))),
        Err(_) => CertificateError::BadEncoding,
    };
    Error::InvalidCertificate(error)
}

impl OtherIssuer {
    /// What a handshake failed for, if it is this.
    pub(crate) fn behind(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => error.downcast_ref(),
            _ => None,
        }
    }
}

fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > validity.not_after.timestamp() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    /// As `openssl req -x509` makes it: self-signed and marked as a CA certificate.
    fn self_signed() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["ca.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn judge(
        given: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &str,
        at: u64,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(given.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = GivenOrSigned::new(vec![given.clone()], roots, provider).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(at));
        verifier.verify_server_cert(shown, &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn a_given_certificate_is_trusted_for_its_names_and_its_time_only() {
        let (given, other) = (self_signed(), self_signed());
        let (before, within, after) = (1_735_689_600, 1_780_272_000, 1_830_297_600);
        assert_eq!(judge(&given, &given, "ca.test", within), Ok(()));
        assert_eq!(
            judge(&given, &given, "ca.test", after),
            Err(Error::InvalidCertificate(CertificateError::Expired))
        );
        assert_eq!(
            judge(&given, &given, "ca.test", before),
            Err(Error::InvalidCertificate(CertificateError::NotValidYet))
        );
        let wrong_name = judge(&given, &given, "other.test", within).unwrap_err().to_string();
        assert!(wrong_name.contains("name"), "{wrong_name}");
        assert!(judge(&given, &other, "ca.test", within).is_err(), "another certificate of the same name");
    }
    #[test]
    fn a_certificate_from_elsewhere_is_refused_with_its_issuer() {
        let root = || {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, "Some root");
            rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let leaf = CertificateParams::new(vec!["ca.test".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &root()).unwrap();
        let given_root = root();
        let another_name = self_signed();
        for (given, why) in [
            (&another_name, "which is neither a trusted root nor signed by one"),
            (given_root.as_ref().der(), "and the trusted root of that name has another key"),
        ] {
            let refused = judge(given, leaf.der(), "ca.test", 1_780_272_000).unwrap_err();
            assert_eq!(
                OtherIssuer::behind(&refused).map(ToString::to_string),
                Some(format!("the server's certificate was issued by \"CN=Some root\", {why}"))
            );
        }
    }
}
