//! `Choices`: what chains draw, and how often.

use std::str::FromStr;
use std::time::Duration;

use strum::{EnumCount, IntoStaticStr, VariantArray};
use wec_acme::{Behaviour, KeyType};
use wec_record::ChallengeType;
use wec_record::plan::{Count, PlainScenarioValues};
use wec_store::ValidationFault;

use crate::choice::{Profile, RevocationReason};
use crate::composed::Steps;
use crate::mix::Mix;
use crate::names::{NameKind, Networks};
use crate::refusal::Refusal;

/// What the chains of a scenario draw, and how often. A plan has it, and the [`Policy`](crate::Policy) of its chains.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// Number of names in an order.
    pub names: Count,
    /// Weights of the kinds of names. A kind that no enabled challenge type can prove is not drawn.
    pub name_kinds: Mix<NameKind>,
    /// Networks of the addresses in orders.
    pub ip_networks: Networks,
    /// The validity that new orders request; none: the CA chooses.
    pub validity: Option<Duration>,
    /// The challenge types that the challenge server answers. Types that an authorization does not offer are
    /// skipped.
    pub challenges: Mix<ChallengeType>,
    /// Share of new orders of which one validation fails on purpose, 0 to 1.
    pub fail_validations: f64,
    /// Weights of the faults of these validations. One that the challenge type cannot have is not drawn.
    pub validation_faults: Mix<ValidationFault>,
    /// Key types of certificates.
    pub key_types: Mix<KeyType>,
    /// Key types of new accounts.
    pub account_key_types: Mix<KeyType>,
    /// The step before which chains end.
    pub stop_before: Option<StopBefore>,
    /// How connections are shared.
    pub connections: Connections,
    /// Weights of the behaviours of the chains' clients.
    pub behaviours: Mix<Behaviour>,
    /// Weights of the certificate profiles of new orders.
    pub profiles: Mix<Profile>,
    /// Weights of the revocation reasons.
    pub revocation_reasons: Mix<RevocationReason>,
    /// Share of revocations signed with the certificate's key instead of the account's, 0 to 1.
    pub revoke_by_certificate_key: f64,
    /// Share of revocations by another account, which gets authorizations for all names first, 0 to 1.
    pub revoke_by_other_account: f64,
    /// Weights of the requests that the CA must refuse.
    pub refusals: Mix<Refusal>,
    /// The steps of the composed chain.
    pub steps: Steps,
    /// Values that the plan records as they are, such as shares of orders.
    pub plain: PlainScenarioValues,
}

impl Default for Choices {
    /// Orders with one name, every standard challenge type, no profile; the usual revocation reasons, half of the
    /// revocations signed with the certificate's key.
    fn default() -> Self {
        Self {
            names: (1..=1).into(),
            name_kinds: Mix::even([NameKind::Plain]),
            ip_networks: Networks::default(),
            validity: None,
            challenges: Mix::even(ChallengeType::STANDARD),
            fail_validations: 0.0,
            validation_faults: Mix::even(ValidationFault::ALL),
            key_types: Mix::even([KeyType::P256]),
            account_key_types: Mix::even([KeyType::P256]),
            stop_before: None,
            connections: Connections::Shared,
            behaviours: Mix::even([Behaviour::Proper]),
            profiles: Mix::even([Profile::default()]),
            revocation_reasons: Mix::even(RevocationReason::USUAL),
            revoke_by_certificate_key: 0.5,
            revoke_by_other_account: 0.0,
            refusals: Mix::even(Refusal::ALL),
            steps: Steps::default(),
            plain: PlainScenarioValues::default(),
        }
    }
}

impl Choices {
    /// All errors, for people; empty if it is valid.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.names.at(0.0) == 0 || self.names.most() < self.names.at(0.0) {
            mistakes.push(format!(
                "an order cannot have {} names: the range must begin at 1 or more and must not end below its start",
                self.names
            ));
        }
        mistakes.extend(self.name_kinds.mistakes("kind of name"));
        for (what, value) in [
            ("repeated names", self.plain.repeat_names),
            ("common names", self.plain.common_name),
            ("orders with a new account", self.plain.new_account),
            ("orders of the largest account", self.plain.largest_account),
            ("orders with a failing validation", self.fail_validations),
            ("validations with a detour", self.plain.detours),
            ("abandoned orders", self.plain.abandon),
        ] {
            if !(0.0..=1.0).contains(&value) {
                mistakes.push(format!("{value} is not a share of {what}: give a number from 0 to 1"));
            }
        }
        mistakes.extend(self.challenges.mistakes("challenge type"));
        mistakes.extend(self.validation_faults.mistakes("validation fault"));
        mistakes.extend(self.key_types.mistakes("key type"));
        mistakes.extend(self.account_key_types.mistakes("account key type"));
        mistakes.extend(self.behaviours.mistakes("behaviour"));
        mistakes.extend(self.profiles.mistakes("profile"));
        mistakes.extend(self.revocation_reasons.mistakes("revocation reason"));
        mistakes.extend(self.refusals.mistakes("kind of refusal"));
        if !(0.0..=1.0).contains(&self.revoke_by_certificate_key) {
            mistakes.push(format!(
                "{} is not a share of revocations by certificate key: give a number from 0 to 1",
                self.revoke_by_certificate_key
            ));
        }
        if !(0.0..=1.0 - self.revoke_by_certificate_key.clamp(0.0, 1.0))
            .contains(&self.revoke_by_other_account)
        {
            mistakes.push(format!(
                "{} is not a share of revocations by another account: with {} by certificate key, give a number from 0 to \
                 {}",
                self.revoke_by_other_account,
                self.revoke_by_certificate_key,
                1.0 - self.revoke_by_certificate_key.clamp(0.0, 1.0)
            ));
        }
        mistakes
    }
}

/// How connections to the CA, and the nonces received on them, are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Connections {
    /// Shared by the workers of a runtime: the least effort for the load tester.
    #[default]
    Shared,
    /// Not shared: each worker has at most one connection and keeps it.
    PerWorker,
    /// Not shared, and each chain starts as a client that the CA has not seen before ([`Client::stranger`]).
    PerChain,
}

wec_record::closed_set!(Connections, "a connection model");

/// The step before which chains end successfully.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum StopBefore {
    /// No order is finalized: the CA does everything except issuing.
    Finalize,
}

impl StopBefore {
    /// The name in configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl FromStr for StopBefore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::Finalize.name() {
            Ok(Self::Finalize)
        } else {
            Err(format!("chains cannot stop before {text:?}: expected finalize"))
        }
    }
}
