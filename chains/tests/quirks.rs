//! What servers answer that are not at hand here, word for word: a transport with a script.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use common::{check, over, reply, response, steps};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_acme::transport::{BoxFuture, Reply, Request, Transport};
use wec_acme::{Clock, Failure, FailureKind};
use wec_chains::{Chain, ChainResult, Policy};
use wec_record::{ChallengeType, FailureClass};

/// One answer: for which path, its status and body. Status 0: the idle connection turns out dead.
type Line = (&'static str, u16, &'static str);

/// A CA that answers what its script says, in this order, and gives a nonce with everything.
struct Script {
    clock: Clock,
    lines: Arc<Mutex<VecDeque<Line>>>,
}

impl Transport for Script {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let path = request.url.strip_prefix("https://ca.test/").unwrap();
        let (expected, status, body) = match path {
            "nonce" => ("nonce", 200, ""),
            "account" => ("account", 201, r#"{"status":"valid"}"#),
            _ => self
                .lines
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or_else(|| panic!("{path} is not in the script")),
        };
        assert_eq!(path, expected);
        let answer = match status {
            0 => Err(Failure::new(FailureKind::Reset, "connection reset")),
            _ => Ok(response(status, "https://ca.test/order/1", body)),
        };
        Box::pin(std::future::ready(reply(self.clock, answer)))
    }
}

/// Runs chains against a script, to whose end they must come.
async fn play<const N: usize>(
    chains: [Chain; N],
    challenges: &[ChallengeType],
    lines: &[Line],
) -> [ChainResult; N] {
    let clock = Clock::start();
    let lines = Arc::new(Mutex::new(VecDeque::from(lines.to_vec())));
    let policy = Policy { challenges: challenges.to_vec().into(), ..Policy::under("wec.test") };
    let context = over(Script { clock, lines: lines.clone() }, clock, policy).await;
    let mut rng = StdRng::seed_from_u64(1);
    let cut = CancellationToken::new();
    wec_chains::run(Chain::Registration, &context, &mut rng, None, &cut).await.unwrap();
    let mut results = Vec::new();
    for chain in chains {
        let result = wec_chains::run(chain, &context, &mut rng, None, &cut).await.unwrap();
        check(&result);
        results.push(result);
    }
    assert_eq!(*lines.lock().unwrap(), [], "the script was not played to its end");
    results.try_into().unwrap()
}

async fn authorize(lines: &[Line]) -> ChainResult {
    let [result] = play([Chain::Authorization], &ChallengeType::ALL, lines).await;
    result
}

const PENDING_ORDER: &str = r#"{"status":"pending","identifiers":[{"type":"dns","value":"a.test"}],
    "authorizations":["https://ca.test/authz/1"],"finalize":"https://ca.test/finalize/1"}"#;
const READY_ORDER: &str = r#"{"status":"ready","expires":"2099-01-01T00:00:00Z","identifiers":[{"type":"dns","value":"a.test"}],
    "authorizations":["https://ca.test/authz/1"],"finalize":"https://ca.test/finalize/1"}"#;
const VALID_ORDER: &str = r#"{"status":"valid","identifiers":[{"type":"dns","value":"a.test"}],"authorizations":[],
    "finalize":"https://ca.test/finalize/1","certificate":"https://ca.test/cert/1"}"#;
const PENDING_AUTHORIZATION: &str = r#"{"status":"pending","identifier":{"type":"dns","value":"a.test"},"challenges":[
    {"type":"http-01","url":"https://ca.test/chall/1","token":"t"},
    {"type":"dns-persist-01","url":"https://ca.test/chall/2","issuer-domain-names":["ca.test"]}]}"#;
const VALID_AUTHORIZATION: &str =
    r#"{"status":"valid","identifier":{"type":"dns","value":"a.test"},"challenges":[]}"#;
const NOT_PENDING: &str =
    r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"authorization must be pending"}"#;
const NOT_READY: &str =
    r#"{"type":"urn:ietf:params:acme:error:orderNotReady","detail":"order is not ready: valid"}"#;

#[tokio::test]
async fn an_order_that_is_ready_from_the_start_needs_no_more() {
    let result = authorize(&[("order", 201, READY_ORDER)]).await;
    assert!(result.successful, "{}", result.error);
}

