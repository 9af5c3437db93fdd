//! Ill-behaved clients at the built-in CA.

use std::time::Duration;

use wec_acme::{Behaviour, DOWNLOADS, MOST_STEPS};
use wec_chains::Chain;
use wec_null_ca::{Config, Latency, Validation};
use wec_record::{FailureClass, Purpose};

use crate::common::{Worker, steps};
use crate::null_ca::{null_ca, worker};

/// A CA that validates after a while and asks to wait for a second.
fn late() -> Config {
    let validation = Validation {
        delay: "200ms".parse::<Latency>().unwrap(),
        retry_after: Some(1),
        ..Validation::default()
    };
    Config { validation, ..Config::default() }
}

async fn behaving(config: Config, behaviour: Behaviour) -> (wec_null_ca::NullCa, Worker) {
    let ca = null_ca(config);
    let mut worker = worker(&ca, |_, policy| policy.choices.behaviours = vec![behaviour].into()).await;
    worker.succeed(Chain::Registration).await;
    (ca, worker)
}

#[tokio::test]
async fn polls_wait_as_each_behaviour_does() {
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs();
    for (behaviour, asked, own) in [
        (Behaviour::Proper, true, false),
        (Behaviour::IgnoresRetryAfter, false, true),
        (Behaviour::HastyPolls, false, false),
    ] {
        let (_ca, mut worker) = behaving(late(), behaviour).await;
        let result = worker.run(Chain::Authorization).await;
        let polls = result.requests.iter().filter(|request| request.purpose == Purpose::Poll).count();
        assert!(polls > 0, "{behaviour}");
        assert_eq!(seconds(result.waited_asked) > 0, asked, "{behaviour}: {result:#?}");
        assert_eq!(result.waited_poll > 0 && !asked, own, "{behaviour}: {result:#?}");
        // 200 polls may be over before the validation is, on a fast machine.
        if behaviour != Behaviour::HastyPolls || polls < 200 {
            assert!(result.successful, "{behaviour}: {}", result.error);
        }
    }
}

#[tokio::test]
async fn connections_are_not_used_again() {
    for behaviour in [Behaviour::NewConnections, Behaviour::SlowReader] {
        let (_ca, mut worker) = behaving(Config::default(), behaviour).await;
        for chain in [Chain::Authorization, Chain::Certificate] {
            let result = worker.succeed(chain).await;
            assert!(result.requests.iter().all(|request| !request.reused), "{behaviour}: {result:#?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_is_downloaded_again() {
    let (_ca, mut worker) = behaving(Config::default(), Behaviour::DownloadsAgain).await;
    worker.succeed(Chain::Authorization).await;
    let certificate = worker.succeed(Chain::Certificate).await;
    let downloads = steps(&certificate).iter().filter(|step| *step == "certificate 200").count();
    assert_eq!(downloads, DOWNLOADS as usize);
}

#[tokio::test]
async fn abandoned_chains_are_successes_and_leave_what_others_can_use() {
    let (_ca, mut worker) = behaving(Config::default(), Behaviour::Abandons).await;
    let mut abandoned = 0;
    for _ in 0..20 {
        let result = worker.succeed(Chain::Authorization).await;
        assert!(steps(&result).len() <= usize::from(MOST_STEPS));
        abandoned += usize::from(result.abandoned);
    }
    assert!((1..20).contains(&abandoned), "{abandoned} of 20");
    worker.policy(|policy| policy.choices.behaviours = vec![Behaviour::Proper].into());
    for chain in [Chain::Authorization, Chain::Certificate] {
        assert!(!worker.succeed(chain).await.abandoned);
    }
}

#[tokio::test]
async fn a_failed_request_is_repeated_at_once_and_not_for_ever() {
    let faults = vec!["newOrder=500:1".parse().unwrap()];
    let (_ca, mut worker) = behaving(Config { faults, ..Config::default() }, Behaviour::HotRetries).await;
    let result = worker.fail(Chain::Authorization, FailureClass::ServerError).await;
    let orders = result.requests.iter().filter(|request| request.endpoint == "newOrder").count();
    assert_eq!(orders, 11, "{result:#?}");
    assert!(result.error.contains("after 10 retries at once"), "{}", result.error);
    assert_eq!((result.waited_asked, result.waited_poll), (0, 0));
}
