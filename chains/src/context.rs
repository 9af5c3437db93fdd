//! What a chain uses, and the policy for its random choices.

use std::sync::Arc;
use std::time::Duration;

use wec_acme::clock::Deadline;
use wec_acme::{AccountKeys, Checker, Client, Clock, ExternalAccount, KeyPool};
use wec_record::Chain;
use wec_store::{ChallengeWriter, State};

use crate::choices::{Choices, Connections, StopBefore};
use crate::linger::Linger;
use crate::member::Members;

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
        match self.policy.choices.connections {
            Connections::PerWorker => Arc::new(self.with(self.client.sibling(1))),
            Connections::Shared | Connections::PerChain => Arc::clone(self),
        }
    }

    /// The same context with another client.
    pub(crate) fn with(&self, client: Client) -> Self {
        Self { client: Arc::new(client), ..self.clone() }
    }
}

/// The policy for the random choices of chains.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The scenario of the chains; every result has it.
    pub scenario: String,
    /// All names in orders are under this domain.
    pub base_domain: String,
    /// What is drawn, and how often.
    pub choices: Choices,
    /// The members of a fleet.
    pub members: Arc<Members>,
    /// Source of the keys of certificates; must be prepared for the RSA types among them.
    pub keys: Arc<KeyPool>,
    /// Source of the keys of accounts; must be prepared for the RSA types among them.
    pub account_keys: Arc<AccountKeys>,
    /// Contact URLs of new accounts (`mailto:`…), usually none.
    pub contact: Vec<String>,
    /// External account bindings of new accounts, drawn evenly; none if empty.
    pub external_accounts: Vec<ExternalAccount>,
    /// Ready orders that expire within this time are no longer used.
    pub order_margin: Duration,
    /// The longest rest of an account, an order or a certificate after a rate limit of the CA; none: they are
    /// used again at once.
    pub longest_rest: Option<Duration>,
}

impl Policy {
    /// The [default choices](Choices::default) for names under `base_domain`, no contact, no external account.
    pub fn under(base_domain: impl Into<String>) -> Self {
        Self {
            scenario: String::new(),
            base_domain: base_domain.into(),
            choices: Choices::default(),
            members: Arc::default(),
            keys: Arc::new(KeyPool::empty()),
            account_keys: Arc::new(AccountKeys::empty()),
            contact: Vec::new(),
            external_accounts: Vec::new(),
            order_margin: Duration::from_secs(60),
            longest_rest: Some(Duration::from_secs(60)),
        }
    }

    /// Whether `chain` can be run at all; the stored state may still lack what it needs.
    pub fn runs(&self, chain: Chain) -> bool {
        let is_composed = chain == Chain::Composed;
        let finalizes = chain.begins_with_finalize() || is_composed && self.choices.steps.issue();
        if self.choices.stop_before == Some(StopBefore::Finalize) && finalizes {
            return false;
        }
        !is_composed || !self.choices.steps.is_empty()
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
        mistakes.extend(self.choices.mistakes());
        for kind in self.choices.key_types.items().filter(|kind| !self.keys.has(*kind)) {
            mistakes.push(format!("no {kind} keys were made before the run"));
        }
        for kind in self.choices.account_key_types.items().filter(|kind| !self.account_keys.has(*kind)) {
            mistakes.push(format!("no {kind} account keys were made before the run"));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use wec_acme::KeyType;
    use wec_record::ChallengeType;
    use wec_record::plan::PlainScenarioValues;

    use super::*;
    use crate::mix::Mix;

    #[test]
    fn the_default_policy_is_valid() {
        assert_eq!(Policy::under("wec.test").mistakes(), Vec::<String>::new());
    }

    #[test]
    fn names_every_mistake_at_once() {
        let choices = Choices {
            names: (0..=2).into(),
            challenges: Mix::new(vec![(ChallengeType::Http01, 0.0)]),
            key_types: Mix::even([KeyType::Rsa3072]),
            revocation_reasons: Mix::new(Vec::new()),
            revoke_by_certificate_key: 1.5,
            plain: PlainScenarioValues { abandon: -0.1, ..PlainScenarioValues::default() },
            ..Choices::default()
        };
        let policy = Policy { choices, ..Policy::under("wec..test") };
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
