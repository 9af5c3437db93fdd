//! Real validations: http-01 (RFC 8555 §8.3), tls-alpn-01 (RFC 8737) and dns-01 (§8.4), each at one
//! configured address for all names. Real CAs resolve the name and validate from several places; this CA
//! validates once. tls-alpn-01 uses only TLS 1.3.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wec_record::{ChallengeType, Identifier, Listener};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Oid, oid};
use x509_parser::prelude::FromDer;

use crate::caa;
use crate::challenge::Validated;
use crate::config::{ISSUER_NAME, Validation};
use crate::dns::{ask, question};
use crate::issuer::name_of;
use crate::reply::{Kind, Problem};

/// Validates challenges.
pub(crate) struct Validator {
    http01: Option<SocketAddr>,
    tls_alpn01: Option<SocketAddr>,
    dns01: Option<SocketAddr>,
    caa: Option<SocketAddr>,
    give_up: Duration,
    tls: TlsConnector,
    /// Bounds concurrent validations, and so the number of sockets; more wait.
    at_once: Semaphore,
}

const MOST_AT_ONCE: usize = 512;

/// A key authorization has some 90 bytes; a much longer response does not answer the challenge.
const LONGEST_RESPONSE: usize = 4096;

const ACME_TLS: &[u8] = b"acme-tls/1";

/// id-pe-acmeIdentifier (RFC 8737 §3).
const ACME_IDENTIFIER: Oid<'static> = oid!(1.3.6.1.5.5.7.1.31);

impl Validator {
    pub(crate) fn new(config: &Validation, provider: &Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let mut tls = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.clone())))
            .with_no_client_auth();
        tls.alpn_protocols = vec![ACME_TLS.to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            http01: config.http01,
            tls_alpn01: config.tls_alpn01,
            dns01: config.dns01,
            caa: config.caa,
            give_up: config.give_up,
            tls: TlsConnector::from(Arc::new(tls)),
            at_once: Semaphore::new(MOST_AT_ONCE),
        })
    }

    /// The address for this type of challenge; `None` when it is accepted without validation.
    pub(crate) fn target(&self, kind: ChallengeType) -> Option<SocketAddr> {
        match kind.listener() {
            Listener::Http => self.http01,
            Listener::Tls => self.tls_alpn01,
            Listener::Dns => self.dns01,
        }
    }

    pub(crate) async fn look(&self, challenge: &Validated, target: SocketAddr) -> Result<(), Problem> {
        let _permit = self.at_once.acquire().await;
        let looking = async {
            match challenge.kind {
                ChallengeType::Http01 => look_http(challenge, target).await,
                ChallengeType::TlsAlpn01 => self.look_tls(challenge, target).await,
                ChallengeType::Dns01 => look_dns(challenge, DnsType::Dns01, target).await,
                ChallengeType::DnsAccount01 => look_dns(challenge, DnsType::Account01, target).await,
                ChallengeType::DnsPersist01 => look_dns(challenge, DnsType::Persist01, target).await,
            }?;
            match (self.caa, &challenge.identifier) {
                (Some(at), Identifier::Dns(_) | Identifier::Wildcard(_)) => caa::check(challenge, at).await,
                (Some(_), Identifier::Ip(_) | Identifier::Other { .. }) | (None, _) => Ok(()),
            }
        };
        timeout(self.give_up, looking).await.unwrap_or_else(|_| {
            let kind = match challenge.kind.listener() {
                Listener::Http | Listener::Tls => Kind::Connection,
                Listener::Dns => Kind::Dns,
            };
            Err(Problem::new(kind, format!("{target} did not answer within {:?}", self.give_up)))
        })
    }

    async fn look_tls(&self, challenge: &Validated, target: SocketAddr) -> Result<(), Problem> {
        let tls = |detail: String| Problem::new(Kind::Tls, detail);
        // RFC 8738 §6: the server name for an IP address is its name in reverse DNS.
        let asked = match &challenge.identifier {
            Identifier::Ip(address) => Name::from(*address).to_ascii().trim_end_matches('.').to_owned(),
            name @ (Identifier::Dns(_) | Identifier::Wildcard(_) | Identifier::Other { .. }) => {
                name.validated().into_owned()
            }
        };
        let name = ServerName::try_from(asked).map_err(|error| {
            tls(format!("`{}` is not a server name: {error}", challenge.identifier.validated()))
        })?;
        let tcp = connect(target).await?;
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|error| tls(format!("the TLS handshake with {target} failed: {error}")))?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ACME_TLS) {
            return Err(tls(format!("{target} did not negotiate acme-tls/1")));
        }
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or_else(|| tls(format!("{target} presented no certificate")))?;
        check_tls_alpn(certificate, challenge)
    }
}

