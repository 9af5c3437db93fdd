//! Behaviour of real servers that RFC 8555 does not describe, or that differs from it.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use wec_acme::transport::Places;
use wec_acme::{
    AccountKey, AuthorizationStatus, Clock, Directory, Endpoint, FailureClass, Order, OrderStatus, Policy,
    Purpose, Trace,
};

use crate::support::fake::{Answer, ScriptedClient, answer, broken_connection};

const PENDING: &str = r#"{"status":"pending","identifiers":[{"type":"dns","value":"a.test"}],
    "authorizations":["https://ca.test/authz/1"],"finalize":"https://ca.test/finalize/1"}"#;

fn order_answer(status: &str, more: &str) -> Answer {
    answer(200, &PENDING.replace("\"pending\"", &format!("\"{status}\"{more}")))
}

fn nonce() -> Answer {
    answer(200, "").nonce("first")
}

fn names() -> Vec<String> {
    vec!["a.test".into()]
}

fn order(status: OrderStatus) -> Order {
    let order: Order = serde_json::from_str(PENDING).unwrap();
    Order { url: "https://ca.test/order/1".into(), status, ..order }
}

fn authorization(status: &str) -> String {
    format!(
        r#"{{"status":"{status}","identifier":{{"type":"dns","value":"a.test"}},"challenges":[
            {{"type":"later-01","url":"https://ca.test/chall/0"}},
            {{"type":"http-01","url":"https://ca.test/chall/1","token":"t","status":"pending"}}]}}"#
    )
}

/// Endpoint, purpose and failure class of each exchange, in order.
fn story(trace: Trace) -> Vec<(Endpoint, Purpose, Option<FailureClass>)> {
    let (exchanges, _) = trace.into_parts();
    exchanges
        .into_iter()
        .map(|exchange| (exchange.endpoint, exchange.purpose, exchange.failure.map(|failure| failure.kind)))
        .collect()
}

#[tokio::test]
async fn a_refused_nonce_is_retried_with_the_one_that_came_with_the_error() {
    let refused =
        r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"JWS has an invalid anti-replay nonce"}"#;
    let ca = ScriptedClient::new([
        nonce(),
        answer(400, refused).nonce("second"),
        // Some servers do not use status 400; the problem type counts.
        answer(403, refused).nonce("third"),
        order_answer("pending", "").with("location", "https://ca.test/order/1"),
    ]);
    let mut trace = Trace::new(ca.clock);
    ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap();
    assert_eq!(ca.asked.protected("nonce"), ["first", "second", "third"]);
    assert_eq!(
        story(trace),
        [
            (Endpoint::NewNonce, Purpose::Nonce, None),
            (Endpoint::NewOrder, Purpose::Step, Some(FailureClass::BadNonce)),
            (Endpoint::NewOrder, Purpose::Retry, Some(FailureClass::BadNonce)),
            (Endpoint::NewOrder, Purpose::Retry, None),
        ]
    );
}

#[tokio::test]
async fn gives_up_when_a_ca_refuses_every_nonce() {
    let refused = answer(400, r#"{"type":"urn:ietf:params:acme:error:badNonce"}"#);
    let script = std::iter::once(nonce()).chain(std::iter::repeat_n(refused, 4));
    let policy = Policy { bad_nonce_retries: 3, ..Policy::default() };
    let ca = ScriptedClient::with_policy(policy, script);
    let mut trace = Trace::new(ca.clock);
    let failure = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::BadNonce);
    assert!(
        failure.message.ends_with("answered 400 badNonce (after 3 retries with fresh nonces)"),
        "{failure}"
    );
    assert_eq!(trace.exchanges().len(), 5);
}

#[tokio::test]
async fn a_new_nonce_answer_without_a_nonce_is_reported_as_such() {
    let ca = ScriptedClient::new([answer(200, "").without("replay-nonce")]);
    let mut trace = Trace::new(ca.clock);
    let failure = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Malformed);
    assert_eq!(
        failure.message,
        "newNonce: HEAD https://ca.test/new-nonce answered 200 with no usable Replay-Nonce header"
    );
}

