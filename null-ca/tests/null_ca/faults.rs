//! Configured faults reach the client as documented, and are counted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use wec_null_ca::{Config, Counts, Endpoint, NullCa, Validation};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::client::{Client, finalization, new_order};

/// A CA whose rules are written as in a configuration file.
fn start(rules: &str) -> NullCa {
    NullCa::start(toml::from_str(&format!("tls = false\n{rules}")).unwrap()).unwrap()
}

async fn counts_of(ca: NullCa, fault: &str) -> Counts {
    let counts = ca.stop().await;
    assert_eq!(counts.on_purpose.faults, BTreeMap::from([(fault, 1)]));
    counts
}

#[tokio::test]
async fn server_errors_rate_limits_and_html_look_like_those_of_a_ca_and_its_proxy() {
    for (fault, status, content_type) in [
        ("500", 500, "application/problem+json"),
        ("429", 429, "application/problem+json"),
        ("503", 503, "application/problem+json"),
        ("html503", 503, "text/html; charset=utf-8"),
    ] {
        let ca = start(&format!("faults = ['newOrder={fault}:1']\nretry_after = 7"));
        let mut client = Client::register(&ca).await;
        let answer = client.post("/new-order", &new_order(&["a.test"])).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("retry-after"), ["429", "503"].contains(&fault).then_some("7"));
        assert_eq!(answer.header("replay-nonce").is_some(), fault != "html503");
        let counts = counts_of(ca, fault).await;
        assert_eq!((counts.orders, counts.answered(Endpoint::NewOrder, status)), (0, 1));
    }
}

#[tokio::test]
async fn requests_that_find_the_queue_full_are_refused_with_503() {
    let ca = start("serves = ['newOrder=0.001/s:0']\nretry_after = 7");
    let (mut client, mut other) = (Client::register(&ca).await, Client::register(&ca).await);
    let order = new_order(&["a.test"]).to_string();
    // One of them is being served for long, the other one is refused.
    let answer = tokio::select! {
        answer = client.try_post("/new-order", &order) => answer,
        answer = other.try_post("/new-order", &order) => answer,
    };
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    assert_eq!(answer.problem(), (503, "rateLimited".to_owned()));
    counts_of(ca, "503").await;
}

#[tokio::test]
async fn requests_with_truncated_and_empty_answers_were_processed() {
    for fault in ["truncated", "empty"] {
        let ca = start(&format!("faults = ['newOrder={fault}:1']"));
        let mut client = Client::register(&ca).await;
        let answer = client.post("/new-order", &new_order(&["a.test"])).await;
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
        assert_eq!(answer.body.is_empty(), fault == "empty");
        assert_eq!(counts_of(ca, fault).await.orders, 1);
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_over_http_and_over_tls() {
    for tls in [false, true] {
        let ca = NullCa::start(Config {
            tls,
            faults: vec!["newOrder=reset:1".parse().unwrap()],
            ..Config::default()
        })
        .unwrap();
        let mut client = Client::register(&ca).await;
        let order = new_order(&["a.test"]).to_string();
        let error = client.try_post("/new-order", &order).await.err().unwrap();
        let cause = std::error::Error::source(&error).unwrap();
        let kind = cause.downcast_ref::<std::io::Error>().unwrap().kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{error:?}");
        let counts = counts_of(ca, "reset").await;
        assert_eq!((counts.orders, counts.unanswered["newOrder"]), (0, 1));
    }
}

#[tokio::test]
async fn silence_lasts_until_the_ca_stops() {
    let ca = start("faults = ['newOrder=silence:1']");
    let mut client = Client::register(&ca).await;
    let order = new_order(&["a.test"]).to_string();
    let mut asked = Box::pin(client.try_post("/new-order", &order));
    // The CA counts a silent request as unanswered and does nothing more with it.
    let mut silent = false;
    while !silent {
        tokio::select! {
            biased;
            answer = &mut asked => panic!("answered: {:?}", answer.map(|answer| answer.status)),
            () = tokio::task::yield_now() => silent = ca.counters().unanswered.contains_key("newOrder"),
        }
    }
    counts_of(ca, "silence").await;
    assert!(asked.await.is_err(), "the connection is cut");
}

#[tokio::test]
async fn requests_in_a_stall_are_answered_after_it() {
    let ca = start("stalls = ['0s+200ms']");
    assert_eq!(Client::connect(&ca).await.get("/directory").await.status, 200);
}

/// How long requests are held back is tested with a paused clock, in `service.rs`.
#[tokio::test]
async fn latency_delays_answers_of_its_endpoint_only() {
    let ca = start("latency = ['directory=1h']");
    let (mut slow, mut fast) = (Client::connect(&ca).await, Client::connect(&ca).await);
    let others = async {
        for _ in 0..100 {
            assert_eq!(fast.get("/new-nonce").await.status, 204);
        }
    };
    tokio::select! {
        biased;
        answer = slow.get("/directory") => panic!("answered at once: {}", answer.status),
        () = others => {}
    }
    let counts = ca.stop().await;
    assert_eq!((counts.answers(Endpoint::Directory), counts.answers(Endpoint::NewNonce)), (0, 100));
}

#[tokio::test]
async fn a_failed_validation_invalidates_its_order() {
    let ca = start("[validation]\nfailures = 1.0");
    let mut client = Client::register(&ca).await;
    let (path, order) = client.order(&["a.test"]).await;
    assert_eq!(order["status"], "invalid");
    let authorization = client.path(&order["authorizations"][0]);
    let authorization = client.post_as_get(&authorization).await.json();
    let error = &authorization["challenges"][0]["error"];
    assert_eq!(error["type"], "urn:ietf:params:acme:error:incorrectResponse");
    let finalize = client.path(&order["finalize"]);
    let key = KeyPair::generate().unwrap();
    let answer = client.post(&finalize, &finalization(&["a.test"], &key)).await;
    assert_eq!(answer.problem(), (403, "orderNotReady".to_owned()));
    assert_eq!(client.post_as_get(&path).await.json()["status"], "invalid");
    assert_eq!(ca.stop().await.validations_invalid, 1);
}

#[tokio::test]
async fn a_processing_order_says_when_to_ask_again() {
    let ca = start("processing = '1h'\nretry_after = 9");
    let mut client = Client::register(&ca).await;
    let (path, order) = client.order(&["a.test"]).await;
    let finalize = client.path(&order["finalize"]);
    let key = KeyPair::generate().unwrap();
    let finalized = client.post(&finalize, &finalization(&["a.test"], &key)).await;
    let polled = client.post_as_get(&path).await;
    for answer in [finalized, polled] {
        let order = answer.json();
        assert_eq!((order["status"].as_str(), &order["certificate"]), (Some("processing"), &json!(null)));
        assert_eq!(answer.header("retry-after"), Some("9"));
    }
}

#[tokio::test]
async fn a_validation_under_way_shows_as_processing() {
    let ca = NullCa::start(Config {
        tls: false,
        validation: Validation {
            delay: "1h".parse().unwrap(),
            retry_after: Some(3),
            ..Validation::default()
        },
        ..Config::default()
    })
    .unwrap();
    let mut client = Client::register(&ca).await;
    let (_, order) = client.order(&["a.test"]).await;
    assert_eq!(order["status"], "pending");
    let path = client.path(&order["authorizations"][0]);
    let authorization = client.post_as_get(&path).await;
    assert_eq!(authorization.header("retry-after"), Some("3"));
    assert_eq!(authorization.json()["challenges"][0]["status"], "processing");
    assert_eq!(authorization.json()["challenges"][1]["status"], "pending");
}

/// The properties of a certificate that a client can see.
#[derive(Debug, PartialEq)]
struct Seen {
    right_name: bool,
    right_key: bool,
    in_force: bool,
    signed: bool,
}

const RIGHT: Seen = Seen { right_name: true, right_key: true, in_force: true, signed: true };

fn look(chain: &str, key: &KeyPair) -> (Seen, Vec<u8>) {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).flatten().collect();
    let [leaf, intermediate] = &chain[..] else { panic!("a leaf and an intermediate") };
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    let (_, issuer) = X509Certificate::from_der(intermediate).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    let issuer_key = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
        &issuer.public_key().subject_public_key.data,
    );
    let signed = issuer_key.verify(leaf.tbs_certificate.as_ref(), &leaf.signature_value.data);
    let seen = Seen {
        right_name: names == [GeneralName::DNSName("a.test")],
        right_key: leaf.public_key().subject_public_key.data == key.public_key_raw(),
        in_force: leaf.validity().is_valid(),
        signed: signed.is_ok(),
    };
    (seen, leaf.raw_serial().to_vec())
}