async fn connect(target: SocketAddr) -> Result<TcpStream, Problem> {
    TcpStream::connect(target)
        .await
        .map_err(|error| Problem::new(Kind::Connection, format!("connecting to {target} failed: {error}")))
}

async fn look_http(challenge: &Validated, target: SocketAddr) -> Result<(), Problem> {
    let connection = |what: &str, error: &dyn std::fmt::Display| {
        Problem::new(Kind::Connection, format!("{what} {target} failed: {error}"))
    };
    let incorrect = |detail: String| Problem::new(Kind::IncorrectResponse, detail);
    let tcp = connect(target).await?;
    let (mut client, driver) =
        http1::handshake(TokioIo::new(tcp)).await.map_err(|error| connection("HTTP with", &error))?;
    let path = format!("/.well-known/acme-challenge/{}", challenge.token);
    let request = Request::get(path)
        .header(header::HOST, &*challenge.identifier.host())
        .header(header::USER_AGENT, "wec-null-ca")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| connection("asking", &error))?;
    let exchange = async {
        let response = client
            .send_request(request)
            .await
            .map_err(|error| connection("fetching the response from", &error))?;
        if response.status() != StatusCode::OK {
            return Err(incorrect(format!("{target} answered {}", response.status())));
        }
        let body = Limited::new(response.into_body(), LONGEST_RESPONSE).collect().await;
        body.map_err(|error| connection("reading the response from", &error))
    };
    // The driver ends with the exchange, both by themselves and when they are dropped.
    tokio::pin!(driver, exchange);
    let body = tokio::select! {
        result = &mut exchange => result?,
        _ = &mut driver => exchange.await?,
    };
    let body = body.to_bytes();
    // RFC 8555 §8.3: trailing whitespace is ignored.
    if body.trim_ascii_end() == challenge.key_authorization.as_bytes() {
        return Ok(());
    }
    Err(incorrect(format!(
        "{target} answered {:?} instead of the key authorization",
        String::from_utf8_lossy(&body[..body.len().min(100)])
    )))
}

/// RFC 8737 §3: exactly one name, and the digest of the key authorization in a critical extension.
fn check_tls_alpn(der: &CertificateDer<'_>, challenge: &Validated) -> Result<(), Problem> {
    let incorrect = |detail: &str| Problem::new(Kind::IncorrectResponse, detail);
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|_| incorrect("the tls-alpn-01 certificate does not parse"))?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |san| san.value.general_names.as_slice());
    let one_name = matches!(names, [name] if name_of(name).as_ref() == Some(&challenge.identifier));
    if !one_name {
        return Err(incorrect("the tls-alpn-01 certificate does not have the one name it must"));
    }
    let digest = digest::digest(&digest::SHA256, challenge.key_authorization.as_bytes());
    // An OCTET STRING of 32 bytes.
    let expected = [&[0x04, 0x20], digest.as_ref()].concat();
    let extension = certificate.extensions().iter().find(|ext| ext.oid == ACME_IDENTIFIER);
    match extension {
        Some(extension) if extension.critical && extension.value == expected => Ok(()),
        Some(extension) if extension.critical => {
            Err(incorrect("the acmeIdentifier is not the digest of the key authorization"))
        }
        Some(_) => Err(incorrect("the acmeIdentifier extension is not critical")),
        None => Err(incorrect("the tls-alpn-01 certificate has no acmeIdentifier extension")),
    }
}

