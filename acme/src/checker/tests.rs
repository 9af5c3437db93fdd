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
    assert_eq!(failure.kind, FailureClass::WrongCertificate);
    assert!(!failure.detail.is_empty(), "{failure}");
    failure.message
}

fn kind(result: Result<Checked, Failure>) -> String {
    result.unwrap_err().detail.into_owned()
}

fn unverified(result: Result<Checked, Failure>) -> String {
    result.unwrap().unverified.map(|reason| reason.to_string()).unwrap_or_default()
}

/// The certificates of a chain, leaf first.
fn split(pem: &str) -> Vec<&str> {
    pem.split_inclusive("-----END CERTIFICATE-----\n").collect()
}

#[test]
fn given_roots_verify_chains_that_end_without_their_issuer() {
    let key = CertificateKey::generate(KeyType::P256).unwrap();
    let root = root(&PKCS_ECDSA_P256_SHA256);
    let ca = root.below("intermediate", &PKCS_ECDSA_P256_SHA256);
    let roots = |pem: &str| Checker::with_roots(IssuerRoots::from_pem(pem.as_bytes()).unwrap());
    let check = |checker: &Checker, pem: &str| checker.check(pem.as_bytes(), &owned(&["a.test"]), &key, NOW);
    let leaf = |ca: &TestCa| ca.leaf(&leaf_params(&["a.test"]), &key);
    let intermediate = split(&ca.pem)[0].to_owned();
    // The chain ends with the root, with an intermediate, or with the leaf.
    for pem in [leaf(&ca) + &ca.pem, leaf(&ca) + &intermediate, leaf(&root)] {
        let checked = check(&roots(&root.pem).sibling(), &pem).unwrap();
        assert_eq!(checked.unverified, None);
        let under_root = check(&Checker::new(), &(pem.clone() + &root.pem));
        assert!(under_root.is_err() || under_root.unwrap().issuer_id == checked.issuer_id);
    }
    let without = unverified(check(&roots(&root.pem), &leaf(&ca)));
    assert!(without.ends_with("none of the roots that are given is its issuer"), "{without}");
    // Among several roots with the same name, the one that signed counts.
    let same_name = self::root(&PKCS_ECDSA_P384_SHA384);
    let both = same_name.pem.clone() + &root.pem;
    assert_eq!(unverified(check(&roots(&both), &leaf(&root))), "");
    // The given root may belong to an older CA with the same name: then no given root has signed it.
    assert_eq!(kind(check(&roots(&same_name.pem), &leaf(&root))), "root");
    assert_eq!(kind(check(&roots(&same_name.pem), &(leaf(&ca) + &intermediate))), "root");
    let other = root_of(ca_params("other root"), &PKCS_ECDSA_P256_SHA256);
    assert_eq!(kind(check(&roots(&other.pem), &(leaf(&ca) + &ca.pem))), "root");
    let elsewhere = unverified(check(&roots(&other.pem), &(leaf(&ca) + &intermediate)));
    assert_eq!(elsewhere, "the chain leads to none of the roots that are given");
    for wrong in ["", "junk", &leaf(&root)] {
        assert!(IssuerRoots::from_pem(wrong.as_bytes()).is_err());
    }
}

#[test]
fn accepts_what_was_ordered_with_any_type_of_issuer_key() {
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
fn recognises_the_certificates_key_of_any_type() {
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
fn names_the_wrong_certificate_and_its_fault() {
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
    // The intermediate and the root are swapped: the leaf's issuer is not the next certificate.
    let (intermediate, top) = ca.pem.split_at(ca.pem.len() - root.pem.len());
    // The PEM of two roots may differ in length, because signatures do.
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
            ca.leaf(&leaf_params(&["a.test"]), &CertificateKey::generate(KeyType::P256).unwrap()) + &ca.pem,
            "its public key is not the one in the request",
        ),
        (ca.leaf(&leaf_as_ca, &key) + &ca.pem, "it is a CA's certificate"),
        (dated(120, DAY), "it is not valid for another 120 s"),
        (dated(-DAY, -5), "it expired 5 s ago"),
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
    let unsigned = Checker::new().check(good.as_bytes(), &owned(&["a.test"]), &key, NOW).unwrap();
    assert_eq!(unsigned.unverified.as_deref(), Some("no issuer's certificate came with it"));
    // The issuers' validity is checked again for a chain that was already verified.
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
fn keeps_a_bounded_number_of_verified_chains() {
    let checker = Checker::new();
    let key = CertificateKey::generate(KeyType::P256).unwrap();
    for _ in 0..MOST_CHAINS + 4 {
        let ca = root(&PKCS_ECDSA_P256_SHA256);
        let pem = ca.leaf(&leaf_params(&["a.test"]), &key) + &ca.pem;
        checker.check(pem.as_bytes(), &owned(&["a.test"]), &key, NOW).unwrap();
    }
    assert_eq!(checker.chains.lock().unwrap().len(), MOST_CHAINS);
}

/// A downloaded chain and the request it answers, made once.
static SAMPLE: std::sync::LazyLock<(String, CertificateKey)> = std::sync::LazyLock::new(|| {
    let key = CertificateKey::generate(KeyType::P256).unwrap();
    let ca = root(&PKCS_ECDSA_P256_SHA256).below("intermediate", &PKCS_ECDSA_P256_SHA256);
    (ca.leaf(&leaf_params(&["a.test"]), &key) + &ca.pem, key)
});

proptest! {

    #[test]
    fn no_changed_byte_of_a_certificate_passes(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (pem, key) = &*SAMPLE;
        let ders: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
        let mut bytes: Vec<Vec<u8>> = ders.iter().map(|der| der.to_vec()).collect();
        // The last certificate is self-signed and its signature is not checked, so only the others are changed.
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
        // It may pass, because white space and text after the chain are ignored.
        let _ = Checker::new().check(&text, &owned(&["a.test"]), key, NOW);
    }
}
