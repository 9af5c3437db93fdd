//! A CA with rate limits: the object that is limited rests, and chains use others.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_acme::transport::{BoxFuture, Reply, Request, Transport};
use wec_chains::{Chain, ChainResult, Context, Policy};
use wec_record::FailureClass;
use wec_store::{NewCertificate, Object};

use crate::common::{over, reply, response};

/// Refuses newOrder with this limit if `refuses` returns true for the account's URL; other orders are ready
/// at once.
struct Limited {
    clock: Clock,
    limit: &'static str,
    retry_after: &'static str,
    refuses: fn(&str) -> bool,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    accounts: Mutex<u32>,
}

const READY: &str = r#"{"status":"ready","identifiers":[{"type":"dns","value":"a.test"}],
    "authorizations":["https://ca.test/authz/1"],"finalize":"https://ca.test/finalize/1"}"#;

impl Transport for Limited {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let answer = match request.url.strip_prefix("https://ca.test/").unwrap() {
            "nonce" => response(200, "", ""),
            "account" => {
                let mut accounts = self.accounts.lock().unwrap();
                *accounts += 1;
                response(201, format!("https://ca.test/acct/{accounts}").leak(), r#"{"status":"valid"}"#)
            }
            "order" => {
                let jws: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
                let protected = URL_SAFE_NO_PAD.decode(jws["protected"].as_str().unwrap()).unwrap();
                let protected: serde_json::Value = serde_json::from_slice(&protected).unwrap();
                let account = protected["kid"].as_str().unwrap().to_owned();
                let refused = (self.refuses)(&account);
                *self.asked.lock().unwrap().entry(account).or_default() += 1;
                if refused {
                    let problem = format!(
                        r#"{{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many: see https://ca.test/limits/#{}"}}"#,
                        self.limit
                    );
                    let mut refused = response(429, "", problem.leak());
                    if !self.retry_after.is_empty() {
                        refused.headers.insert("retry-after", HeaderValue::from_static(self.retry_after));
                    }
                    refused
                } else {
                    response(201, "https://ca.test/order/1", READY)
                }
            }
            other => panic!("unexpected request for {other}"),
        };
        Box::pin(std::future::ready(reply(self.clock, Ok(answer))))
    }
}

struct Ca {
    context: Context,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    rng: StdRng,
}

impl Ca {
    /// A CA with this many accounts.
    async fn with(
        limit: &'static str,
        retry_after: &'static str,
        refuses: fn(&str) -> bool,
        accounts: u32,
    ) -> Self {
        let (clock, asked) = (Clock::start(), Arc::<Mutex<_>>::default());
        let limited = Limited {
            clock,
            limit,
            retry_after,
            refuses,
            asked: Arc::clone(&asked),
            accounts: Mutex::new(0),
        };
        let context = over(limited, clock, Policy::under("wec.test")).await;
        let mut ca = Self { context, asked, rng: StdRng::seed_from_u64(1) };
        for _ in 0..accounts {
            assert!(ca.run(Chain::Registration).await.unwrap().successful);
        }
        ca
    }

    async fn run(&mut self, chain: Chain) -> Option<ChainResult> {
        wec_chains::run(chain, &self.context, &mut self.rng, None, &CancellationToken::new()).await
    }

    /// Number of newOrder requests of this account.
    fn asked(&self, account: u32) -> u32 {
        self.asked.lock().unwrap().get(&format!("https://ca.test/acct/{account}")).copied().unwrap_or(0)
    }

    /// Adds certificates that can be renewed to the state.
    async fn stock(&self, certificates: u32) {
        let state = &self.context.state;
        for number in 0..certificates {
            let registration = state.registration().unwrap();
            let order = wec_acme::Order {
                url: format!("https://ca.test/order/{number}"),
                status: wec_acme::OrderStatus::Ready,
                identifiers: vec![wec_record::Identifier::of(&format!("w{number}.test"))],
                authorizations: Vec::new(),
                finalize: "https://ca.test/finalize/1".into(),
                certificate: None,
                expires: None,
                not_after: None,
                replaces: None,
                error: None,
                retry_after: None,
            };
            state.add_order(state.reserve(Object::Order).unwrap(), &registration, &order, "", None).await;
            let new = NewCertificate {
                url: String::new(),
                issuer: "issuer".into(),
                serial: format!("{number:04x}"),
                ari_id: String::new(),
                names: vec![format!("w{number}.test")],
                leaf_der: b"leaf".to_vec(),
                pem: b"pem".to_vec(),
                key_pkcs8: vec![7; 138],
                not_before_unix: 1_700_000_000,
                not_after_unix: 4_000_000_000,
            };
            let claim = state.claim_order().unwrap();
            state.order_issued(claim, state.reserve(Object::Certificate).unwrap(), new).await;
        }
    }
}

#[tokio::test]
async fn a_limited_account_rests_and_others_are_used() {
    let mut ca = Ca::with("new-orders-per-account", "3600", |account| account.ends_with("/1"), 3).await;
    let mut rested = 0;
    for _ in 0..60 {
        let result = ca.run(Chain::Authorization).await.unwrap();
        if !result.successful {
            assert_eq!(
                (result.class, result.requests.len(), result.rests),
                (Some(FailureClass::RateLimited), 1, true)
            );
            rested += 1;
        }
    }
    assert_eq!((rested, ca.asked(1)), (1, 1), "refused once and not retried");
    assert!(ca.asked(2) > 0 && ca.asked(3) > 0);
    assert_eq!(ca.asked(2) + ca.asked(3), 59);
}

#[tokio::test]
async fn certificates_with_limited_names_are_refused_once_each() {
    let limit = "new-certificates-per-exact-set-of-identifiers";
    let mut ca = Ca::with(limit, "3600", |_| true, 1).await;
    ca.stock(10).await;
    let mut refused = 0;
    for _ in 0..100 {
        let Some(result) = ca.run(Chain::Refresh).await else { continue };
        assert_eq!((result.class, result.rests), (Some(FailureClass::RateLimited), true));
        refused += 1;
    }
    assert_eq!((refused, ca.asked(1)), (10, 10));
    assert!(ca.context.state.available().registrations, "the account is still used");
    assert!(!ca.context.state.available().certificates);
}

#[tokio::test]
async fn an_object_is_used_again_after_its_rest() {
    let mut ca = Ca::with("new-certificates-per-exact-set-of-identifiers", "1", |_| true, 1).await;
    ca.stock(1).await;
    assert!(ca.run(Chain::Refresh).await.unwrap().rests);
    let again = async {
        while !ca.context.state.available().certificates {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("the certificate is used again");
    assert!(ca.run(Chain::Refresh).await.unwrap().rests, "the CA refuses it again");
}

#[tokio::test]
async fn nothing_rests_without_a_retry_after_or_with_hammer() {
    for (retry_after, longest) in [("", Some(Duration::from_secs(60))), ("3600", None)] {
        let mut ca = Ca::with("new-orders-per-account", retry_after, |_| true, 1).await;
        let policy = Policy { longest_rest: longest, ..Policy::clone(&ca.context.policy) };
        ca.context.policy = Arc::new(policy);
        for _ in 0..5 {
            let result = ca.run(Chain::Authorization).await.unwrap();
            assert_eq!((result.class, result.rests), (Some(FailureClass::RateLimited), false));
        }
        assert_eq!(ca.asked(1), 5);
    }
}