/// tls-alpn-01 certificates are self-signed: their content is checked afterwards, but the handshake must be
/// signed with their key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // With the bare key, because verification with the certificate refuses its critical extension.
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The challenge types that a TXT record proves.
#[derive(Clone, Copy)]
enum DnsType {
    Dns01,
    Account01,
    Persist01,
}

/// Whether the value of a TXT record proves a challenge.
type IsRight<'a> = dyn Fn(&[u8]) -> bool + Sync + 'a;

async fn look_dns(challenge: &Validated, kind: DnsType, target: SocketAddr) -> Result<(), Problem> {
    let dns = |detail: String| Problem::new(Kind::Dns, detail);
    let validated = challenge.identifier.validated();
    let digest = digest::digest(&digest::SHA256, challenge.key_authorization.as_bytes());
    let digest = URL_SAFE_NO_PAD.encode(digest);
    let has_digest = |value: &[u8]| value == digest.as_bytes();
    let names_account = |value: &[u8]| {
        let is_wildcard = matches!(challenge.identifier, Identifier::Wildcard(_));
        std::str::from_utf8(value)
            .is_ok_and(|record| is_persistent(record, &challenge.account, is_wildcard, UnixTime::now()))
    };
    const DIGEST: &str = "holds the digest of the key authorization";
    let (name, is_right, what): (_, &IsRight<'_>, _) = match kind {
        DnsType::Dns01 => (format!("_acme-challenge.{validated}."), &has_digest, DIGEST),
        DnsType::Account01 => {
            let account = account_label(&challenge.account);
            (format!("{account}._acme-challenge.{validated}."), &has_digest, DIGEST)
        }
        DnsType::Persist01 => {
            let what = "names this CA and the account";
            (format!("_validation-persist.{validated}."), &names_account, what)
        }
    };
    let question = question(&name, RecordType::TXT).map_err(dns)?;
    let answer = ask(&question, target)
        .await
        .map_err(|error| dns(format!("asking {target} for TXT of {name} failed: {error}")))?;
    if answer.metadata.response_code != ResponseCode::NoError {
        let code = answer.metadata.response_code;
        return Err(dns(format!("{target} answered {code} for TXT of {name}")));
    }
    let found = answer.answers.iter().any(|record| match &record.data {
        RData::TXT(txt) => is_right(&txt.txt_data.concat()),
        _ => false,
    });
    if found {
        return Ok(());
    }
    Err(Problem::new(Kind::IncorrectResponse, format!("no TXT record of {name} {what}")))
}

/// The label of an account in names of dns-account-01 (draft-ietf-acme-dns-account-label): the first ten octets of the
/// SHA-256 of its URL in base32.
fn account_label(url: &str) -> String {
    let hash = digest::digest(&digest::SHA256, url.as_bytes());
    let mut label = "_".to_owned();
    for five in hash.as_ref()[..10].chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
        for place in (0..8).rev() {
            let digit = (bits >> (5 * place) & 31) as u8;
            label.push(char::from(if digit < 26 { b'a' + digit } else { b'2' + digit - 26 }));
        }
    }
    label
}

