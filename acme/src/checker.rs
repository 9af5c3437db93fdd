//! Whether a downloaded certificate is the one that was asked for.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::certificate::CertificateKey;
use crate::failure::{Failure, FailureKind};

/// How far the CA's clock may be ahead of ours, seconds.
const SKEW: i64 = 60;
/// Chains remembered. A CA has a handful of intermediates.
const MOST_CHAINS: usize = 16;
const END: &[u8] = b"-----END CERTIFICATE-----";

/// What is worth keeping of a certificate that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The certificate itself, DER.
    pub leaf_der: Vec<u8>,
    /// Serial number, lower-case hex of its DER content without leading zero bytes.
    pub serial_hex: String,
    /// Identifier for renewal information (RFC 9773 §4.1); empty when the certificate does not name its issuer's key.
    pub ari_id: String,
    /// The issuer: 16 hex digits of its public key's SHA-256. Serials are unique only within it.
    pub issuer_id: Arc<str>,
    /// Beginning of validity, seconds since the Unix epoch.
    pub not_before_unix: i64,
    /// End of validity, seconds since the Unix epoch.
    pub not_after_unix: i64,
}

/// Checks certificates. Remembers the chains above them, so that each costs one parse and one signature.
#[derive(Debug, Default)]
pub struct Checker {
    chains: Mutex<VecDeque<Arc<Issuer>>>,
}

impl Checker {
    /// A checker that knows no chain yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks a download, PEM with the leaf first: its names are exactly `names`, its key is `key`, it is valid at
    /// `now_unix`, and each certificate is signed by the next, which is a CA.
    ///
    /// Whether the chain's end is trusted is not asked: test CAs make up their roots.
    ///
    /// # Errors
    /// [`FailureKind::WrongCertificate`], saying which certificate is wrong and how.
    pub fn check(
        &self,
        pem: &[u8],
        names: &[String],
        key: &CertificateKey,
        now_unix: i64,
    ) -> Result<Checked, Failure> {
        self.judge(pem, names, key, now_unix).map_err(|wrong| {
            Failure::new(FailureKind::WrongCertificate, format!("wrong certificate: {wrong}"))
        })
    }

    fn judge(
        &self,
        pem: &[u8],
        names: &[String],
        key: &CertificateKey,
        now_unix: i64,
    ) -> Result<Checked, String> {
        let end = pem
            .windows(END.len())
            .position(|window| window == END)
            .ok_or("the download has no certificate")?;
        let (leaf, chain) = pem.split_at(end + END.len());
        let der = CertificateDer::from_pem_slice(leaf)
            .map_err(|error| format!("the first certificate is not PEM: {error}"))?;
        let leaf = parse(&der, "the certificate")?;

        same_names(&leaf, names)?;
        if &*leaf.public_key().subject_public_key.data != key.public_key() {
            return Err("its public key is not the one in the request".into());
        }
        if leaf.is_ca() {
            return Err("it is a CA's certificate".into());
        }
        let validity = Validity::of(&leaf);
        validity.holds(now_unix, "it")?;

        let issuer = self.issuer(chain)?;
        issuer.validity.holds(now_unix, "one of its issuers")?;
        issuer.has_signed(&leaf, "it")?;

        let serial = leaf.raw_serial();
        Ok(Checked {
            serial_hex: hex(strip_zeros(serial)),
            ari_id: authority_key(&leaf).map_or_else(String::new, |authority| {
                [URL_SAFE_NO_PAD.encode(authority), URL_SAFE_NO_PAD.encode(serial)].join(".")
            }),
            issuer_id: Arc::clone(&issuer.id),
            not_before_unix: validity.not_before,
            not_after_unix: validity.not_after,
            leaf_der: der.to_vec(),
        })
    }

    /// The issuer at the beginning of a chain that is known, or is good.
    fn issuer(&self, chain: &[u8]) -> Result<Arc<Issuer>, String> {
        let known =
            |chains: &VecDeque<Arc<Issuer>>| chains.iter().find(|known| *known.chain == *chain).cloned();
        if let Some(issuer) = known(&self.chains.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(issuer);
        }
        let issuer = Arc::new(Issuer::of_chain(chain)?);
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if chains.len() == MOST_CHAINS {
            chains.pop_front();
        }
        chains.push_back(Arc::clone(&issuer));
        Ok(issuer)
    }
}

