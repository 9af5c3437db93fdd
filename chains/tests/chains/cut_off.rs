//! Chains that are interrupted: during a request, over a transport that never answers, and between two requests,
//! because the right to send has ended.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_acme::clock::{Deadline, Moment};
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

/// A CA that makes an account for each request. While it answers newNonce, the right to send changes.
struct Making {
    clock: Clock,
    right: Deadline,
    changes: fn(&Deadline),
}

impl Transport for Making {
    fn send(&self, request: Request) -> BoxFuture<'_, Reply> {
        if request.method == "HEAD" {
            (self.changes)(&self.right);
        }
        let status = if request.method == "HEAD" { 200 } else { 201 };
        let response = response(status, "https://ca.test/account/1", r#"{"status":"valid"}"#);
        Box::pin(std::future::ready(reply(self.clock, Ok(response))))
    }
}

#[tokio::test]
async fn sends_nothing_after_the_right_to_send_has_ended() {
    let later = || Some(Moment::now().after(Duration::from_secs(60)));
    // What happens to the right after the first request, and whether the second one is sent.
    type Change = fn(&Deadline);
    let cases: [(&str, Change, bool); 4] = [
        ("nothing", |_| (), true),
        ("it is renewed", |right| right.set(1, Some(Moment::now().after(Duration::from_secs(90)))), true),
        ("it ends", |right| right.set(1, Some(Moment::now())), false),
        ("the node has registered again", |right| right.set(2, None), false),
    ];
    for (event, changes, goes_on) in cases {
        let (clock, right) = (Clock::start(), Deadline::new(1, later()));
        let making = Making { clock, right: right.clone(), changes };
        let mut context = over(making, clock, Policy::under("wec.test")).await;
        context.right = Some(right);
        let mut rng = StdRng::seed_from_u64(1);
        let run =
            wec_chains::run(Chain::Registration, &context, &mut rng, None, &CancellationToken::new()).await;
        let result = run.unwrap();
        check(&result);
        let sent: Vec<_> = result.requests.iter().map(|request| request.endpoint.as_ref()).collect();
        let all = ["newNonce", "newAccount"];
        assert_eq!(sent, if goes_on { &all[..] } else { &all[..1] }, "{event}");
        assert_eq!(
            (result.successful, result.is_cut_off()),
            (goes_on, !goes_on),
            "{event}: {}",
            result.error
        );
        assert_eq!(result.detail, if goes_on { "" } else { "lease" }, "{event}");
        assert_eq!(context.state.counts().registrations, u64::from(goes_on), "{event}");
    }
}