#[tokio::test]
async fn an_authorization_that_is_valid_from_the_start_needs_no_challenge() {
    let result = authorize(&[
        ("order", 201, PENDING_ORDER),
        ("authz/1", 200, VALID_AUTHORIZATION),
        ("order/1", 200, READY_ORDER),
    ])
    .await;
    assert!(result.successful, "{}", result.error);
}

#[tokio::test]
async fn a_challenge_may_be_pending_or_processing_or_valid_at_once() {
    for (status, polls) in [("pending", true), ("processing", true), ("valid", false)] {
        let answer: &'static str = format!(
            r#"{{"type":"http-01","url":"https://ca.test/chall/1","token":"t","status":"{status}"}}"#
        )
        .leak();
        let mut lines = vec![
            ("order", 201, PENDING_ORDER),
            ("authz/1", 200, PENDING_AUTHORIZATION),
            ("chall/1", 200, answer),
        ];
        if polls {
            lines.extend([("authz/1", 200, PENDING_AUTHORIZATION), ("authz/1", 200, VALID_AUTHORIZATION)]);
        }
        // An order may lag behind its authorizations.
        lines.extend([("order/1", 200, PENDING_ORDER), ("order/1", 200, READY_ORDER)]);
        let result = authorize(&lines).await;
        assert!(result.successful, "{status}: {}", result.error);
    }
}

#[tokio::test]
async fn a_challenge_that_is_invalid_at_once_is_a_failed_validation() {
    let result = authorize(&[
        ("order", 201, PENDING_ORDER),
        ("authz/1", 200, PENDING_AUTHORIZATION),
        (
            "chall/1",
            200,
            r#"{"type":"http-01","url":"https://ca.test/chall/1","token":"t","status":"invalid",
            "error":{"type":"urn:ietf:params:acme:error:unauthorized","detail":"wrong answer"}}"#,
        ),
    ])
    .await;
    assert_eq!(result.class, Some(FailureClass::Validation));
    assert!(result.error.contains("a.test") && result.error.contains("wrong answer"), "{}", result.error);
}

#[tokio::test]
async fn says_when_none_of_the_challenges_on_offer_is_enabled() {
    let [result] = play(
        [Chain::Authorization],
        &[ChallengeType::TlsAlpn01],
        &[("order", 201, PENDING_ORDER), ("authz/1", 200, PENDING_AUTHORIZATION)],
    )
    .await;
    assert_eq!(result.class, Some(FailureClass::Internal));
    assert!(
        result.error.contains("offers http-01") && result.error.contains("(tls-alpn-01)"),
        "{}",
        result.error
    );
}

#[tokio::test]
async fn an_order_that_is_over_from_the_start_is_not_what_was_asked_for() {
    let result = authorize(&[("order", 201, VALID_ORDER)]).await;
    assert_eq!(result.class, Some(FailureClass::Malformed));
}

#[tokio::test]
async fn a_challenge_refused_because_a_lost_attempt_had_arrived_is_looked_at() {
    let result = authorize(&[
        ("order", 201, PENDING_ORDER),
        ("authz/1", 200, PENDING_AUTHORIZATION),
        ("chall/1", 0, ""),
        ("chall/1", 400, NOT_PENDING),
        ("authz/1", 200, VALID_AUTHORIZATION),
        ("order/1", 200, READY_ORDER),
    ])
    .await;
    assert!(result.successful, "{}", result.error);
}

#[tokio::test]
async fn a_challenge_refused_at_the_first_attempt_is_a_failure() {
    let result = authorize(&[
        ("order", 201, PENDING_ORDER),
        ("authz/1", 200, PENDING_AUTHORIZATION),
        ("chall/1", 400, NOT_PENDING),
    ])
    .await;
    assert_eq!(result.class, Some(FailureClass::Problem));
}

#[tokio::test]
async fn a_finalize_refused_because_a_lost_attempt_had_arrived_goes_on_with_the_order() {
    let [_, result] = play(
        [Chain::Authorization, Chain::Certificate],
        &ChallengeType::ALL,
        &[
            ("order", 201, READY_ORDER),
            ("finalize/1", 0, ""),
            ("finalize/1", 403, NOT_READY),
            ("order/1", 200, VALID_ORDER),
            ("cert/1", 200, "not a certificate"),
        ],
    )
    .await;
    // It got as far as the download, which this script has none for.
    assert_eq!(steps(&result).last().map(String::as_str), Some("certificate 200"));
}