/// A CA's certificate, of a chain whose signatures have been verified.
struct Issuer {
    /// The PEM text of the whole chain: what it is remembered by.
    chain: Box<[u8]>,
    id: Arc<str>,
    subject: Vec<u8>,
    keys: Vec<(SignatureKind, ParsedPublicKey)>,
    /// When all of the chain are valid.
    validity: Validity,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Issuer {
    fn of_chain(pem: &[u8]) -> Result<Self, String> {
        let ders: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the chain is not PEM: {error}"))?;
        let mut above: Option<Self> = None;
        // From the top, so that each finds its issuer made.
        for (position, der) in ders.iter().enumerate().rev() {
            let place = format!("certificate {} of the chain", position + 2);
            let certificate = parse(der, &place)?;
            let mut issuer = Self::of(&certificate, &place)?;
            if let Some(above) = above {
                above.has_signed(&certificate, &place)?;
                issuer.validity = issuer.validity.and(&above.validity);
            }
            above = Some(issuer);
        }
        let mut issuer =
            above.ok_or("no issuer's certificate came with it, so its signature cannot be verified")?;
        issuer.chain = pem.into();
        Ok(issuer)
    }

    fn of(certificate: &X509Certificate<'_>, place: &str) -> Result<Self, String> {
        if !certificate.is_ca() {
            return Err(format!("{place} is not a CA's (basicConstraints)"));
        }
        let signs =
            certificate.key_usage().map_err(|error| format!("{place} has a bad keyUsage: {error}"))?;
        if signs.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(format!("{place} may not sign certificates (keyUsage)"));
        }
        let public_key = certificate.public_key();
        let bytes = &*public_key.subject_public_key.data;
        let keys = SignatureKind::of_key(&public_key.algorithm)
            .iter()
            .filter_map(|(kind, algorithm)| Some((*kind, ParsedPublicKey::new(*algorithm, bytes).ok()?)))
            .collect();
        let hash = digest::digest(&digest::SHA256, public_key.raw);
        Ok(Self {
            chain: Box::default(),
            id: hex(&hash.as_ref()[..8]).into(),
            subject: certificate.subject().as_raw().to_vec(),
            keys,
            validity: Validity::of(certificate),
        })
    }

    fn has_signed(&self, certificate: &X509Certificate<'_>, place: &str) -> Result<(), String> {
        if certificate.issuer().as_raw() != self.subject {
            let issuer = certificate.issuer();
            return Err(format!(
                "{place} names {issuer} as its issuer, and the next certificate is another's"
            ));
        }
        let oid = &certificate.signature_algorithm.algorithm;
        if *oid != certificate.tbs_certificate.signature.algorithm {
            return Err(format!("{place} names two signature algorithms"));
        }
        let text = oid.to_id_string();
        let kind = SignatureKind::of_signature(&text);
        let (_, key) = self.keys.iter().find(|(candidate, _)| Some(*candidate) == kind).ok_or_else(|| {
            format!("{place} has a signature of type {text}, which cannot be verified with its issuer's key")
        })?;
        key.verify_sig(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
            .map_err(|_| format!("the signature of {place} is not its issuer's"))
    }
}

/// The signatures that CAs make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignatureKind {
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    RsaSha256,
    RsaSha384,
    RsaSha512,
    Ed25519,
}