#[tokio::test]
async fn each_wrong_certificate_has_exactly_its_flaw() {
    for (flaw, expected) in [
        ("name", Seen { right_name: false, ..RIGHT }),
        ("key", Seen { right_key: false, ..RIGHT }),
        ("expired", Seen { in_force: false, ..RIGHT }),
        ("signature", Seen { signed: false, ..RIGHT }),
        ("serial", RIGHT),
    ] {
        let ca = start(&format!("wrong_certificates = ['{flaw}:1']"));
        let mut client = Client::register(&ca).await;
        let key = KeyPair::generate().unwrap();
        let (first, first_serial) = look(&client.issue(&["a.test"], &key).await, &key);
        let (second, second_serial) = look(&client.issue(&["a.test"], &key).await, &key);
        assert_eq!((&first, &second), (&expected, &expected), "{flaw}");
        assert_eq!(first_serial == second_serial, flaw == "serial");
        let counts = ca.stop().await;
        assert_eq!(counts.on_purpose.wrong_certificates, BTreeMap::from([(flaw, 2)]));
    }
}

#[tokio::test]
async fn a_right_certificate_is_right_and_chains_to_the_issuing_root() {
    let ca = start("");
    let mut client = Client::register(&ca).await;
    let key = KeyPair::generate().unwrap();
    let chain = client.issue(&["a.test"], &key).await;
    assert_eq!(look(&chain, &key).0, RIGHT);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).flatten().collect();
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.issuer_root_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider.into());
    rustls::client::danger::ServerCertVerifier::verify_server_cert(
        &*verifier.build().unwrap(),
        &chain[0],
        &chain[1..],
        &"a.test".try_into().unwrap(),
        &[],
        rustls_pki_types::UnixTime::now(),
    )
    .unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_do_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { listen: taken.local_addr().unwrap(), ..Config::default() };
    let message = NullCa::start(config).unwrap_err().to_string();
    assert!(message.contains("cannot listen on 127.0.0.1:"), "{message}");
    let config = Config {
        faults: vec!["*=500:60%".parse().unwrap(), "*=429:60%".parse().unwrap()],
        ..Config::default()
    };
    let message = NullCa::start(config).unwrap_err().to_string();
    assert!(message.contains("add up to 120.0 %"), "{message}");
}
