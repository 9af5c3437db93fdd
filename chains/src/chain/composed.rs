//! The composed chain: the steps that the scenario lists, for one account.
//!
//! | step | requests |
//! | --- | --- |
//! | account | newAccount |
//! | order | newOrder |
//! | authorize | for each authorization: fetch it, challenge → polls → order |
//! | wait | none |
//! | finalize | finalize → polls → certificate, with the checks of the certificate chain |
//! | download | certificate |
//! | revoke | revokeCert by the account |
//! | deactivate | authorization, with the status `deactivated`, for each |
//!
//! A certificate that is not revoked is stored when the chain ends.

use std::sync::Arc;

use wec_acme::{Endpoint, Failure, Order, Signer};
use wec_record::Chain;
use wec_store::{NewCertificate, Object, Registration};

use crate::chain::registration;
use crate::composed::Step;
use crate::issuance::IssuancePart;
use crate::scene::{Outcome, Scene};
use crate::steps;

pub(crate) async fn run(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let context = scene.context;
    let policy = &context.policy;
    let issues = policy.choices.steps.issue();
    if !policy.runs(Chain::Composed) {
        return Ok(Outcome::NothingToDo);
    }
    let room = match issues {
        true => match context.state.reserve(Object::Certificate) {
            Some(room) => Some(room),
            None => return Ok(Outcome::NothingToDo),
        },
        false => None,
    };
    let mut made = Made::default();
    let ended = all_steps(scene, &mut made).await;
    let Made { registration, certificate, is_revoked, .. } = made;
    match (room, certificate, &ended) {
        (Some(room), Some(_), _) if is_revoked => room.forfeit(),
        (Some(room), Some(certificate), _) => {
            if let Some(registration) = &registration {
                context.state.certificate_issued(room, registration, certificate).await;
            }
        }
        (Some(room), None, Err(failure)) => steps::settle(room, scene.trace, Endpoint::Finalize, failure),
        _ => {}
    }
    match ended? {
        false => Ok(Outcome::NothingToDo),
        true if issues => Ok(Outcome::Issued(IssuancePart::Finalization(None))),
        true => Ok(Outcome::Done),
    }
}

/// What the steps so far have made.
#[derive(Default)]
struct Made {
    registration: Option<Arc<Registration>>,
    names: Vec<String>,
    order: Option<Box<Order>>,
    certificate: Option<NewCertificate>,
    is_revoked: bool,
}

/// Whether there was an account.
async fn all_steps(scene: &mut Scene<'_>, made: &mut Made) -> Result<bool, Failure> {
    let context = scene.context;
    let policy = &context.policy;
    let mut steps_left = policy.choices.steps.iter().peekable();
    let registration = if steps_left.next_if_eq(&Step::Account).is_some() {
        registration::register(scene).await?
    } else {
        context.state.registration()
    };
    let Some(registration) = registration else { return Ok(false) };
    scene.signer = Some(registration.clone());
    made.registration = Some(registration.clone());
    for step in steps_left {
        take(scene, &registration, step, made).await?;
    }
    Ok(true)
}

/// Takes one step. What it needs was made by earlier ones, or the chain could not have been configured.
async fn take(
    scene: &mut Scene<'_>,
    registration: &Registration,
    step: Step,
    made: &mut Made,
) -> Result<(), Failure> {
    let context = scene.context;
    let account = &registration.account;
    let missing = || Failure::internal(format!("the step {step} has nothing to work with"));
    match step {
        Step::Account => {}
        Step::Order => {
            made.names = scene.new_names();
            scene.draw_profile();
            made.order = Some(steps::new_order(scene, account, &made.names, None).await?);
        }
        Step::Authorize => {
            scene.must_fail = scene.draws(context.policy.choices.fail_validations);
            let order = made.order.take().ok_or_else(missing)?;
            made.order = Some(Box::pin(steps::authorize(scene, account, order)).await?);
        }
        Step::Wait(time) => scene.trace.pause(time).await,
        Step::Finalize => {
            let order = made.order.as_deref().ok_or_else(missing)?;
            made.certificate = Some(Box::pin(steps::issue(scene, account, order, &made.names)).await?);
        }
        Step::Download(times) => {
            let certificate = made.certificate.as_ref().ok_or_else(missing)?;
            let (url, pem) = (&certificate.url, &certificate.pem);
            Box::pin(steps::download_again(scene, account, (url, pem), times)).await?;
        }
        Step::Revoke(reason) => {
            let certificate = made.certificate.as_ref().ok_or_else(missing)?;
            let signer = Signer::Account(account);
            context.client.revoke(scene.trace, signer, &certificate.leaf_der, reason).await?;
            made.is_revoked = true;
        }
        Step::Deactivate => {
            let order = made.order.as_deref().ok_or_else(missing)?;
            for url in &order.authorizations {
                context.client.deactivate_authorization(scene.trace, account, url).await?;
            }
        }
    }
    Ok(())
}
