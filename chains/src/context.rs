//! What a chain uses, and the policy for its random choices.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use strum::{EnumCount, IntoStaticStr, VariantArray};
use wec_acme::clock::Deadline;
use wec_acme::{AccountKeys, Behaviour, Checker, Client, Clock, ExternalAccount, KeyPool, KeyType};
use wec_record::plan::Count;
use wec_record::{Chain, ChallengeType};
use wec_store::{ChallengeWriter, State, ValidationFault};

use crate::choice::{Profile, RevocationReason};
use crate::composed::Steps;
use crate::linger::Linger;
use crate::member::Members;
use crate::mix::Mix;
use crate::names::{NameKind, Networks};
use crate::refusal::Refusal;

/// What a chain uses. Created once for each of the requester's runtimes and shared by its workers.
#[derive(Clone)]
pub struct Context {
    /// The CA.
    pub client: Arc<Client>,
    /// The stored state, one for the whole process.
    pub state: State,
    /// Writes the data that the challenge server reads.
    pub challenges: Arc<dyn ChallengeWriter>,
    /// Removes challenge data some time after its use.
    pub linger: Linger,
    /// Checks downloaded certificates.
    pub checker: Arc<Checker>,
    /// The policy for random choices.
    pub policy: Arc<Policy>,
    /// The process's clock, which the client also uses.
    pub clock: Clock,
    /// The end of the right to send: a chain sends only in the term in which it began, and is interrupted after it.
    /// None if it does not end.
    pub right: Option<Deadline>,
}

impl Context {
    /// The context of one more worker: the same, with its own connections if the policy requires it.
    pub fn for_worker(self: &Arc<Self>) -> Arc<Self> {
        match self.policy.connections {
            Connections::PerWorker => Arc::new(self.with(self.client.sibling(1))),
            Connections::Shared | Connections::PerChain => Arc::clone(self),
        }
    }

    /// The same context with another client.
    pub(crate) fn with(&self, client: Client) -> Self {
        Self { client: Arc::new(client), ..self.clone() }
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

impl Connections {
    /// Every model, in the order of declaration.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("as many as are counted");

    /// The name in configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Connections {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|model| model.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is not a connection model: expected one of {names}")
        })
    }
}

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

/// The policy for the random choices of chains.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The scenario of the chains; every result has it.
    pub scenario: String,
    /// All names in orders are under this domain.
    pub base_domain: String,
    /// Number of names in an order.
    pub names: Count,
    /// Weights of the kinds of names. A kind that no enabled challenge type can prove is not drawn.
    pub name_kinds: Mix<NameKind>,
    /// Networks of the addresses in orders.
    pub ip_networks: Networks,
    /// Share of new orders with the names of an earlier certificate, 0 to 1.
    pub repeat_names: f64,
    /// Share of certification requests with a common name, 0 to 1.
    pub common_name: f64,
    /// The validity that new orders request; none: the CA chooses.
    pub validity: Option<Duration>,
    /// Share of new orders for which an account is registered first, 0 to 1.
    pub new_account: f64,
    /// Share of new orders, and of the members of a fleet, that one and the same account has, 0 to 1.
    pub largest_account: f64,
    /// The members of a fleet.
    pub members: Arc<Members>,
    /// The challenge types that the challenge server answers. Types that an authorization does not offer are
    /// skipped.
    pub challenges: Mix<ChallengeType>,
    /// Share of validations that take a detour, 0 to 1: http-01 a redirect, dns-01 a CNAME.
    pub detours: f64,
    /// Share of new orders of which one validation fails on purpose, 0 to 1.
    pub fail_validations: f64,
    /// Weights of the faults of these validations. One that the challenge type cannot have is not drawn.
    pub validation_faults: Mix<ValidationFault>,
    /// Key types of certificates.
    pub key_types: Mix<KeyType>,
    /// Source of those keys; must be prepared for the RSA types among them.
    pub keys: Arc<KeyPool>,
    /// Key types of new accounts.
    pub account_key_types: Mix<KeyType>,
    /// Source of those keys; must be prepared for the RSA types among them.
    pub account_keys: Arc<AccountKeys>,
    /// Share of the authorization chain's orders left unfinished on purpose, 0 to 1.
    pub abandon: f64,
    /// The step before which chains end.
    pub stop_before: Option<StopBefore>,
    /// How connections are shared.
    pub connections: Connections,
    /// Weights of the behaviours of the chains' clients.
    pub behaviours: Mix<Behaviour>,
    /// Contact URLs of new accounts (`mailto:`…), usually none.
    pub contact: Vec<String>,
    /// External account bindings of new accounts, drawn evenly; none if empty.
    pub external_accounts: Vec<ExternalAccount>,
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
    /// Ready orders that expire within this time are no longer used.
    pub order_margin: Duration,
    /// The longest rest of an account, an order or a certificate after a rate limit of the CA; none: they are
    /// used again at once.
    pub longest_rest: Option<Duration>,
}

