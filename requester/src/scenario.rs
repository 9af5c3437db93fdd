//! One load of a run: which executor starts iterations, how hard, and what its users do.
//!
//! A plan has one scenario or several, side by side or one after the other.

use std::ops::RangeInclusive;
use std::time::Duration;

use wec_acme::KeyType;
use wec_chains::{Connections, Mix, Profile, RevocationReason, StopBefore};
use wec_record::ChallengeType;

use crate::executor::{Load, OnFailure};
use crate::picker::Weights;

/// One load of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Unique in the plan.
    pub name: String,
    /// When it starts: so long after the run's start, or after the end of `after`.
    pub start_at: Duration,
    /// The scenario whose end it waits for.
    pub after: Option<String>,
    /// From its start to its last iteration's start, at most; pauses not counted.
    pub run_time: Duration,
    /// Who starts iterations, and when.
    pub load: Load,
    /// Between two iterations of one worker, with an executor that keeps workers.
    pub think_time: Option<RangeInclusive<Duration>>,
    /// How the picker weighs chains.
    pub weights: Weights,
    /// Names in an order.
    pub names_per_order: RangeInclusive<u32>,
    /// Challenge types that chains may choose.
    pub challenge_types: Mix<ChallengeType>,
    /// What the certificates' keys are made of.
    pub key_types: Mix<KeyType>,
    /// What the accounts' keys are made of.
    pub account_key_types: Mix<KeyType>,
    /// Who shares connections to the CA.
    pub connections: Connections,
    /// Share of new orders that are left unfinished, 0 to 1.
    pub abandon: f64,
    /// Where chains end before they are done.
    pub stop_before: Option<StopBefore>,
    /// Certificate profiles of new orders.
    pub profile: Mix<Profile>,
    /// Reasons of revocations.
    pub revoke_reasons: Mix<RevocationReason>,
    /// Share of revocations that are signed by the certificate's key, 0 to 1.
    pub revoke_by_certificate_key: f64,
    /// What workers do when chains fail for the CA's or the network's reasons.
    pub on_failure: OnFailure,
}
