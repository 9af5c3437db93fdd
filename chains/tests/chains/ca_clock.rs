//! A CA whose clock differs from ours: its dates are compared with its clock.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use http::HeaderValue;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_acme::transport::{BoxFuture, Reply, Request, Transport};
use wec_chains::{Chain, Policy};
use wec_record::FailureClass;

use crate::common::{over, reply, response, steps};

/// Its orders are ready at once and expire at this time; finalize is not implemented.
struct Dated {
    clock: Clock,
    now: &'static str,
    order: &'static str,
}

impl Transport for Dated {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        let (status, body) = match request.url.strip_prefix("https://ca.test/").unwrap() {
            "nonce" => (200, ""),
            "account" => (201, r#"{"status":"valid"}"#),
            "order" => (201, self.order),
            "finalize/1" => (500, ""),
            other => panic!("unexpected request for {other}"),
        };
        let mut answer = response(status, "https://ca.test/order/1", body);
        answer.headers.insert("date", HeaderValue::from_static(self.now));
        Box::pin(std::future::ready(reply(self.clock, Ok(answer))))
    }
}

#[tokio::test]
async fn orders_expire_by_the_cas_clock() {
    for (now, expires, usable) in [
        // The CA's clock is years behind: by our clock all of its orders have expired.
        ("Sat, 21 Nov 2020 10:00:00 GMT", "2020-11-21T11:00:00Z", true),
        ("Sat, 21 Nov 2020 10:00:00 GMT", "2020-11-21T10:00:20Z", false),
        // The CA's clock is years ahead: by our clock no order has expired.
        ("Tue, 21 Nov 2090 10:00:00 GMT", "2090-11-21T11:00:00Z", true),
        ("Tue, 21 Nov 2090 10:00:00 GMT", "2089-11-21T11:00:00Z", false),
    ] {
        let order = format!(
            r#"{{"status":"ready","expires":"{expires}","identifiers":[{{"type":"dns","value":"a.test"}}],
            "authorizations":["https://ca.test/authz/1"],"finalize":"https://ca.test/finalize/1"}}"#
        );
        let clock = Clock::start();
        let ca = Dated { clock, now, order: order.leak() };
        let context = over(ca, clock, Policy::under("wec.test")).await;
        context.state.follow(context.client.ca_clock());
        let (mut rng, cut) = (StdRng::seed_from_u64(1), CancellationToken::new());
        for chain in [Chain::Registration, Chain::Authorization] {
            let result = wec_chains::run(chain, &context, &mut rng, None, &cut).await.unwrap();
            assert!(result.successful, "{}", result.error);
        }
        let result = wec_chains::run(Chain::Certificate, &context, &mut rng, None, &cut).await;
        assert_eq!(result.is_some(), usable, "{expires} at {now}");
        if let Some(result) = result {
            assert_eq!(
                (steps(&result), result.class),
                (vec!["finalize 500".into()], Some(FailureClass::ServerError))
            );
        }
    }
}
