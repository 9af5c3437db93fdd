//! Against a real Caddy, which differs from Pebble: it validates within the challenge's POST, finalizes at once, and its
//! problems have no `status`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on has failed")]

use wec_acme::{
    AccountKey, Checker, Client, Clock, Config, FailureClass, HttpVersion, OrderStatus, Purpose, Roots,
    Trace, certificate_request,
};
use wec_testbed::{Caddy, ChallTestSrv, Standard};

use crate::support::manage;

#[tokio::test]
async fn issues_from_caddy_without_a_single_poll() {
    issues_over(HttpVersion::Http1).await;
}

#[tokio::test]
async fn issues_from_caddy_over_http_2() {
    issues_over(HttpVersion::Http2).await;
}

async fn issues_over(http: HttpVersion) {
    let standard = Standard::reserve().unwrap();
    let challenges = ChallTestSrv::start_standard(&standard).await.unwrap();
    let caddy = Caddy::start(&standard).await.unwrap();
    let clock = Clock::start();
    let config = Config {
        http,
        roots: Roots::Pem(caddy.ca_pem().unwrap()),
        ..Config::new(caddy.directory_url().parse().unwrap())
    };
    let client = Client::discover(config, clock).await.unwrap();
    let mut trace = Trace::new(clock);
    let account = client.new_account(&mut trace, &AccountKey::generate().unwrap(), &[], None).await.unwrap();

    let names = vec!["one.example.test".to_owned(), "two.example.test".to_owned()];
    let order = client.new_order(&mut trace, &account, &names, None).await.unwrap();
    for url in &order.authorizations {
        let authorization = client.authorization(&mut trace, &account, url).await.unwrap();
        let challenge = authorization.challenge(wec_record::ChallengeType::Http01).unwrap();
        let answer = account.key.key_authorization(&challenge.token);
        let body = format!(r#"{{"token":"{}","content":"{answer}"}}"#, challenge.token);
        manage(challenges.management_address(), "add-http01", &body).await;
        let responded = client.respond(&mut trace, &account, &challenge.url).await.unwrap();
        assert!(responded.is_final(), "{responded:?}");
    }
    let order = client.order(&mut trace, &account, &order.url).await.unwrap();
    assert_eq!(order.status, OrderStatus::Ready);
    let (key, csr) = trace.keygen(|| certificate_request(&names)).unwrap();
    let order = client.finalize(&mut trace, &account, &order, &csr).await.unwrap();
    let order = client.poll_order_valid(&mut trace, &account, &order).await.unwrap();
    let pem = client.certificate(&mut trace, &account, &order.certificate.unwrap()).await.unwrap();
    Checker::new().check(&pem, &names, &key, clock.unix_now()).unwrap();

    let failure = client.order(&mut trace, &account, &format!("{}x", order.url)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureClass::Problem | FailureClass::ServerError), "{failure:?}");
    assert!(failure.problem.is_some(), "{failure}");

    let (exchanges, _) = trace.into_parts();
    assert!(exchanges.iter().all(|exchange| exchange.purpose != Purpose::Poll));
    for template in [
        "/acme/local/new-order",
        "/acme/local/order/{id}",
        "/acme/local/order/{id}/finalize",
        "/acme/local/authz/{id}",
        "/acme/local/challenge/{id}/{id}",
        "/acme/local/certificate/{id}",
    ] {
        assert!(exchanges.iter().any(|exchange| exchange.template == template), "{template}: {exchanges:#?}");
    }
}
