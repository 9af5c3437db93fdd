//! Recorded answers of servers that are not available here, over a scripted transport.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_acme::transport::{BoxFuture, Reply, Request, Transport};
use wec_acme::{Clock, Way};
use wec_chains::{Chain, ChainResult, Policy};
use wec_record::{ChallengeType, FailureClass};

use crate::common::{check, over, reply, response, steps};

/// One answer: path, status and body. Status 0: the reused connection breaks and the request is sent again.
type Line = (&'static str, u16, &'static str);

/// A CA that answers in the script's order, with a nonce in every answer.
struct Script {
    clock: Clock,
    lines: Arc<Mutex<VecDeque<Line>>>,
}

impl Transport for Script {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let path = request.url.strip_prefix("https://ca.test/").unwrap();
        let next = || match path {
            "nonce" => ("nonce", 200, ""),
            "account" => ("account", 201, r#"{"status":"valid"}"#),
            _ => self
                .lines
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or_else(|| panic!("{path} is not in the script")),
        };
        let mut way = Way::default();
        let (mut expected, mut status, mut body) = next();
        assert_eq!(path, expected);
        while status == 0 {
            way.reconnects += 1;
            way.doubtful = true;
            (expected, status, body) = next();
            assert_eq!(path, expected);
        }
        let answer = Ok(response(status, "https://ca.test/order/1", body));
        Box::pin(std::future::ready(Reply { way, ..reply(self.clock, answer) }))
    }
}

/// Runs chains against a script and checks that all of it was used.
async fn play<const N: usize>(
    chains: [Chain; N],
    challenges: &[ChallengeType],
    lines: &[Line],
) -> [ChainResult; N] {
    let clock = Clock::start();
    let lines = Arc::new(Mutex::new(VecDeque::from(lines.to_vec())));
    let mut policy = Policy::under("wec.test");
    policy.choices.challenges = challenges.to_vec().into();
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
    assert_eq!(*lines.lock().unwrap(), [], "answers of the script are left");
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
async fn a_new_order_that_is_already_ready_needs_no_more_requests() {
    let result = authorize(&[("order", 201, READY_ORDER)]).await;
    assert!(result.successful, "{}", result.error);
}

#[tokio::test]
async fn a_valid_authorization_needs_no_challenge() {
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
        // An order may become ready later than its authorizations become valid.
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
async fn reports_that_none_of_the_offered_challenge_types_is_enabled() {
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
async fn a_new_order_that_is_already_valid_is_a_failure() {
    let result = authorize(&[("order", 201, VALID_ORDER)]).await;
    assert_eq!(result.class, Some(FailureClass::Malformed));
}

#[tokio::test]
async fn after_a_resent_challenge_is_refused_the_authorization_is_fetched() {
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
async fn after_a_resent_finalize_is_refused_the_order_is_polled() {
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
    // The chain has reached the download; the script's answer is no certificate.
    assert_eq!(steps(&result).last().map(String::as_str), Some("certificate 200"));
}

/// As Boulder refuses: the detail names the limit, which distinguishes two limits of one endpoint.
#[tokio::test]
async fn a_429_names_its_limit() {
    const NAMES: &str = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates (2) already issued for this exact set of identifiers in the last 3h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-certificates-per-exact-set-of-identifiers"}"#;
    const ORDERS: &str = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many new orders (300) from this account in the last 3h0m0s, retry after 2026-11-28 09:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account"}"#;
    for (body, limit) in
        [(NAMES, "new-certificates-per-exact-set-of-identifiers"), (ORDERS, "new-orders-per-account")]
    {
        let result = authorize(&[("order", 429, body)]).await;
        assert_eq!((result.class, &*result.detail), (Some(FailureClass::RateLimited), limit));
        assert_eq!(result.requests.last().unwrap().detail, limit);
    }
    let refused = r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"not you"}"#;
    assert_eq!(authorize(&[("order", 403, refused)]).await.detail, "", "only rate limits have a detail");
}

#[tokio::test]
async fn a_failed_validation_has_its_own_problem_and_no_status_of_earlier_attempts() {
    const REFUSED_NONCE: &str =
        r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"used","status":400}"#;
    const PENDING_CHALLENGE: &str =
        r#"{"type":"http-01","url":"https://ca.test/chall/1","token":"t","status":"pending"}"#;
    const INVALID: &str = r#"{"status":"invalid","identifier":{"type":"dns","value":"A.test"},"challenges":[
        {"type":"http-01","url":"https://ca.test/chall/1","token":"t","status":"invalid",
         "error":{"type":"urn:ietf:params:acme:error:connection","detail":"refused","status":400}}]}"#;
    let result = authorize(&[
        ("order", 201, PENDING_ORDER),
        ("authz/1", 200, PENDING_AUTHORIZATION),
        ("chall/1", 400, REFUSED_NONCE),
        ("chall/1", 200, PENDING_CHALLENGE),
        ("authz/1", 200, INVALID),
    ])
    .await;
    assert_eq!(result.class, Some(FailureClass::Validation));
    assert_eq!((result.status, &*result.problem), (0, "connection"), "{}", result.error);
    // The CA began to validate with the accepted attempt.
    let [_, _, refused, taken, poll] = &result.requests[..] else { panic!("{:#?}", result.requests) };
    assert_eq!((refused.status, taken.status), (400, 200));
    let [authorization] = &result.authorizations[..] else { panic!("{:#?}", result.authorizations) };
    assert_eq!((&*authorization.name, &*authorization.id), ("a.test", "/authz/1"));
    assert_eq!(authorization.challenge, Some(ChallengeType::Http01));
    assert_eq!((authorization.answered, authorization.settled), (taken.sent, poll.done));
}

#[tokio::test]
async fn a_refused_request_has_the_status_and_problem_of_its_last_attempt() {
    const REFUSED_NONCE: &str = r#"{"type":"urn:ietf:params:acme:error:badNonce","status":400}"#;
    const CAA: &str = r#"{"type":"urn:ietf:params:acme:error:caa","detail":"forbidden","status":403}"#;
    let result = authorize(&[("order", 400, REFUSED_NONCE), ("order", 403, CAA)]).await;
    assert_eq!(result.class, Some(FailureClass::Problem));
    assert_eq!((result.status, &*result.problem), (403, "caa"), "{}", result.error);
}