type Verification = (SignatureKind, &'static dyn VerificationAlgorithm);

impl SignatureKind {
    fn of_signature(oid: &str) -> Option<Self> {
        Some(match oid {
            "1.2.840.10045.4.3.2" => Self::EcdsaSha256,
            "1.2.840.10045.4.3.3" => Self::EcdsaSha384,
            "1.2.840.10045.4.3.4" => Self::EcdsaSha512,
            "1.2.840.113549.1.1.11" => Self::RsaSha256,
            "1.2.840.113549.1.1.12" => Self::RsaSha384,
            "1.2.840.113549.1.1.13" => Self::RsaSha512,
            "1.3.101.112" => Self::Ed25519,
            _ => return None,
        })
    }

    /// What a key of this type can have signed.
    fn of_key(algorithm: &x509_parser::x509::AlgorithmIdentifier<'_>) -> &'static [Verification] {
        static P256: [Verification; 2] = [
            (SignatureKind::EcdsaSha256, &signature::ECDSA_P256_SHA256_ASN1),
            (SignatureKind::EcdsaSha384, &signature::ECDSA_P256_SHA384_ASN1),
        ];
        static P384: [Verification; 2] = [
            (SignatureKind::EcdsaSha256, &signature::ECDSA_P384_SHA256_ASN1),
            (SignatureKind::EcdsaSha384, &signature::ECDSA_P384_SHA384_ASN1),
        ];
        static P521: [Verification; 3] = [
            (SignatureKind::EcdsaSha256, &signature::ECDSA_P521_SHA256_ASN1),
            (SignatureKind::EcdsaSha384, &signature::ECDSA_P521_SHA384_ASN1),
            (SignatureKind::EcdsaSha512, &signature::ECDSA_P521_SHA512_ASN1),
        ];
        static RSA: [Verification; 3] = [
            (SignatureKind::RsaSha256, &signature::RSA_PKCS1_2048_8192_SHA256),
            (SignatureKind::RsaSha384, &signature::RSA_PKCS1_2048_8192_SHA384),
            (SignatureKind::RsaSha512, &signature::RSA_PKCS1_2048_8192_SHA512),
        ];
        static ED25519: [Verification; 1] = [(SignatureKind::Ed25519, &signature::ED25519)];
        match algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.10045.2.1" => {
                let curve = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
                match curve.map(|oid| oid.to_id_string()).as_deref() {
                    Some("1.2.840.10045.3.1.7") => &P256,
                    Some("1.3.132.0.34") => &P384,
                    Some("1.3.132.0.35") => &P521,
                    _ => &[],
                }
            }
            "1.2.840.113549.1.1.1" => &RSA,
            "1.3.101.112" => &ED25519,
            _ => &[],
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Validity {
    not_before: i64,
    not_after: i64,
}

impl Validity {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() }
    }

    fn and(self, other: &Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    fn holds(&self, now_unix: i64, whose: &str) -> Result<(), String> {
        if self.not_before > now_unix + SKEW {
            return Err(format!("{whose} is not valid for another {} s", self.not_before - now_unix));
        }
        if self.not_after < now_unix {
            return Err(format!("{whose} expired {} s ago", now_unix - self.not_after));
        }
        Ok(())
    }
}

fn parse<'a>(der: &'a [u8], what: &str) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if is_framed(der, &certificate) => Ok(certificate),
        Ok(([], _)) => Err(format!("{what} is not DER around what was signed")),
        Ok(_) => Err(format!("{what} has bytes after its end")),
        Err(error) => Err(format!("{what} is not X.509: {error}")),
    }
}

/// Whether what stands around the signed part is encoded as it must be. No signature covers it, and the parser takes
/// other bytes there, too: the outer SEQUENCE, the algorithm (the same as inside, RFC 5280 §4.1.1.2), the BIT STRING
/// and its count of unused bits.
fn is_framed(der: &[u8], certificate: &X509Certificate<'_>) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let signed = certificate.tbs_certificate.as_ref();
    let framed = || {
        // A length of 128 and more is preceded by the number of its bytes.
        let length = *der.get(1)?;
        let header = 2 + if length < 0x80 { 0 } else { usize::from(length & 0x7f) };
        let after = der.get(header..)?.strip_prefix(signed)?;
        let algorithm = after.get(..2 + usize::from(*after.get(1)?))?;
        let signature = after.get(algorithm.len()..)?;
        let same_inside = signed.windows(algorithm.len()).any(|inside| inside == algorithm);
        Some(der[0] == SEQUENCE && same_inside && *signature.first()? == BIT_STRING)
    };
    certificate.signature_value.unused_bits == 0 && framed().unwrap_or(false)
}

