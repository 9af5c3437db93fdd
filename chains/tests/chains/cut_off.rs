//! A chain that is interrupted during a request, over a transport that never answers.

use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_acme::transport::{BoxFuture, Reply, Request, Transport};
use wec_chains::{Chain, Policy};
use wec_record::{FailureClass, Purpose};

use crate::common::{check, over, reply, response};

/// A CA that answers newNonce and nothing else.
struct Silent {
    clock: Clock,
    asked: Arc<Notify>,
}

impl Transport for Silent {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            if request.method != "HEAD" {
                self.asked.notify_one();
                std::future::pending::<()>().await;
            }
            reply(self.clock, Ok(response(200, "https://ca.test/", "")))
        })
    }
}

#[tokio::test]
async fn reports_its_finished_requests_and_the_one_in_flight() {
    let clock = Clock::start();
    let asked = Arc::new(Notify::new());
    let silent = Silent { clock, asked: asked.clone() };
    let context = over(silent, clock, Policy::under("wec.test")).await;

    let cut = CancellationToken::new();
    let mut rng = StdRng::seed_from_u64(1);
    let due = clock.now();
    let run = wec_chains::run(Chain::Registration, &context, &mut rng, Some(due), &cut);
    let (result, ()) = tokio::join!(run, async {
        asked.notified().await;
        cut.cancel();
    });
    let result = result.unwrap();
    check(&result);

    assert_eq!((result.due, result.class), (due, Some(FailureClass::Interrupted)));
    let [nonce, account] = &result.requests[..] else { panic!("{:#?}", result.requests) };
    assert_eq!((nonce.endpoint.as_ref(), nonce.purpose), ("newNonce", Purpose::Nonce));
    assert!(nonce.successful);
    assert_eq!((account.endpoint.as_ref(), account.status), ("newAccount", 0));
    assert_eq!(account.class, Some(FailureClass::Interrupted));
    assert!(result.keygen > 0);
    assert_eq!(context.state.counts().registrations, 0);
}
