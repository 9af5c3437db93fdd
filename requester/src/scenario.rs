//! One load of a run: its executor, its rate or workers, and the choices of its users.
//!
//! A plan has one or several scenarios, concurrent or one after the other.

use std::ops::RangeInclusive;
use std::time::Duration;

use wec_acme::{Behaviour, KeyType};
use wec_chains::{
    Connections, Mix, NameKind, Networks, Profile, Refusal, RevocationReason, Steps, StopBefore,
};
use wec_record::plan::Count;
use wec_record::{Chain, ChallengeType};
use wec_store::ValidationFault;

use crate::executor::{Load, OnFailure};
use crate::picker::Weights;

/// One load of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Unique in the plan.
    pub name: String,
    /// Start time: after the run's start, or after the end of `after`.
    pub start_at: Duration,
    /// The scenario whose end it waits for.
    pub after: Option<String>,
    /// Longest time from its start to the start of its last iteration, without pauses.
    pub run_time: Duration,
    /// The executor and its load.
    pub load: Load,
    /// Pause between two iterations of one worker, with an executor with a number of workers.
    pub think_time: Option<RangeInclusive<Duration>>,
    /// Weights of chains in the picker.
    pub weights: Weights,
    /// Number of names in an order.
    pub names_per_order: Count,
    /// Weights of the kinds of names.
    pub name_kinds: Mix<NameKind>,
    /// Networks of the addresses in orders.
    pub ip_networks: Networks,
    /// Share of orders with the names of an earlier certificate, 0 to 1.
    pub repeat_names: f64,
    /// Share of certification requests with a common name, 0 to 1.
    pub common_name: f64,
    /// The validity that new orders request; none: the CA chooses.
    pub validity: Option<Duration>,
    /// Share of new orders for which an account is registered first, 0 to 1.
    pub new_account: f64,
    /// Share of new orders, and of the members of a fleet, that one and the same account has, 0 to 1.
    pub largest_account: f64,
    /// Weights of the challenge types.
    pub challenge_types: Mix<ChallengeType>,
    /// Share of validations that take a detour, 0 to 1: http-01 a redirect, dns-01 a CNAME.
    pub detours: f64,
    /// Share of new orders of which one validation fails on purpose, 0 to 1.
    pub fail_validations: f64,
    /// Weights of the faults of these validations.
    pub validation_faults: Mix<ValidationFault>,
    /// Weights of the key types of certificates.
    pub key_types: Mix<KeyType>,
    /// Weights of the key types of accounts.
    pub account_key_types: Mix<KeyType>,
    /// How connections to the CA are shared.
    pub connections: Connections,
    /// Weights of the behaviours of the chains' clients.
    pub behaviours: Mix<Behaviour>,
    /// Share of new orders left unfinished on purpose, 0 to 1.
    pub abandon: f64,
    /// The step before which chains end.
    pub stop_before: Option<StopBefore>,
    /// Weights of the certificate profiles of new orders.
    pub profile: Mix<Profile>,
    /// Weights of the reasons of revocations.
    pub revoke_reasons: Mix<RevocationReason>,
    /// Share of revocations signed with the certificate's key, 0 to 1.
    pub revoke_by_certificate_key: f64,
    /// Share of revocations by another account, 0 to 1.
    pub revoke_by_other_account: f64,
    /// Weights of the requests of the refusals chain.
    pub refusals: Mix<Refusal>,
    /// The steps of the chain composed.
    pub steps: Steps,
    /// What workers do after a failure of the CA or the network.
    pub on_failure: OnFailure,
}

/// Time after the last step of recorded arrivals, so that all of them are due before the end.
const ARRIVALS_END: Duration = Duration::from_secs(1);

impl Scenario {
    /// A scenario that starts this chain so many times in each step, and is otherwise as this one. With a
    /// profile, its orders have it.
    #[must_use]
    pub fn repeating(
        &self,
        name: String,
        chain: Chain,
        profile: Option<Profile>,
        counts: &[u64],
        step: Duration,
    ) -> Self {
        let steps = u32::try_from(counts.len()).unwrap_or(u32::MAX);
        Self {
            name,
            run_time: step.saturating_mul(steps).saturating_add(ARRIVALS_END),
            load: Load::of_counts(counts, step),
            weights: Weights::only(chain),
            profile: profile.map_or_else(|| self.profile.clone(), |profile| Mix::even([profile])),
            ..self.clone()
        }
    }
}