impl Policy {
    /// Orders with one name under `base_domain`, every standard challenge type, no profile, no contact, no external
    /// account; the usual revocation reasons, half of the revocations signed with the certificate's key.
    pub fn under(base_domain: impl Into<String>) -> Self {
        Self {
            scenario: String::new(),
            base_domain: base_domain.into(),
            names: (1..=1).into(),
            name_kinds: Mix::even([NameKind::Plain]),
            ip_networks: Networks::default(),
            repeat_names: 0.0,
            common_name: 0.0,
            validity: None,
            new_account: 0.0,
            largest_account: 0.0,
            members: Arc::default(),
            challenges: Mix::even(ChallengeType::STANDARD),
            detours: 0.0,
            fail_validations: 0.0,
            validation_faults: Mix::even(ValidationFault::ALL),
            key_types: Mix::even([KeyType::P256]),
            keys: Arc::new(KeyPool::empty()),
            account_key_types: Mix::even([KeyType::P256]),
            account_keys: Arc::new(AccountKeys::empty()),
            abandon: 0.0,
            stop_before: None,
            connections: Connections::Shared,
            behaviours: Mix::even([Behaviour::Proper]),
            contact: Vec::new(),
            external_accounts: Vec::new(),
            profiles: Mix::even([Profile::default()]),
            revocation_reasons: Mix::even(RevocationReason::USUAL),
            revoke_by_certificate_key: 0.5,
            revoke_by_other_account: 0.0,
            refusals: Mix::even(Refusal::ALL),
            steps: Steps::default(),
            order_margin: Duration::from_secs(60),
            longest_rest: Some(Duration::from_secs(60)),
        }
    }

    /// Whether `chain` can be run at all; the stored state may still lack what it needs.
    pub fn runs(&self, chain: Chain) -> bool {
        let is_composed = chain == Chain::Composed;
        let finalizes = chain.begins_with_finalize() || is_composed && self.steps.issue();
        if self.stop_before == Some(StopBefore::Finalize) && finalizes {
            return false;
        }
        !is_composed || !self.steps.is_empty()
    }

    /// All errors of the policy, for people; empty if it is valid.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.base_domain.split('.').any(str::is_empty) {
            mistakes.push(format!(
                "base domain {:?} is not a domain name: write it like wec.test",
                self.base_domain
            ));
        }
        if self.names.at(0.0) == 0 || self.names.most() < self.names.at(0.0) {
            mistakes.push(format!(
                "an order cannot have {} names: the range must begin at 1 or more and must not end below its start",
                self.names
            ));
        }
        mistakes.extend(self.name_kinds.mistakes("kind of name"));
        for (what, value) in [
            ("repeated names", self.repeat_names),
            ("common names", self.common_name),
            ("orders with a new account", self.new_account),
            ("orders of the largest account", self.largest_account),
            ("orders with a failing validation", self.fail_validations),
            ("validations with a detour", self.detours),
        ] {
            if !(0.0..=1.0).contains(&value) {
                mistakes.push(format!("{value} is not a share of {what}: give a number from 0 to 1"));
            }
        }
        mistakes.extend(self.challenges.mistakes("challenge type"));
        mistakes.extend(self.validation_faults.mistakes("validation fault"));
        mistakes.extend(self.key_types.mistakes("key type"));
        for kind in self.key_types.items().filter(|kind| !self.keys.has(*kind)) {
            mistakes.push(format!("no {kind} keys were made before the run"));
        }
        mistakes.extend(self.account_key_types.mistakes("account key type"));
        for kind in self.account_key_types.items().filter(|kind| !self.account_keys.has(*kind)) {
            mistakes.push(format!("no {kind} account keys were made before the run"));
        }
        if !(0.0..=1.0).contains(&self.abandon) {
            mistakes.push(format!(
                "{} is not a share of abandoned orders: give a number from 0 to 1",
                self.abandon
            ));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_valid() {
        assert_eq!(Policy::under("wec.test").mistakes(), Vec::<String>::new());
    }

    #[test]
    fn names_every_mistake_at_once() {
        let policy = Policy {
            names: (0..=2).into(),
            challenges: Mix::new(vec![(ChallengeType::Http01, 0.0)]),
            key_types: Mix::even([KeyType::Rsa3072]),
            abandon: -0.1,
            revocation_reasons: Mix::new(Vec::new()),
            revoke_by_certificate_key: 1.5,
            ..Policy::under("wec..test")
        };
        let mistakes = policy.mistakes().join("\n");
        for part in [
            "\"wec..test\"",
            "0..2 names",
            "no challenge type",
            "no rsa3072 keys",
            "-0.1 is not a share",
            "no revocation reason",
            "1.5 is not a share",
        ] {
            assert!(mistakes.contains(part), "{part} is missing in {mistakes}");
        }
    }
}
