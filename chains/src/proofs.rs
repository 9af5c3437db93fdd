//! The outcome of each authorization of a chain's order and its time. By them the chain is joined with the hits on the
//! challenge server.
//!
//! All times are those of the requester's own clock: when a challenge's POST was sent, and when the authorization was
//! first seen to be final.

use std::time::Duration;

use wec_acme::{Authorization, AuthorizationStatus, Endpoint, Failure, FailureClass};
use wec_record::AuthorizationResult;

use crate::failing::MustFail;
use crate::scene::{Scene, path_of};

/// Where an authorization stands once its challenge has been answered.
pub(crate) enum Validation {
    /// It is valid.
    Proven,
    /// The CA is looking, and asked to wait so long.
    Awaited { retry_after: Option<Duration>, must_fail: Option<MustFail> },
}

/// Notes an authorization that has just been read. Returns its place among the chain's.
pub(crate) fn looked_at(scene: &mut Scene<'_>, url: &str, authorization: &Authorization) -> usize {
    let is_final = authorization.status != AuthorizationStatus::Pending;
    scene.notes.authorizations.push(AuthorizationResult {
        name: authorization.identifier.validated().to_ascii_lowercase(),
        id: path_of(url).to_owned(),
        challenge: None,
        answered: 0,
        settled: if is_final { last_done(scene) } else { 0 },
    });
    scene.notes.authorizations.len() - 1
}

/// Notes when its challenge was answered, by the attempts after the first `sent_before`, and whether it is final with that.
pub(crate) fn answered(
    scene: &mut Scene<'_>,
    place: usize,
    sent_before: usize,
    answer: &Result<Validation, Failure>,
) {
    let attempts = scene.trace.exchanges().iter().skip(sent_before);
    // The CA does not process an attempt that it refuses (badNonce, busy). It may have processed an attempt without an answer.
    let told = attempts
        .filter(|attempt| attempt.endpoint == Endpoint::Challenge)
        .find(|attempt| attempt.failure.is_none() || attempt.status == 0);
    let sent = told.map_or(0, |attempt| attempt.sent);
    scene.notes.authorizations[place].answered = sent;
    if sent > 0 && (matches!(answer, Ok(Validation::Proven)) || is_refused(answer)) {
        scene.notes.authorizations[place].settled = last_done(scene);
    }
}

/// Notes that polling has ended, if it ended with an authorization that is final.
pub(crate) fn polled(scene: &mut Scene<'_>, place: usize, polled: &Result<Authorization, Failure>) {
    if polled.is_ok() || is_refused(polled) {
        scene.notes.authorizations[place].settled = last_done(scene);
    }
}

/// Whether the CA has declared the authorization anything but valid.
fn is_refused<T>(outcome: &Result<T, Failure>) -> bool {
    outcome.as_ref().is_err_and(|failure| failure.kind == FailureClass::Validation)
}

/// When the answer came that has just been read.
fn last_done(scene: &Scene<'_>) -> u64 {
    scene.trace.exchanges().last().map_or(0, |attempt| attempt.done)
}
