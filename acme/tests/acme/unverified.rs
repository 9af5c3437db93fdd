//! Certificates of kinds that CAs issue and rcgen cannot make: made by openssl, checked by the checker.

use std::path::Path;
use std::process::Command;

use wec_acme::{CertificateKey, Checked, Checker, Clock, Failure, IssuerRoots, KeyType};

const CA: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n";

/// A folder of keys and certificates.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(self.path()).output();
        let output = output.expect("openssl is installed: Debian package openssl");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes a root `NAME.pem` with its key, and an intermediate below it, with these signatures.
    fn chain(&self, key: &[&str], sign: &[&str]) {
        std::fs::write(self.path().join("ca.ext"), CA).unwrap();
        for name in ["root", "intermediate"] {
            let file = format!("{name}.key");
            self.openssl(&[&["genpkey", "-out", &file], key].concat());
            let request = format!("{name}.csr");
            let subject = format!("/CN={name}");
            self.openssl(&["req", "-new", "-key", &file, "-subj", &subject, "-out", &request]);
        }
        let root =
            ["x509", "-req", "-in", "root.csr", "-key", "root.key", "-extfile", "ca.ext", "-days", "9"];
        self.openssl(&[&root[..], sign, &["-out", "root.pem"]].concat());
        let below = [
            "x509",
            "-req",
            "-in",
            "intermediate.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-set_serial",
            "7",
            "-extfile",
            "ca.ext",
            "-days",
            "9",
        ];
        self.openssl(&[&below[..], sign, &["-out", "intermediate.pem"]].concat());
    }

    /// A certificate for `key` by the CA of this name.
    fn leaf(&self, key: &CertificateKey, ca: &str, sign: &[&str]) -> String {
        std::fs::write(self.path().join("leaf.csr"), key.request(&names()).unwrap()).unwrap();
        let (pem, secret) = (format!("{ca}.pem"), format!("{ca}.key"));
        let issue = [
            "x509",
            "-req",
            "-inform",
            "DER",
            "-in",
            "leaf.csr",
            "-CA",
            &pem,
            "-CAkey",
            &secret,
            "-set_serial",
            "0x51",
            "-copy_extensions",
            "copy",
            "-days",
            "3",
        ];
        self.openssl(&[&issue[..], sign, &["-out", "leaf.pem"]].concat());
        self.read("leaf.pem")
    }
}

fn names() -> Vec<String> {
    vec!["a.wec.test".to_owned()]
}

fn check(checker: &Checker, pem: &str, key: &CertificateKey) -> Result<Checked, Failure> {
    // openssl uses the system's clock.
    checker.check(pem.as_bytes(), &names(), key, Clock::start().unix_now() + 5)
}

const PSS: &[&str] = &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
const LONG_SALT: &[&str] = &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

fn curve(name: &'static str) -> Vec<&'static str> {
    let option: &'static str = Box::leak(format!("ec_paramgen_curve:{name}").into_boxed_str());
    vec!["-algorithm", "EC", "-pkeyopt", option]
}

/// Each of these correct certificates was once reported as a failure.
#[test]
fn verifies_all_supported_signatures() {
    let key = CertificateKey::generate(KeyType::P256).unwrap();
    let other = CertificateKey::generate(KeyType::P256).unwrap();
    for (name, ca_key, sign) in [
        ("P-256 with SHA-512", curve("P-256"), [&["-sha512"][..], &[]].concat()),
        ("P-384 with SHA-512", curve("P-384"), ["-sha512"].to_vec()),
        ("P-521 with SHA-256", curve("P-521"), ["-sha256"].to_vec()),
        ("RSA-PSS with SHA-256", RSA.to_vec(), [&["-sha256"], PSS].concat()),
        ("RSA-PSS with SHA-512", RSA.to_vec(), [&["-sha512"], PSS].concat()),
        (
            "a key for RSA-PSS alone",
            vec!["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
            [&["-sha384"], PSS].concat(),
        ),
    ] {
        let folder = Folder::new();
        folder.chain(&ca_key, &sign);
        let leaf = folder.leaf(&key, "intermediate", &sign);
        let chain = folder.read("intermediate.pem") + &folder.read("root.pem");
        let checked = check(&Checker::new(), &(leaf.clone() + &chain), &key).unwrap_or_else(|failure| {
            panic!("{name}: {failure}");
        });
        assert_eq!(checked.unverified, None, "{name}");
        // A certificate with the same names and algorithms, signed by another CA.
        let strange = Folder::new();
        strange.chain(&ca_key, &sign);
        let stranger = strange.leaf(&key, "intermediate", &sign);
        let wrong = check(&Checker::new(), &(stranger + &chain), &key).unwrap_err();
        assert_eq!(wrong.detail, "signature", "{name}: {wrong}");
        assert_eq!(check(&Checker::new(), &(leaf + &chain), &other).unwrap_err().detail, "key", "{name}");
    }
}

#[test]
fn an_unsupported_signature_is_unverified_with_the_reason_and_no_failure() {
    let key = CertificateKey::generate(KeyType::P384).unwrap();
    for (ca_key, sign, reason) in [
        (
            curve("brainpoolP256r1"),
            vec!["-sha256"],
            "on the curve 1.3.36.3.3.2.8.1.1.7 cannot be verified here",
        ),
        (
            vec!["-algorithm", "ED448"],
            vec![],
            "a signature of type 1.3.101.113 by a key of type 1.3.101.113 cannot be verified here",
        ),
        (
            RSA.to_vec(),
            [&["-sha256"], LONG_SALT].concat(),
            "a signature of type 1.2.840.113549.1.1.10 by a key of type",
        ),
        (
            vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            vec!["-sha256"],
            "by an RSA key of 1024 bits cannot be verified here",
        ),
    ] {
        let folder = Folder::new();
        folder.chain(&ca_key, &sign);
        let leaf = folder.leaf(&key, "intermediate", &sign);
        let chain = folder.read("intermediate.pem") + &folder.read("root.pem");
        let checked = check(&Checker::new(), &(leaf + &chain), &key).unwrap();
        let said = checked.unverified.unwrap_or_default();
        assert!(said.contains(reason), "{said}, not {reason}");
    }
}

#[test]
fn a_leaf_without_chain_is_verified_by_the_given_root() {
    let key = CertificateKey::generate(KeyType::P256).unwrap();
    let (folder, other) = (Folder::new(), Folder::new());
    for folder in [&folder, &other] {
        folder.chain(&curve("P-256"), &["-sha256"]);
    }
    let leaf = folder.leaf(&key, "root", &["-sha256"]);
    let checked = check(&Checker::new(), &leaf, &key).unwrap();
    assert_eq!(checked.unverified.as_deref(), Some("no issuer's certificate came with it"));
    let with = |folder: &Folder| {
        Checker::with_roots(IssuerRoots::from_pem(folder.read("root.pem").as_bytes()).unwrap())
    };
    assert_eq!(check(&with(&folder), &leaf, &key).unwrap().unverified, None);
    // Another CA of the same name signed it. The given root may be the wrong one, so the message names the root.
    let wrong = check(&with(&other), &leaf, &key).unwrap_err();
    assert_eq!(wrong.detail, "root", "{wrong}");
}