/// The subjectAltName, against what was asked; names compare without case.
fn same_names(leaf: &X509Certificate<'_>, asked: &[String]) -> Result<(), String> {
    let extension =
        leaf.subject_alternative_name().map_err(|error| format!("its names cannot be read: {error}"))?;
    let names = extension.as_ref().map_or(&[][..], |extension| &extension.value.general_names);
    // The common case, without a set: as many, and each found.
    let is = |name: &GeneralName<'_>, asked: &str| match name {
        GeneralName::DNSName(name) => name.eq_ignore_ascii_case(asked),
        GeneralName::IPAddress(bytes) => {
            asked.parse::<IpAddr>().is_ok_and(|asked| Some(asked) == address(bytes))
        }
        _ => false,
    };
    let all_asked = names.iter().all(|name| asked.iter().any(|asked| is(name, asked)));
    let all_there = asked.iter().all(|asked| names.iter().any(|name| is(name, asked)));
    if all_asked && all_there {
        return Ok(());
    }
    let shown: BTreeSet<String> = names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => {
                address(bytes).map_or_else(|| format!("{bytes:02x?}"), |address| address.to_string())
            }
            other => other.to_string(),
        })
        .collect();
    Err(format!("its names are {shown:?}, asked for were {asked:?}"))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn authority_key<'a>(leaf: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.key_identifier.as_ref().map(|key| key.0)
        }
        _ => None,
    })
}

