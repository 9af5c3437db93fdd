//! Checks whether a plan can be run, before anything is opened.

use std::sync::Arc;

use wec_acme::{Client, Clock, Config, Dialling, Directory, Roots};
use wec_record::Chain;

use crate::error::StartError;
use crate::guard;
use crate::known_server;
use crate::plan::Plan;
use crate::profiles;

/// Checks whether `plan` can be run: the target may be loaded, is reachable, is trusted, is an ACME server
/// and would register accounts. Returns the client that was used; those of the run are its siblings, so that
/// the directory is read once.
///
/// Runs before anything is opened, so that a failure leaves nothing behind.
///
/// # Errors
/// See [`StartError`].
pub async fn preflight(plan: &Plan, clock: Clock) -> Result<Client, StartError> {
    guard::check(&plan.directory, &plan.permission, &plan.dialling).await?;
    for (flag, url) in plan.challenge_servers() {
        // Each chain also sends requests there, without --connect-to.
        let checked = guard::check(&url, &plan.permission, &Dialling::default()).await;
        checked.map_err(|refused| StartError::ChallengesRefused { flag, refused })?;
    }
    let client = discover(plan, clock).await?;
    let registers = plan.scenarios.iter().any(|scenario| scenario.weights.of(Chain::Registration) > 0.0);
    if registers && plan.eab.is_empty() && client.directory().meta.external_account_required {
        return Err(StartError::ExternalAccountRequired { directory: plan.directory.to_string() });
    }
    profiles::check(plan, &client.directory().meta)?;
    check_resources(plan, client.directory())?;
    if let Some(warning) = known_server::warning(plan, client.directory()) {
        tracing::warn!("{warning}");
    }
    Ok(client)
}

/// Checks that the directory has the resources that the plan's chains need.
fn check_resources(plan: &Plan, directory: &Directory) -> Result<(), StartError> {
    let weighs = |chain: Chain| plan.scenarios.iter().any(|scenario| scenario.weights.of(chain) > 0.0);
    let lacks = |resource: &str| directory.resources().all(|(name, _)| name != resource);
    for chain in Chain::ALL.into_iter().filter(|chain| weighs(*chain)) {
        if let Some(resource) = chain.facts().resource.filter(|resource| lacks(resource)) {
            let directory = plan.directory.to_string();
            return Err(StartError::NoResource { directory, resource, chain });
        }
    }
    Ok(())
}

/// A client of the plan's CA, if the CA may be loaded.
///
/// # Errors
/// See [`StartError`].
pub async fn connect(plan: &Plan, clock: Clock) -> Result<Client, StartError> {
    guard::check(&plan.directory, &plan.permission, &plan.dialling).await?;
    discover(plan, clock).await
}

async fn discover(plan: &Plan, clock: Clock) -> Result<Client, StartError> {
    let found = Client::discover(client_config(plan)?, clock).await;
    found.map_err(|error| StartError::of_ca(error, plan.cacert.as_deref()))
}

fn client_config(plan: &Plan) -> Result<Config, StartError> {
    let roots = match (&plan.cacert, plan.insecure) {
        (Some(path), _) => {
            let pem = std::fs::read(path)
                .map_err(|error| StartError::File { path: path.display().to_string(), error })?;
            Roots::Pem(pem)
        }
        (None, true) => Roots::Insecure,
        (None, false) => Roots::System,
    };
    Ok(Config {
        roots,
        client_certificate: plan.client.certificate.clone(),
        correlation: plan.client.correlation.clone(),
        http: plan.http,
        max_connections: plan.plain.max_connections,
        request_timeout: plan.plain.request_timeout.0,
        gate: Arc::new(plan.permission.clone()),
        dialling: plan.dialling.clone(),
        policy: plan.patience.policy(),
        ..Config::new(plan.directory.clone())
    })
}
