//! instant-acme, an independent client, uses an account and a certificate from creation to their end,
//! including what `lego` does not do: ARI, key rollover, deactivation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewAccount,
    NewOrder, OrderStatus, RetryPolicy, RevocationReason, RevocationRequest,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, Der};
use wec_null_ca::{Config, Endpoint, Latency, NullCa, Validation};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, ParsedExtension};

const NEW_ACCOUNT: NewAccount<'_> = NewAccount {
    contact: &["mailto:instant@example.test"],
    terms_of_service_agreed: true,
    only_return_existing: false,
};

async fn account(ca: &NullCa) -> Account {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root.pem");
    std::fs::write(&root, ca.root_pem().unwrap()).unwrap();
    let builder = Account::builder_with_root(root).unwrap();
    let directory = ca.directory_url().to_owned();
    builder.create(&NEW_ACCOUNT, directory, None).await.unwrap().0
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().initial_delay(Duration::from_millis(10)).timeout(Duration::from_secs(30))
}

async fn issue(account: &Account, order: &NewOrder<'_>, kind: ChallengeType) -> String {
    let mut order = account.new_order(order).await.unwrap();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        assert_eq!(authorization.status, AuthorizationStatus::Pending);
        authorization.challenge(kind.clone()).unwrap().set_ready().await.unwrap();
    }
    assert_eq!(order.poll_ready(&patience()).await.unwrap(), OrderStatus::Ready);
    order.finalize().await.unwrap();
    order.poll_certificate(&patience()).await.unwrap()
}

fn names(names: &[&str]) -> Vec<Identifier> {
    names.iter().map(|name| Identifier::Dns((*name).to_owned())).collect()
}

fn leaf(chain: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()
}

fn ari_id<'a>(leaf: &'a CertificateDer<'_>) -> CertificateIdentifier<'a> {
    let (_, certificate) = X509Certificate::from_der(leaf).unwrap();
    let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(aki) => aki.key_identifier.as_ref(),
        _ => None,
    });
    let (key_id, serial) = (key_id.unwrap().0.to_vec(), certificate.raw_serial().to_vec());
    CertificateIdentifier::new(Der::from_slice(&key_id), Der::from_slice(&serial)).into_owned()
}

fn problem_type(error: &Error) -> &str {
    match error {
        Error::Api(problem) => problem.r#type.as_deref().unwrap_or_default(),
        other => panic!("{other} instead of a problem document"),
    }
}

#[tokio::test]
async fn a_certificate_is_issued_renewed_by_ari_and_revoked() {
    let ca = NullCa::start(Config::default()).unwrap();
    let account = account(&ca).await;
    let identifiers = names(&["a.instant.test", "b.instant.test"]);
    let chain = issue(&account, &NewOrder::new(&identifiers), ChallengeType::Http01).await;
    let first = leaf(&chain);
    let id = ari_id(&first);

    let (info, retry_after) = account.renewal_info(&id).await.unwrap();
    assert!(info.suggested_window.start < info.suggested_window.end);
    assert!(retry_after <= Duration::from_secs(6 * 3600) && !retry_after.is_zero());

    let renewal = NewOrder::new(&identifiers).replaces(ari_id(&first));
    let renewed = issue(&account, &renewal, ChallengeType::Http01).await;
    assert_ne!(leaf(&renewed), first);
    let again = NewOrder::new(&identifiers).replaces(ari_id(&first));
    let error = account.new_order(&again).await.err().unwrap();
    assert_eq!(problem_type(&error), "urn:ietf:params:acme:error:alreadyReplaced");

    let revocation = RevocationRequest { certificate: &first, reason: Some(RevocationReason::KeyCompromise) };
    account.revoke(&revocation).await.unwrap();
    let error = account.revoke(&revocation).await.unwrap_err();
    assert_eq!(problem_type(&error), "urn:ietf:params:acme:error:alreadyRevoked");

    let counts = ca.stop().await;
    assert_eq!((counts.orders, counts.certificates, counts.revocations), (2, 2, 1));
    assert_eq!(counts.answered(Endpoint::NewOrder, 409), 1);
}