fn strip_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes
        && !rest.is_empty()
    {
        bytes = rest;
    }
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use ::time::OffsetDateTime;
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer as Ca, KeyPair,
        KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SerialNumber,
        SignatureAlgorithm,
    };

    use super::*;
    use crate::key_type::KeyType;

    /// 2026-01-01T00:00:00Z.
    const NOW: i64 = 1_767_225_600;
    const DAY: i64 = 86_400;

    struct TestCa {
        pem: String,
        ca: Ca<'static, KeyPair>,
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = OffsetDateTime::from_unix_timestamp(NOW - DAY).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(NOW + DAY).unwrap();
        params
    }

    fn ca_params(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    fn leaf_params(names: &[&str]) -> CertificateParams {
        let mut params = params("leaf");
        params.subject_alt_names = CertificateParams::new(owned(names)).unwrap().subject_alt_names;
        params.serial_number = Some(SerialNumber::from_slice(&[0x00, 0x87, 0x65, 0x43, 0x21]));
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn root(algorithm: &'static SignatureAlgorithm) -> TestCa {
        root_of(ca_params("root"), algorithm)
    }

    fn root_of(params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> TestCa {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        TestCa { pem, ca: Ca::new(params, key) }
    }

    impl TestCa {
        fn leaf(&self, params: &CertificateParams, key: &CertificateKey) -> String {
            params.signed_by(key, &self.ca).unwrap().pem()
        }

        /// An intermediate, with this CA's certificate in its chain.
        fn below(&self, name: &str, algorithm: &'static SignatureAlgorithm) -> TestCa {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let params = ca_params(name);
            let own = params.signed_by(&key, &self.ca).unwrap().pem();
            TestCa { pem: own + &self.pem, ca: Ca::new(params, key) }
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn wrong(result: Result<Checked, Failure>) -> String {
        let failure = result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::WrongCertificate);
        failure.message
    }

    #[test]
    fn passes_what_was_asked_for_whatever_the_issuers_key() {
        let key = CertificateKey::generate(KeyType::P256).unwrap();
        let names = ["b.test", "A.test", "127.0.0.1", "::1", "*.c.test"];
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
            let checker = Checker::new();
            let ca = root(algorithm).below("intermediate", &PKCS_ECDSA_P256_SHA256);
            for _ in 0..2 {
                let pem = ca.leaf(&leaf_params(&names), &key) + "\n" + &ca.pem;
                let asked = owned(&["a.test", "b.test", "*.c.test", "::1", "127.0.0.1"]);
                let checked = checker.check(pem.as_bytes(), &asked, &key, NOW).unwrap();
                assert_eq!(checked.serial_hex, "87654321");
                assert!(checked.ari_id.ends_with(".AIdlQyE"), "RFC 9773's own serial: {}", checked.ari_id);
                assert_eq!((checked.not_before_unix, checked.not_after_unix), (NOW - DAY, NOW + DAY));
                assert_eq!(checked.issuer_id.len(), 16);
            }
            assert_eq!(checker.chains.lock().unwrap().len(), 1, "the chain is verified once");
        }
    }

    #[test]
    fn knows_the_certificates_key_whatever_its_type() {
        let ca = root(&PKCS_ECDSA_P256_SHA256);
        let names = owned(&["a.test"]);
        for kind in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
            let key = CertificateKey::generate(kind).unwrap();
            let pem = ca.leaf(&leaf_params(&["a.test"]), &key) + &ca.pem;
            Checker::new().check(pem.as_bytes(), &names, &key, NOW).unwrap();
            let other = CertificateKey::generate(kind).unwrap();
            let failure = Checker::new().check(pem.as_bytes(), &names, &other, NOW).unwrap_err();
            assert!(failure.message.contains("public key"), "{failure}");
        }
    }

    #[test]
    fn says_which_certificate_is_wrong_and_how() {
        let key = CertificateKey::generate(KeyType::P256).unwrap();
        let root = root(&PKCS_ECDSA_P256_SHA256);
        let ca = root.below("intermediate", &PKCS_ECDSA_P256_SHA256);
        let stranger = self::root(&PKCS_ECDSA_P256_SHA256).below("intermediate", &PKCS_ECDSA_P256_SHA256);
        let other_name = root.below("another", &PKCS_ECDSA_P256_SHA256);
        let leaf = |names: &[&str]| ca.leaf(&leaf_params(names), &key);
        let good = leaf(&["a.test"]);
        let dated = |before: i64, after: i64| {
            let mut params = leaf_params(&["a.test"]);
            params.not_before = OffsetDateTime::from_unix_timestamp(NOW + before).unwrap();
            params.not_after = OffsetDateTime::from_unix_timestamp(NOW + after).unwrap();
            ca.leaf(&params, &key) + &ca.pem
        };
        let mut leaf_as_ca = leaf_params(&["a.test"]);
        leaf_as_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let not_a_ca = root_of(params("root"), &PKCS_ECDSA_P256_SHA256);
        let mut no_signing = ca_params("root");
        no_signing.key_usages = vec![KeyUsagePurpose::CrlSign];
        let may_not_sign = root_of(no_signing, &PKCS_ECDSA_P256_SHA256);
        // The intermediate and the root swapped: the leaf's issuer is not the next.
        let (intermediate, top) = ca.pem.split_at(ca.pem.len() - root.pem.len());
        // Two roots' PEM need not be of one length: signatures are not.
        let (_, strange_root) = stranger.pem.split_at(stranger.pem.rfind("-----BEGIN").unwrap());
        for (pem, text) in [
            ("junk".to_owned(), "the download has no certificate"),
            ("-----END CERTIFICATE-----".to_owned(), "the first certificate is not PEM"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                "the certificate is not X.509",
            ),
            (leaf(&["b.test"]) + &ca.pem, r#"its names are {"b.test"}, asked for were ["a.test"]"#),
            (leaf(&["a.test", "b.test"]) + &ca.pem, r#"its names are {"a.test", "b.test"}"#),
            (ca.leaf(&params("none"), &key) + &ca.pem, "its names are {}"),
            (
                ca.leaf(&leaf_params(&["a.test"]), &CertificateKey::generate(KeyType::P256).unwrap())
                    + &ca.pem,
                "its public key is not the one in the request",
            ),
            (ca.leaf(&leaf_as_ca, &key) + &ca.pem, "it is a CA's certificate"),
            (dated(120, DAY), "it is not valid for another 120 s"),
            (dated(-DAY, -5), "it expired 5 s ago"),
            (good.clone(), "no issuer's certificate came with it"),
            (good.clone() + &stranger.pem, "the signature of it is not its issuer's"),
            (good.clone() + &other_name.pem, "it names CN=intermediate as its issuer"),
            (good.clone() + top + intermediate, "certificate 2 of the chain names CN=root as its issuer"),
            (good.clone() + intermediate + strange_root, "of certificate 2 of the chain is not its issuer's"),
            (
                not_a_ca.leaf(&leaf_params(&["a.test"]), &key) + &not_a_ca.pem,
                "certificate 2 of the chain is not a CA's",
            ),
            (
                may_not_sign.leaf(&leaf_params(&["a.test"]), &key) + &may_not_sign.pem,
                "certificate 2 of the chain may not sign certificates",
            ),
        ] {
            let message = wrong(Checker::new().check(pem.as_bytes(), &owned(&["a.test"]), &key, NOW));
            assert!(
                message.starts_with("wrong certificate: ") && message.contains(text),
                "{message}, not {text}"
            );
        }
        // The issuers' validity is asked again although the chain is known.
        let checker = Checker::new();
        let mut long = leaf_params(&["a.test"]);
        long.not_after = OffsetDateTime::from_unix_timestamp(NOW + 3 * DAY).unwrap();
        let pem = ca.leaf(&long, &key) + &ca.pem;
        let asked = owned(&["a.test"]);
        checker.check(pem.as_bytes(), &asked, &key, NOW).unwrap();
        let message = wrong(checker.check(pem.as_bytes(), &asked, &key, NOW + 2 * DAY));
        assert!(message.contains("one of its issuers expired"), "{message}");
    }

    #[test]
    fn remembers_few_chains() {
        let checker = Checker::new();
        let key = CertificateKey::generate(KeyType::P256).unwrap();
        for _ in 0..MOST_CHAINS + 4 {
            let ca = root(&PKCS_ECDSA_P256_SHA256);
            let pem = ca.leaf(&leaf_params(&["a.test"]), &key) + &ca.pem;
            checker.check(pem.as_bytes(), &owned(&["a.test"]), &key, NOW).unwrap();
        }
        assert_eq!(checker.chains.lock().unwrap().len(), MOST_CHAINS);
    }

    /// A download and what it was asked with, made once.
    static SAMPLE: std::sync::LazyLock<(String, CertificateKey)> = std::sync::LazyLock::new(|| {
        let key = CertificateKey::generate(KeyType::P256).unwrap();
        let ca = root(&PKCS_ECDSA_P256_SHA256).below("intermediate", &PKCS_ECDSA_P256_SHA256);
        (ca.leaf(&leaf_params(&["a.test"]), &key) + &ca.pem, key)
    });

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_changed_byte_of_a_certificate_passes(place in any::<prop::sample::Index>(), flip in 1_u8..) {
            let (pem, key) = &*SAMPLE;
            let ders: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
            let mut bytes: Vec<Vec<u8>> = ders.iter().map(|der| der.to_vec()).collect();
            // The last is signed by itself, and nothing signs the chain's end: only the others are held.
            let held: usize = bytes[..bytes.len() - 1].iter().map(Vec::len).sum();
            let mut place = place.index(held);
            let certificate = bytes.iter().position(|der| {
                if place < der.len() { true } else { place -= der.len(); false }
            }).unwrap();
            bytes[certificate][place] ^= flip;
            let changed: String = bytes.iter().map(|der| {
                use base64::engine::general_purpose::STANDARD;
                format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
            }).collect();
            prop_assert!(Checker::new().check(changed.as_bytes(), &owned(&["a.test"]), key, NOW).is_err());
        }

        #[test]
        fn no_changed_text_panics(place in any::<prop::sample::Index>(), with in any::<Vec<u8>>(), cut in 0_usize..200) {
            let (pem, key) = &*SAMPLE;
            let mut text = pem.clone().into_bytes();
            let place = place.index(text.len());
            let end = (place + cut).min(text.len());
            text.splice(place..end, with);
            // Passing is possible, since white space and whatever follows the chain do not matter.
            let _ = Checker::new().check(&text, &owned(&["a.test"]), key, NOW);
        }
    }
}
