//! Options of certificates: the roots they lead to, their profiles, and blocked keys.

use std::path::Path;

use serde_json::Value;

/// Runs a number of chains against a null CA with these flags. Returns the exit code, standard error and the summary.
fn run(
    folder: &Path,
    ca: &crate::common::NullCa,
    iterations: &str,
    flags: &[&str],
) -> (Option<i32>, String, Value) {
    let mut args = vec!["run", "--headless", "--workers", "4", "--iterations", iterations];
    args.extend(["--http01-listen", "127.0.0.1:0", "--json", "summary.json", "--state", "sqlite::memory:"]);
    args.extend(ca.target());
    args.extend(flags);
    let output = crate::common::run(folder, &args);
    (output.status.code(), crate::common::said(&output), crate::common::summary(folder))
}

#[test]
fn certificates_lead_to_the_roots_that_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--issuer-root-out", "issuer-root.pem"]);
    let (code, said, summary) = run(folder.path(), &ca, "120", &["--issuer-root", "issuer-root.pem"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(summary["unverified"], serde_json::json!({}));
    assert!(crate::common::chain(&summary, "certificate").0 > 0);

    // The root of the CA's HTTPS certificate is another one, and the chain does not contain the issuer's root: so nothing
    // shows that these certificates are wrong.
    let (code, said, summary) = run(folder.path(), &ca, "120", &["--issuer-root", "null-ca-root.pem"]);
    assert_eq!(code, Some(0), "{said}");
    let made = crate::common::chain(&summary, "certificate").0 + crate::common::chain(&summary, "refresh").0;
    let reasons = summary["unverified"].as_object().unwrap();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert_eq!(reasons["the chain leads to none of the roots that are given"], made);
    assert_eq!(said.matches("certificates cannot be verified").count(), 1, "{said}");
}

#[test]
fn a_profile_that_the_ca_does_not_offer_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args =
        vec!["run", "--headless", "--http01-listen", "127.0.0.1:0", "--profile", "nobody-has-this"];
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{}", crate::common::said(&output));
    assert!(crate::common::said(&output).contains("nobody-has-this"), "{}", crate::common::said(&output));
    assert!(!folder.path().join("results").exists(), "no log was begun");
}

#[test]
fn profiles_are_ordered_by_weight_and_counted_separately() {
    let folder = tempfile::tempdir().unwrap();
    let offered = ["--profile", "shortlived=Six days", "--profile", "classic=As ever"];
    let ca = crate::common::NullCa::start(folder.path(), &offered);
    let flags = ["--profile", "shortlived=1,classic=3,default=1"];
    let (code, said, summary) = run(folder.path(), &ca, "300", &flags);
    assert_eq!(code, Some(0), "{said}");
    let profiles = summary["profiles"].as_object().unwrap();
    assert_eq!(profiles.keys().collect::<Vec<_>>(), ["classic", "default", "shortlived"]);
    for chain in ["authorization", "certificate"] {
        let count = |profile: &str| profiles[profile][chain]["count"].as_u64().unwrap();
        assert!(count("classic") > count("shortlived"), "{profiles:?}");
        let all: u64 = profiles.keys().map(|profile| count(profile)).sum();
        assert_eq!(all, crate::common::chain(&summary, chain).0, "each order has one profile, or none");
    }
    assert!(profiles["classic"]["authorization"]["response_time_ns"]["n"].as_u64() > Some(0));
}

/// If blocked keys were not replaced, every finalize would be refused once each of the 16 keys had been revoked.
#[test]
fn blocked_keys_cost_few_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--block-keys"]);
    let flags = ["--key-types", "rsa2048", "--revoke-by-certificate-key", "100%"];
    let (_, said, summary) = run(folder.path(), &ca, "600", &flags);
    let revoked = crate::common::chain(&summary, "revoke").0;
    let (certificates, refused) = crate::common::chain(&summary, "certificate");
    assert!(revoked > 32 && certificates > 32, "{said}");
    // Other workers may be using a key when it is blocked: at most three at each revocation.
    assert!(
        refused <= 3 * revoked,
        "{refused} of {certificates} refused, {revoked} revoked: {}",
        summary["failures"]
    );
}