/// Whether a TXT record of dns-persist-01 (draft-ietf-acme-dns-persist) is for this CA and account.
fn is_persistent(record: &str, account: &str, is_wildcard: bool, now: UnixTime) -> bool {
    let blank = |c: char| c == ' ' || c == '\t';
    let mut parts = record.split(';').map(|part| part.trim_matches(blank));
    if parts.next() != Some(ISSUER_NAME) {
        return false;
    }
    let Some(tags) = parts.map(|part| part.split_once('=')).collect::<Option<Vec<_>>>() else { return false };
    let value = |name: &str| {
        tags.iter()
            .find(|(tag, _)| tag.trim_matches(blank).eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_matches(blank))
    };
    let lasts = match value("persistUntil").map(str::parse::<u64>) {
        None => true,
        Some(until) => until.is_ok_and(|until| now.as_secs() <= until),
    };
    lasts
        && value("accounturi") == Some(account)
        && (!is_wildcard || value("policy").is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair};

    use super::*;

    fn challenge() -> Validated {
        Validated {
            kind: ChallengeType::TlsAlpn01,
            identifier: Identifier::of("a.test"),
            account: "https://ca.test/account/1".to_owned(),
            token: "token".to_owned(),
            key_authorization: "token.thumbprint".to_owned(),
        }
    }

    #[test]
    fn a_tls_alpn_certificate_of_an_address_has_the_address() {
        let mut params = CertificateParams::new(vec!["2001:db8::1".to_owned()]).unwrap();
        let digest = digest::digest(&digest::SHA256, b"token.thumbprint");
        params.custom_extensions.push(CustomExtension::new_acme_identifier(digest.as_ref()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let of = |name: &str| Validated { identifier: Identifier::of(name), ..challenge() };
        assert!(check_tls_alpn(certificate.der(), &of("2001:db8::1")).is_ok());
        assert!(check_tls_alpn(certificate.der(), &of("2001:db8::2")).is_err());
    }

    #[test]
    fn the_label_of_an_account_is_that_of_the_drafts_example() {
        assert_eq!(account_label("https://example.com/acme/acct/ExampleAccount"), "_ujmmovf2vn55tgye");
    }

    #[test]
    fn a_persistent_record_names_the_ca_and_the_account() {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_000));
        for (record, name, wildcard) in [
            ("null-ca.test; accounturi=a", true, false),
            ("null-ca.test;accounturi=a;policy=wildcard", true, true),
            (" null-ca.test ; AccountURI=a; Policy=WildCard ", true, true),
            ("null-ca.test; accounturi=a; policy=other", true, false),
            ("null-ca.test; accounturi=a; persistUntil=1000", true, false),
            ("null-ca.test; accounturi=a; persistUntil=999", false, false),
            ("null-ca.test; accounturi=a; persistUntil=soon", false, false),
            ("null-ca.test; accounturi=b", false, false),
            ("null-ca.test", false, false),
            ("null-ca.test; accounturi=a;", false, false),
            ("other.test; accounturi=a", false, false),
        ] {
            let found = [false, true].map(|is_wildcard| is_persistent(record, "a", is_wildcard, now));
            assert_eq!(found, [name, wildcard], "{record}");
        }
    }

    fn verdict(names: &[&str], key_authorization: Option<&str>, critical: bool) -> Result<(), String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if let Some(key_authorization) = key_authorization {
            let digest = digest::digest(&digest::SHA256, key_authorization.as_bytes());
            let mut extension = CustomExtension::new_acme_identifier(digest.as_ref());
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        check_tls_alpn(certificate.der(), &challenge()).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_tls_alpn_certificate_must_be_exactly_right() {
        let right = Some("token.thumbprint");
        assert_eq!(verdict(&["a.test"], right, true), Ok(()));
        for (result, why) in [
            (verdict(&["b.test"], right, true), "one name"),
            (verdict(&["a.test", "b.test"], right, true), "one name"),
            (verdict(&[], right, true), "one name"),
            (verdict(&["a.test"], right, false), "not critical"),
            (verdict(&["a.test"], Some("token.other"), true), "digest"),
            (verdict(&["a.test"], None, true), "no acmeIdentifier"),
        ] {
            let detail = result.unwrap_err();
            assert!(detail.contains(why), "{detail}");
        }
    }
}