#[tokio::test]
async fn a_wildcard_is_offered_dns_01_alone() {
    let ca = NullCa::start(Config::default()).unwrap();
    let account = account(&ca).await;
    let identifiers = names(&["*.instant.test"]);
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await.unwrap();
    let mut authorizations = order.authorizations();
    let mut authorization = authorizations.next().await.unwrap().unwrap();
    let offered: Vec<_> = authorization.challenges.iter().map(|offered| &offered.r#type).collect();
    assert_eq!(offered, [&ChallengeType::Dns01]);
    authorization.challenge(ChallengeType::Dns01).unwrap().set_ready().await.unwrap();
    assert_eq!(order.poll_ready(&patience()).await.unwrap(), OrderStatus::Ready);
}

#[tokio::test]
async fn delayed_validation_and_processing_orders_are_waited_for() {
    let ca = NullCa::start(Config {
        processing: Duration::from_millis(200),
        validation: Validation { delay: "50ms..100ms".parse::<Latency>().unwrap(), ..Validation::default() },
        ..Config::default()
    })
    .unwrap();
    let account = account(&ca).await;
    let identifiers = names(&["a.instant.test"]);
    issue(&account, &NewOrder::new(&identifiers), ChallengeType::Http01).await;
    let counts = ca.stop().await;
    assert!(counts.answers(Endpoint::Order) >= 2, "{counts:?}");
}

#[tokio::test]
async fn issues_although_nonces_are_refused() {
    let ca = NullCa::start(Config { bad_nonce: "5%".parse().unwrap(), ..Config::default() });
    let ca = ca.unwrap();
    let account = account(&ca).await;
    for n in 0..10 {
        let identifiers = names(&[&format!("n{n}.instant.test")]);
        issue(&account, &NewOrder::new(&identifiers), ChallengeType::Http01).await;
    }
    let counts = ca.stop().await;
    assert_eq!(counts.certificates, 10);
    assert!(counts.nonces_refused > 0);
    assert_eq!(counts.nonces_unknown, 0);
}

#[tokio::test]
async fn an_account_changes_its_contact_and_key_and_is_deactivated() {
    let ca = NullCa::start(Config::default()).unwrap();
    let mut account = account(&ca).await;
    account.update_contacts(&["mailto:other@example.test"]).await.unwrap();
    let _credentials = account.update_key().await.unwrap();
    let identifiers = names(&["a.instant.test"]);
    issue(&account, &NewOrder::new(&identifiers), ChallengeType::Http01).await;
    account.deactivate().await.unwrap();
    let counts = ca.stop().await;
    assert_eq!(counts.answered(Endpoint::KeyChange, 200), 1);
    assert_eq!(counts.answered(Endpoint::Account, 200), 2);
}

#[tokio::test]
async fn an_address_is_certified_under_a_profile() {
    let profiles = [("shortlived".to_owned(), "Six days".to_owned())].into();
    let ca = NullCa::start(Config { profiles, ..Config::default() }).unwrap();
    let account = account(&ca).await;
    let address = "192.0.2.7".parse().unwrap();
    let identifiers = [Identifier::Ip(address), Identifier::Dns("ip.instant.test".to_owned())];
    let order = NewOrder::new(&identifiers).profile("shortlived");
    let chain = issue(&account, &order, ChallengeType::TlsAlpn01).await;
    let leaf = leaf(&chain);
    let (_, certificate) = X509Certificate::from_der(&leaf).unwrap();
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    let address = x509_parser::extensions::GeneralName::IPAddress(&[192, 0, 2, 7]);
    assert!(names.contains(&address), "{names:?}");
    let unknown = account.new_order(&NewOrder::new(&identifiers).profile("classic")).await.err().unwrap();
    assert_eq!(problem_type(&unknown), "urn:ietf:params:acme:error:invalidProfile");
}
