//! Chains of one's own at the built-in CA.

use wec_acme::Behaviour;
use wec_chains::Chain;
use wec_null_ca::Config;
use wec_record::FailureClass;

use crate::common::{Worker, steps};
use crate::null_ca::{null_ca, worker};

async fn composed(config: Config, text: &str) -> (wec_null_ca::NullCa, Worker) {
    let ca = null_ca(config);
    let mut worker = worker(&ca, |_, policy| policy.choices.steps = text.parse().unwrap()).await;
    worker.succeed(Chain::Registration).await;
    (ca, worker)
}

#[tokio::test]
async fn a_composed_chain_takes_its_steps_in_their_order() {
    let text = "account, order, authorize, wait 10ms, finalize, download x3, revoke reason=4, deactivate";
    let (ca, mut worker) = composed(Config::default(), text).await;
    let result = worker.succeed(Chain::Composed).await;
    assert_eq!(
        steps(&result),
        [
            "newAccount 201",
            "newOrder 201",
            "authorization 200",
            "challenge 200",
            "order 200",
            "finalize 200",
            "certificate 200",
            "certificate 200",
            "certificate 200",
            "certificate 200",
            "revokeCert 200",
            "authorization 200",
        ]
    );
    assert!(result.issued && result.issuance.is_none() && result.waited_poll >= 10_000_000);
    assert_eq!(result.authorizations.len(), 1);
    let counts = ca.counters();
    assert_eq!((counts.accounts, counts.certificates, counts.revocations), (2, 1, 1));
    let stored = worker.context.state.counts();
    assert_eq!((stored.registrations, stored.authorizations, stored.certificates), (2, 0, 0));
}

#[tokio::test]
async fn a_certificate_that_is_not_revoked_is_stored_even_if_a_later_step_fails() {
    let text = "order, authorize, finalize, revoke";
    let faults = vec!["revokeCert=500:1".parse().unwrap()];
    let (_ca, mut worker) = composed(Config { faults, ..Config::default() }, text).await;
    worker.fail(Chain::Composed, FailureClass::ServerError).await;
    assert_eq!(worker.context.state.counts().certificates, 1);
    worker.policy(|policy| policy.choices.steps = "order, authorize, finalize".parse().unwrap());
    worker.succeed(Chain::Composed).await;
    assert_eq!(worker.context.state.counts().certificates, 2);
    worker.succeed(Chain::Download).await;
}

#[tokio::test]
async fn a_chain_without_steps_or_with_a_failing_validation_has_no_order() {
    let (_ca, mut worker) = composed(Config::default(), "order, authorize").await;
    worker.policy(|policy| policy.choices.fail_validations = 1.0);
    worker.fail(Chain::Composed, FailureClass::Accepted).await;
    worker.policy(|policy| {
        policy.choices.fail_validations = 0.0;
        policy.choices.behaviours = vec![Behaviour::Abandons].into();
    });
    worker.succeed(Chain::Composed).await;
    worker.policy(|policy| policy.choices.steps = Default::default());
    assert!(worker.has_nothing_to_do(Chain::Composed).await);
}
