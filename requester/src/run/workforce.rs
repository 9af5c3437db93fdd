//! Creates the workers of each runtime and what they share: keys, the check of certificates, the policy of
//! each scenario.

use std::sync::Arc;

use wec_acme::clock::Deadline;
use wec_acme::{AccountKeys, Checker, IssuerRoots, KeyPool, KeyType};
use wec_chains::{Linger, Mix};
use wec_record::plan::MAX_WORKERS;

use super::Parts;
use crate::conductor::ScenarioChannels;
use crate::engine::WorkforceFactory;
use crate::error::StartError;
use crate::executor::{OnFailure, Workforce};
use crate::plan::Plan;
use crate::saturation::Watch;
use crate::scenario::Scenario;
use crate::user::Users;

/// Keys made before the run.
pub(super) struct Keys {
    pub(super) certificates: Arc<KeyPool>,
    accounts: Arc<AccountKeys>,
}

/// Shared by the workers of all scenarios and runtimes.
pub(super) struct Equipment {
    pub(super) keys: Keys,
    /// Of certificates.
    pub(super) checker: Checker,
    /// Keeps challenge data for some time.
    pub(super) linger: Linger,
    /// The end of this node's right to send; none if it does not end.
    pub(super) right: Option<Deadline>,
}

/// Makes the RSA keys of the scenarios on a thread of its own.
pub(super) async fn key_pool(plan: &Plan) -> Result<Keys, StartError> {
    let rsa = |types: fn(&Scenario) -> &Mix<KeyType>| -> Vec<KeyType> {
        plan.scenarios
            .iter()
            .flat_map(|scenario| types(scenario).items())
            .filter(|kind| kind.is_rsa())
            .collect()
    };
    let (types, accounts) =
        (rsa(|scenario| &scenario.choices.key_types), rsa(|scenario| &scenario.choices.account_key_types));
    if types.is_empty() && accounts.is_empty() {
        return Ok(Keys {
            certificates: Arc::new(KeyPool::empty()),
            accounts: Arc::new(AccountKeys::empty()),
        });
    }
    tracing::info!("making RSA keys, which takes a few seconds");
    let make = || Ok((KeyPool::generate(types)?, AccountKeys::generate(accounts)?));
    let made = tokio::task::spawn_blocking(make).await;
    let made = made.map_err(|error| StartError::Thread(std::io::Error::other(error)))?;
    let (certificates, accounts) = made.map_err(StartError::Keys)?;
    Ok(Keys { certificates: Arc::new(certificates), accounts: Arc::new(accounts) })
}

/// The check of certificates, with the roots that they must chain to.
pub(super) fn checker(plan: &Plan) -> Result<Checker, StartError> {
    let Some(path) = &plan.issuer_root else { return Ok(Checker::new()) };
    let shown = || path.display().to_string();
    let pem = std::fs::read(path).map_err(|error| StartError::File { path: shown(), error })?;
    let roots =
        IssuerRoots::from_pem(&pem).map_err(|error| StartError::IssuerRoots { path: shown(), error })?;
    Ok(Checker::with_roots(roots))
}

fn chain_policy(plan: &Plan, scenario: &Scenario, keys: &Keys) -> wec_chains::Policy {
    wec_chains::Policy {
        scenario: scenario.name.clone(),
        choices: scenario.choices.clone(),
        keys: Arc::clone(&keys.certificates),
        account_keys: Arc::clone(&keys.accounts),
        longest_rest: (scenario.on_failure == OnFailure::BackOff).then_some(plan.patience.max_retry_after),
        contact: plan.contact.clone(),
        external_accounts: plan.eab.clone(),
        ..wec_chains::Policy::under(&plan.plain.base_domain)
    }
}

/// Creates the workers of each runtime: the client is its own, everything else is shared.
pub(super) fn workforces(
    plan: &Plan,
    parts: &Parts,
    equipment: Equipment,
    all_channels: &[ScenarioChannels],
    watch: &Watch,
) -> WorkforceFactory {
    let Equipment { keys, checker, linger, right } = equipment;
    let responses = watch.responses();
    let (parts, seed, max_connections) = (parts.clone(), plan.seed, plan.plain.max_connections);
    let kinds: Vec<_> = plan
        .scenarios
        .iter()
        .zip(all_channels)
        .map(|(scenario, channels)| {
            let policy = Arc::new(chain_policy(plan, scenario, &keys));
            (policy, Arc::clone(&channels.weights), Arc::clone(&channels.gauges))
        })
        .collect();
    let (kinds, checker) = (Arc::new(kinds), Arc::new(checker));
    Arc::new(move |_place| {
        let (parts, kinds, responses) = (parts.clone(), Arc::clone(&kinds), responses.clone());
        let (checker, linger, right) = (Arc::new(checker.sibling()), linger.clone(), right.clone());
        Box::pin(async move {
            let client = Arc::new(parts.client.sibling(max_connections));
            let users = kinds.iter().zip(0u32..).map(|((policy, weights, gauges), index)| {
                let context = wec_chains::Context {
                    client: Arc::clone(&client),
                    state: parts.state.clone(),
                    challenges: Arc::clone(&parts.challenges),
                    linger: linger.clone(),
                    checker: Arc::clone(&checker),
                    policy: Arc::clone(policy),
                    clock: parts.clock,
                    right: right.clone(),
                };
                Arc::new(Users {
                    context: Arc::new(context),
                    weights: Arc::clone(weights),
                    gauges: Arc::clone(gauges),
                    sink: Arc::clone(&parts.sink),
                    responses: responses.clone(),
                    seed,
                    // Numbers are unique within the node, whatever the scenario.
                    first: index.saturating_mul(MAX_WORKERS),
                }) as Arc<dyn Workforce>
            });
            Ok(users.collect())
        })
    })
}