#[tokio::test]
async fn a_nonce_fetch_is_part_of_the_time_that_the_request_was_due() {
    let ca = ScriptedClient::new([
        answer(204, ""),
        order_answer("pending", "").with("location", "https://ca.test/order/1"),
    ]);
    let mut trace = Trace::new(ca.clock);
    ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap();
    let [fetch, post] = trace.exchanges() else { panic!("two requests") };
    assert_eq!(fetch.due, post.due);
    assert!(post.sent >= fetch.done);
}

#[tokio::test]
async fn a_request_that_waits_for_a_connection_holds_no_nonce() {
    let places = Arc::new(Places::new(1, Duration::from_secs(60)));
    let answers = (0..8).map(|number| answer(200, &authorization("valid")).nonce(&format!("after-{number}")));
    let ca = ScriptedClient::with_places(&places, std::iter::once(nonce()).chain(answers));
    let read = async |number: usize| {
        let url = format!("https://ca.test/authz/{number}");
        let mut trace = Trace::new(ca.clock);
        ca.client.authorization(&mut trace, &ca.account, &url).await.unwrap();
    };
    tokio::join!(read(0), read(1), read(2), read(3), read(4), read(5), read(6), read(7));
    // The first nonce was fetched; each later one came with the previous answer.
    let nonces = ca.asked.protected("nonce");
    assert_eq!(nonces[0], "first");
    assert_eq!(nonces[1..], (0..7).map(|number| format!("after-{number}")).collect::<Vec<_>>());
    assert_eq!(ca.asked.requests().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gets_no_connection_is_recorded_as_one() {
    let places = Arc::new(Places::new(1, Duration::from_secs(3)));
    let ca = ScriptedClient::with_places(&places, [nonce(), answer(200, &authorization("valid"))]);
    let held = places.take().await.unwrap();
    let mut trace = Trace::new(ca.clock);
    let url = "https://ca.test/authz/1";
    let failure = ca.client.authorization(&mut trace, &ca.account, url).await.unwrap_err();
    assert!(failure.message.contains("all 1 connections of this client were in use for 3s"), "{failure}");
    assert_eq!(
        story(trace),
        [(Endpoint::Authorization, Purpose::Step, Some(FailureClass::Timeout))],
        "nothing was sent and no nonce was used"
    );
    drop(held);
    ca.client.authorization(&mut Trace::new(ca.clock), &ca.account, url).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_wait_holds_no_connection() {
    let places = Arc::new(Places::new(1, Duration::from_secs(3)));
    let busy = answer(503, "{}").with("retry-after", "20").nonce("second");
    let ca = ScriptedClient::with_places(&places, [nonce(), busy, answer(200, &authorization("valid"))]);
    let mut trace = Trace::new(ca.clock);
    let read = ca.client.authorization(&mut trace, &ca.account, "https://ca.test/authz/1");
    let other = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        places.take().await.map(drop)
    };
    let (read, other) = tokio::join!(read, other);
    assert!(read.is_ok() && other.is_ok(), "{read:?} {other:?}");
}

#[tokio::test(start_paused = true)]
async fn busy_servers_are_retried_after_their_retry_after() {
    let limited = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#;
    let ca = ScriptedClient::new([
        nonce(),
        answer(429, limited).with("retry-after", "7").with("link", r#"<https://ca.test/doc>;rel="help""#),
        answer(503, "<html>busy</html>").with("retry-after", "2"),
        order_answer("pending", "").with("location", "https://ca.test/order/1"),
    ]);
    let mut trace = Trace::new(ca.clock);
    ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap();
    let due: Vec<u64> = trace.exchanges()[1..].iter().map(|exchange| exchange.due / 1_000_000_000).collect();
    assert_eq!(due, [0, 7, 9]);
    assert_eq!(
        story(trace)[1..],
        [
            (Endpoint::NewOrder, Purpose::Step, Some(FailureClass::RateLimited)),
            (Endpoint::NewOrder, Purpose::Retry, Some(FailureClass::ServerError)),
            (Endpoint::NewOrder, Purpose::Retry, None),
        ]
    );
}

#[tokio::test]
async fn a_problem_document_is_kept_as_it_came_within_its_bound() {
    let whole = r#"{"type":"urn:ietf:params:acme:error:compound","instance":"/problems/7",
        "subproblems":[{"type":"urn:ietf:params:acme:error:caa","detail":"forbidden"}]}"#;
    let long =
        format!(r#"{{"type":"urn:ietf:params:acme:error:malformed","detail":"{}"}}"#, "ä".repeat(1_000));
    for (body, kept) in [(whole, whole), (&long, &long[..1_023]), ("<html>broken</html>", "")] {
        let ca = ScriptedClient::new([nonce(), answer(403, body)]);
        let mut trace = Trace::new(ca.clock);
        ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap_err();
        let exchange = trace.exchanges().last().unwrap();
        assert_eq!(exchange.document.as_deref().unwrap_or_default(), kept, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_the_bound_is_a_failure_that_says_so() {
    let ca = ScriptedClient::new([nonce(), answer(429, "{}").with("retry-after", "86400")]);
    let mut trace = Trace::new(ca.clock);
    let failure = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::RateLimited);
    assert_eq!(failure.retry_after, Some(Duration::from_secs(86_400)));
    assert!(
        failure
            .message
            .ends_with("the CA asks to wait 86400s, longer than the 60s allowed here (--max-retry-after)"),
        "{failure}"
    );
    assert_eq!(ca.clock.now() / 1_000_000_000, 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_without_retry_after_and_a_broken_one_with_it_are_not_asked_again() {
    for (status, header, kind) in [
        (503, None, FailureClass::ServerError),
        (429, None, FailureClass::RateLimited),
        (500, Some("60"), FailureClass::ServerError),
    ] {
        let mut scripted = answer(status, "");
        if let Some(value) = header {
            scripted = scripted.with("retry-after", value);
        }
        let ca = ScriptedClient::new([nonce(), scripted]);
        let mut trace = Trace::new(ca.clock);
        let failure = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert_eq!(trace.exchanges().last().unwrap().status, status);
    }
}

#[tokio::test]
async fn relative_urls_are_those_of_the_url_that_was_asked() {
    let order = |more: &str| {
        let order = format!(
            r#"{{"status":"pending","identifiers":[],"authorizations":["../authz/7"],"finalize":"/fin/1"{more}}}"#
        );
        answer(200, &order)
    };
    let ca = ScriptedClient::new([
        nonce(),
        order("").with("location", "/orders/1"),
        answer(
            200,
            r#"{"status":"pending","identifier":{"type":"dns","value":"a.test"},
                "challenges":[{"type":"http-01","url":"//other.test/chall","token":"t"}]}"#,
        ),
        order(r#","certificate":"cert?id=9""#),
    ]);
    let mut trace = Trace::new(ca.clock);
    let ScriptedClient { client, account, .. } = &ca;
    let order = client.new_order(&mut trace, account, &names(), None).await.unwrap();
    // Relative to newOrder's URL, https://ca.test/new-order.
    assert_eq!(order.url, "https://ca.test/orders/1");
    assert_eq!(order.authorizations, ["https://ca.test/authz/7"]);
    let authorization = client.authorization(&mut trace, account, &order.authorizations[0]).await.unwrap();
    assert_eq!(authorization.challenges[0].url, "https://other.test/chall");
    let order = client.order(&mut trace, account, &order.url).await.unwrap();
    assert_eq!(order.certificate.as_deref(), Some("https://ca.test/orders/cert?id=9"));
    assert_eq!(
        ca.asked.protected("url"),
        ["https://ca.test/new-order", "https://ca.test/authz/7", "https://ca.test/orders/1"],
        "the signed URL is absolute"
    );
}

#[tokio::test]
async fn a_broken_connection_is_a_failure_without_retry() {
    let ca = ScriptedClient::new([nonce(), broken_connection()]);
    let mut trace = Trace::new(ca.clock);
    let failure = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Reset);
    assert_eq!(story(trace)[1..], [(Endpoint::NewOrder, Purpose::Step, Some(FailureClass::Reset))]);
}

#[tokio::test]
async fn answers_that_are_not_acme_keep_their_status_and_show_what_they_are() {
    let html = "<html>\n  <body>Service  unavailable</body></html>";
    for (scripted, kind, text) in [
        (
            answer(503, html),
            FailureClass::ServerError,
            r#"answered 503 without a problem document: "<html> <body>Service unavailable</body></html>""#,
        ),
        (answer(502, ""), FailureClass::ServerError, "answered 502"),
        (
            answer(404, "not found"),
            FailureClass::UnexpectedStatus,
            r#"answered 404 without a problem document: "not found""#,
        ),
        (answer(301, ""), FailureClass::UnexpectedStatus, "answered 301"),
        (
            answer(200, html),
            FailureClass::Malformed,
            "answered 200 with what cannot be read (expected value at line 1",
        ),
        (
            answer(201, r#"{"status":"pen"#),
            FailureClass::Malformed,
            "answered 201 with what cannot be read (EOF while parsing",
        ),
        (answer(201, PENDING), FailureClass::Malformed, "answered 201 with no Location header"),
        (
            answer(201, &PENDING.replace("\"pending\"", "\"baked\"")),
            FailureClass::Malformed,
            "unknown variant `baked`",
        ),
        (answer(400, r#"{"type":"about:blank"}"#), FailureClass::Problem, "answered 400 about:blank"),
        (
            answer(403, r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"no","status":"x"}"#)
                .with("content-type", "application/problem+json; charset=utf-8"),
            FailureClass::Problem,
            "answered 403 unauthorized: no",
        ),
        (
            answer(
                400,
                r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"policy","subproblems":[
                    {"type":"urn:ietf:params:acme:error:caa","detail":"forbids","identifier":{"type":"dns","value":"a.test"}},
                    7,
                    {"type":"urn:ietf:params:acme:error:dns"}]}"#,
            ),
            FailureClass::Problem,
            "answered 400 rejectedIdentifier: policy (a.test: caa: forbids; dns)",
        ),
        (
            answer(403, r#"{"type":"urn:ietf:params:acme:error:rateLimited"}"#),
            FailureClass::RateLimited,
            "answered 403 rateLimited",
        ),
        (answer(500, r#"{"title":"Oops"}"#), FailureClass::ServerError, "answered 500 about:blank: Oops"),
        (answer(400, "[1]"), FailureClass::UnexpectedStatus, "answered 400 without a problem document"),
    ] {
        let ca = ScriptedClient::new([nonce(), scripted]);
        let mut trace = Trace::new(ca.clock);
        let failure = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(
            failure.message.starts_with("newOrder: POST https://ca.test/new-order answered"),
            "{failure}"
        );
        assert!(failure.message.contains(text), "{failure}");
        let noted = trace.exchanges().last().unwrap();
        assert_eq!(noted.failure.as_deref(), Some(&failure));
        assert!(failure.message.contains(&noted.status.to_string()));
    }
}

#[tokio::test]
async fn a_repeated_new_account_may_be_an_empty_object() {
    let ca = ScriptedClient::new([nonce(), answer(200, "{}").with("location", "https://ca.test/acct/7")]);
    let key = AccountKey::generate().unwrap();
    let account = ca.client.new_account(&mut Trace::new(ca.clock), &key, &[], None).await.unwrap();
    assert_eq!(account.url, "https://ca.test/acct/7");
}

#[tokio::test]
async fn a_new_order_may_be_ready_and_then_needs_no_poll() {
    let links = order_answer("ready", "")
        .with("location", "https://ca.test/order/1")
        .with("link", r#"<https://ca.test/dir>;rel="index""#)
        .with("link", r#"<https://ca.test/doc>;rel="help""#)
        .with("content-type", "application/json; charset=utf-8");
    let ca = ScriptedClient::new([nonce(), links]);
    let mut trace = Trace::new(ca.clock);
    let order = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap();
    let ready = ca.client.poll_order_ready(&mut trace, &ca.account, &order).await.unwrap();
    assert_eq!(ready, order);
}

#[tokio::test]
async fn finalize_may_answer_the_valid_order_and_no_location() {
    let ca =
        ScriptedClient::new([nonce(), order_answer("valid", r#","certificate":"https://ca.test/cert/1""#)]);
    let mut trace = Trace::new(ca.clock);
    let order = order(OrderStatus::Ready);
    let finalized = ca.client.finalize(&mut trace, &ca.account, &order, b"csr").await.unwrap();
    assert_eq!(finalized.url, order.url);
    let valid = ca.client.poll_order_valid(&mut trace, &ca.account, &finalized).await.unwrap();
    assert_eq!(valid.certificate.as_deref(), Some("https://ca.test/cert/1"));
    assert_eq!(ca.asked.protected("kid"), ["https://ca.test/acct/1"]);
}

#[tokio::test]
async fn a_valid_order_without_a_certificate_is_malformed() {
    let ca = ScriptedClient::new([]);
    let mut trace = Trace::new(ca.clock);
    let failure =
        ca.client.poll_order_valid(&mut trace, &ca.account, &order(OrderStatus::Valid)).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::Malformed);
    assert_eq!(failure.message, "order https://ca.test/order/1 is valid and has no certificate URL");
}

#[tokio::test]
async fn unknown_challenges_are_kept_and_need_no_token() {
    let ca = ScriptedClient::new([nonce(), answer(200, &authorization("pending"))]);
    let mut trace = Trace::new(ca.clock);
    let authorization =
        ca.client.authorization(&mut trace, &ca.account, "https://ca.test/authz/1").await.unwrap();
    assert_eq!(authorization.challenges[0].kind, None);
    assert_eq!(authorization.challenge(wec_record::ChallengeType::Http01).unwrap().token, "t");
}

#[tokio::test]
async fn a_challenge_may_be_answered_pending_processing_or_valid() {
    for (status, done) in [("pending", false), ("processing", false), ("valid", true), ("invalid", true)] {
        let body = format!(
            r#"{{"type":"http-01","url":"https://ca.test/chall/1","token":"t","status":"{status}"}}"#
        );
        let ca = ScriptedClient::new([nonce(), answer(200, &body)]);
        let mut trace = Trace::new(ca.clock);
        let challenge = ca.client.respond(&mut trace, &ca.account, "https://ca.test/chall/1").await.unwrap();
        assert_eq!(challenge.is_final(), done, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn polls_wait_for_our_interval_or_as_long_as_the_ca_asks() {
    let ca = ScriptedClient::new([
        nonce(),
        answer(200, &authorization("pending")),
        answer(200, &authorization("pending")).with("retry-after", "3"),
        answer(200, &authorization("pending")).with("retry-after", "0"),
        answer(200, &authorization("valid")),
    ]);
    let mut trace = Trace::new(ca.clock);
    let url = "https://ca.test/authz/1";
    let asked = Some(Duration::from_secs(1));
    let valid = ca.client.poll_authorization(&mut trace, &ca.account, url, asked).await.unwrap();
    assert_eq!(valid.status, AuthorizationStatus::Valid);
    let due: Vec<u64> = trace.exchanges()[1..].iter().map(|exchange| exchange.due / 1_000_000).collect();
    // 1 s (Retry-After of the challenge), 75 ms (our interval), 3 s (Retry-After), 168.75 ms (our interval) in whole ms.
    assert_eq!(due, [1_000, 1_075, 4_075, 4_244]);
    assert!(trace.exchanges()[1..].iter().all(|exchange| exchange.purpose == Purpose::Poll));
}

#[tokio::test(start_paused = true)]
async fn polls_end_at_their_bound() {
    let policy = Policy {
        poll_interval: Duration::from_secs(1),
        poll_max_interval: Duration::from_secs(1),
        poll_timeout: Duration::from_millis(2_500),
        ..Policy::default()
    };
    let processing = order_answer("processing", "");
    let ca = ScriptedClient::with_policy(
        policy.clone(),
        [nonce(), processing.clone(), processing.clone(), processing],
    );
    let mut trace = Trace::new(ca.clock);
    let finalized = order(OrderStatus::Processing);
    let failure = ca.client.poll_order_valid(&mut trace, &ca.account, &finalized).await.unwrap_err();
    assert_eq!(failure.kind, FailureClass::PollTimeout);
    assert_eq!(failure.message, "order https://ca.test/order/1 is not settled after polling for up to 2.5s");
    assert_eq!(ca.clock.now() / 1_000_000, 2_500);

    // A wait that would end after the bound is not begun.
    let ca = ScriptedClient::with_policy(policy, []);
    let asked = Order { retry_after: Some(Duration::from_secs(5)), ..finalized };
    let failure = ca.client.poll_order_valid(&mut trace, &ca.account, &asked).await.unwrap_err();
    assert!(failure.message.ends_with("the CA asks to wait 5s, longer than what is left"), "{failure}");
    assert_eq!(failure.retry_after, Some(Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_order_ends_a_poll_with_its_problem() {
    let error = r#","error":{"type":"urn:ietf:params:acme:error:badCSR","detail":"key is weak"}"#;
    let ca = ScriptedClient::new([nonce(), order_answer("invalid", error)]);
    let mut trace = Trace::new(ca.clock);
    let failure = ca
        .client
        .poll_order_valid(&mut trace, &ca.account, &order(OrderStatus::Processing))
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureClass::Validation);
    assert_eq!(failure.message, "order https://ca.test/order/1 is invalid: badCSR: key is weak");
    assert_eq!(failure.problem.unwrap().name(), "badCSR");
}

#[tokio::test]
async fn renewal_information_is_asked_without_a_signature_and_may_bring_no_nonce() {
    let info = r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00.5+00:00"}}"#;
    let ca = ScriptedClient::new([answer(200, info).without("replay-nonce").with("retry-after", "21600")]);
    let mut trace = Trace::new(ca.clock);
    let info = ca.client.renewal_info(&mut trace, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE").await.unwrap();
    assert_eq!(info.suggested_window.unix(), Some((1_767_225_600, 1_767_312_000)));
    assert_eq!(info.retry_after, Some(Duration::from_secs(21_600)));
    let asked = ca.asked.requests();
    assert_eq!(
        (asked[0].method, &*asked[0].url),
        ("GET", "https://ca.test/ari/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
    );
    assert_eq!(trace.exchanges()[0].template, "/ari/{id}");
}

#[test]
fn a_directory_may_have_unknown_keys_and_no_meta() {
    let directory: Directory = serde_json::from_str(
        r#"{"newNonce":"https://ca.test/n","newAccount":"https://ca.test/a","newOrder":"https://ca.test/o",
            "revokeCert":"https://ca.test/r","xP0q3z":"https://community.test/t/1"}"#,
    )
    .unwrap();
    assert_eq!(directory.renewal_info, None);
    assert!(!directory.meta.external_account_required);
}

#[test]
fn what_a_server_leaves_out_may_be_null() {
    let directory: Directory = serde_json::from_str(
        r#"{"newNonce":"https://ca.test/n","newAccount":"https://ca.test/a","newOrder":"https://ca.test/o",
            "revokeCert":"https://ca.test/r","renewalInfo":null,
            "meta":{"caaIdentities":null,"externalAccountRequired":null,"profiles":null,"website":null}}"#,
    )
    .unwrap();
    assert_eq!(directory.meta, wec_acme::Meta::default());
    let authorization: wec_acme::Authorization = serde_json::from_str(
        r#"{"status":"valid","identifier":{"type":"dns","value":"a.test"},"wildcard":null,"challenges":null,
            "expires":null}"#,
    )
    .unwrap();
    assert!(authorization.challenges.is_empty());
    let challenge: wec_acme::Challenge = serde_json::from_str(
        r#"{"type":"dns-persist-01","url":"https://ca.test/c","token":null,"status":null,"error":null}"#,
    )
    .unwrap();
    assert!(!challenge.is_final());
    let order: Order = serde_json::from_str(
        &PENDING.replace("\"finalize\"", "\"expires\":null,\"error\":null,\"certificate\":null,\"finalize\""),
    )
    .unwrap();
    assert_eq!((order.expires_unix(), order.certificate), (None, None));
}

/// An HTTP date, some seconds after 2026-11-21T10:00:00Z, far from the present.
fn at(seconds: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(1_795_255_200 + seconds))
}

#[tokio::test(start_paused = true)]
async fn a_date_in_retry_after_counts_from_the_answers_own() {
    // Our clock may be hours behind or ahead of the CA's.
    for ahead in [-10_800i64, 0, 10_800] {
        let clock = Clock::start();
        let now = u64::try_from(clock.unix_now() + ahead).unwrap();
        let date =
            |later: u64| httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(now + later));
        let ca = ScriptedClient::new([
            nonce().with("date", &date(0)),
            answer(503, "").with("date", &date(0)).with("retry-after", &date(7)),
            order_answer("pending", "").with("location", "https://ca.test/order/1"),
        ]);
        let mut trace = Trace::new(ca.clock);
        ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap();
        let [_, refused, again] = trace.exchanges() else { panic!("three requests") };
        assert_eq!(refused.retry_after, Some(Duration::from_secs(7)), "{ahead}");
        assert_eq!((again.due - refused.done) / 1_000_000_000, 7, "{ahead}");
    }
}

#[tokio::test]
async fn the_cas_clock_is_known_from_its_answers_by_all_siblings() {
    let ca = ScriptedClient::new([
        nonce().with("date", &at(0)),
        answer(200, &authorization("valid")).with("date", &at(1)),
        // Without a Date, the known difference to the CA's clock is used.
        answer(200, &authorization("pending")).with("retry-after", &at(301)),
    ]);
    assert_eq!(ca.client.ca_clock().ahead(), None);
    let sibling = ca.client.sibling(1);
    let url = "https://ca.test/authz/1";
    let mut trace = Trace::new(ca.clock);
    ca.client.authorization(&mut trace, &ca.account, url).await.unwrap();
    let off = 1_795_255_200 - ca.clock.unix_now();
    let ahead = sibling.ca_clock().ahead().unwrap();
    assert!((ahead - off).abs() < 60, "estimated {ahead} s ahead, in truth {off} s");
    let pending = ca.client.authorization(&mut trace, &ca.account, url).await.unwrap();
    let asked = pending.retry_after.unwrap().as_secs();
    assert!((240..=301).contains(&asked), "{asked} s");
}

/// A CA that is busy at first and then sends a Retry-After for the order.
fn slow_order() -> ScriptedClient {
    ScriptedClient::new([
        nonce(),
        answer(503, "").with("retry-after", "7"),
        answer(201, PENDING).with("location", "https://ca.test/order/1").with("retry-after", "3"),
        answer(200, PENDING),
        answer(200, &PENDING.replace("pending", "ready")),
    ])
}

#[tokio::test(start_paused = true)]
async fn waits_are_noted_as_asked_for_or_our_own_and_nonces_with_their_age() {
    let ca = slow_order();
    let mut trace = Trace::new(ca.clock);
    let order = ca.client.new_order(&mut trace, &ca.account, &names(), None).await.unwrap();
    ca.client.poll_order_ready(&mut trace, &ca.account, &order).await.unwrap();
    let waited = trace.waited();
    // Our second interval is 1.5 times the first; the CA's Retry-After replaced the first.
    assert_eq!((waited.asked, waited.poll), (10_000_000_000, 75_000_000));
    let ages: Vec<u64> =
        trace.exchanges().iter().map(|exchange| (exchange.nonce_age + 500_000_000) / 1_000_000_000).collect();
    assert_eq!(ages, [0, 0, 7, 3, 0], "the nonce that came with an answer is used for the next request");
    assert_eq!(trace.exchanges()[0].nonce_age, 0, "newNonce is not signed");
    assert!(trace.exchanges()[1].nonce_age > 0, "a signed request always has one");
    for two in trace.exchanges().windows(2) {
        assert!(two[0].done <= two[1].sent, "attempts overlap: {two:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_wait_is_recorded_up_to_the_interruption() {
    let ca = slow_order();
    let mut trace = Trace::new(ca.clock);
    let names = names();
    let order = ca.client.new_order(&mut trace, &ca.account, &names, None);
    tokio::time::timeout(Duration::from_secs(2), order).await.unwrap_err();
    assert_eq!((trace.waited().asked, trace.waited().poll), (2_000_000_000, 0));
}
