//! What a chain may use, and the policy that it draws its choices from.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use strum::{EnumCount, IntoStaticStr, VariantArray};
use wec_acme::{AccountKeys, Checker, Client, Clock, ExternalAccount, KeyPool, KeyType};
use wec_record::{Chain, ChallengeType};
use wec_store::{ChallengeWriter, State};

use crate::choice::{Profile, RevocationReason};
use crate::linger::Linger;
use crate::mix::Mix;

/// What a chain may use. Made once for each of the requester's runtimes, shared by its workers.
#[derive(Clone)]
pub struct Context {
    /// The CA.
    pub client: Arc<Client>,
    /// What the CA has been made to know, one for the whole process.
    pub state: State,
    /// Where the challenge server looks.
    pub challenges: Arc<dyn ChallengeWriter>,
    /// Where challenge data goes that is done with.
    pub linger: Linger,
    /// Judges downloaded certificates.
    pub checker: Arc<Checker>,
    /// What to draw from.
    pub policy: Arc<Policy>,
    /// The process's clock, the one that the client has.
    pub clock: Clock,
}

impl Context {
    /// The context of one more worker: the same, with connections of its own when the policy says so.
    pub fn for_worker(self: &Arc<Self>) -> Arc<Self> {
        match self.policy.connections {
            Connections::PerWorker => Arc::new(self.with(self.client.sibling(1))),
            Connections::Shared | Connections::PerChain => Arc::clone(self),
        }
    }

    /// The same with another client.
    pub(crate) fn with(&self, client: Client) -> Self {
        Self { client: Arc::new(client), ..self.clone() }
    }
}

/// Who shares connections to the CA, and the nonces that come over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Connections {
    /// The workers of a runtime: the cheapest way to make load.
    #[default]
    Shared,
    /// Nobody: each worker has one connection at most, and keeps it.
    PerWorker,
    /// Nobody, and each chain begins as a client that the CA has never seen ([`Client::stranger`]).
    PerChain,
}

impl Connections {
    /// Every model, in the order of declaration.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("as many as are counted");

    /// The name as written in configuration.
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
            format!("{text:?} is no connection model: there are {names}")
        })
    }
}

/// The step that chains end before, having succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum StopBefore {
    /// No order is finalized: the CA does everything but issue.
    Finalize,
}

impl StopBefore {
    /// The name as written in configuration.
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
            Err(format!("{text:?} is no step that can be stopped before: there is finalize"))
        }
    }
}

/// What chains draw their choices from.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The scenario that chains are run for; every result has it.
    pub scenario: String,
    /// Every name ordered is under this one.
    pub base_domain: String,
    /// How many names an order has, both ends included.
    pub names: RangeInclusive<usize>,
    /// The challenge types that the challenge server answers. One that an authorization does not offer is left out there.
    pub challenges: Mix<ChallengeType>,
    /// What the keys of certificates are made of.
    pub key_types: Mix<KeyType>,
    /// Where they come from; must have been prepared for the RSA types among them.
    pub keys: Arc<KeyPool>,
    /// What the keys of new accounts are made of.
    pub account_key_types: Mix<KeyType>,
    /// Where they come from; must have been prepared for the RSA types among them.
    pub account_keys: Arc<AccountKeys>,
    /// Share of the authorization chain's orders that are left unfinished, 0 to 1.
    pub abandon: f64,
    /// Where chains end before they are done.
    pub stop_before: Option<StopBefore>,
    /// Who shares connections.
    pub connections: Connections,
    /// Contact URLs of new accounts (`mailto:`…), usually none.
    pub contact: Vec<String>,
    /// What new accounts are bound to, if anything.
    pub external_account: Option<ExternalAccount>,
    /// Certificate profiles of new orders.
    pub profiles: Mix<Profile>,
    /// Reasons of revocations.
    pub revocation_reasons: Mix<RevocationReason>,
    /// Share of revocations signed by the certificate's key rather than the account's, 0 to 1.
    pub revoke_by_certificate_key: f64,
    /// Ready orders that expire sooner than this are not used any more.
    pub order_margin: Duration,
    /// The longest that an account, an order or a certificate rests because a limit of the CA is about it; none: they are used
    /// again at once.
    pub longest_rest: Option<Duration>,
}

impl Policy {
    /// Orders of one name under `base_domain`, every challenge type, no profile, no contact, no external account; the
    /// usual reasons of revocations, half of which are signed by the certificate's key.
    pub fn under(base_domain: impl Into<String>) -> Self {
        Self {
            scenario: String::new(),
            base_domain: base_domain.into(),
            names: 1..=1,
            challenges: Mix::even(ChallengeType::ALL),
            key_types: Mix::even([KeyType::P256]),
            keys: Arc::new(KeyPool::empty()),
            account_key_types: Mix::even([KeyType::P256]),
            account_keys: Arc::new(AccountKeys::empty()),
            abandon: 0.0,
            stop_before: None,
            connections: Connections::Shared,
            contact: Vec::new(),
            external_account: None,
            profiles: Mix::even([Profile::default()]),
            revocation_reasons: Mix::even(RevocationReason::USUAL),
            revoke_by_certificate_key: 0.5,
            order_margin: Duration::from_secs(60),
            longest_rest: Some(Duration::from_secs(60)),
        }
    }

    /// Whether `chain` is run at all; what is stored may still leave it nothing to do.
    pub fn runs(&self, chain: Chain) -> bool {
        !(self.stop_before == Some(StopBefore::Finalize) && chain.begins_with_finalize())
    }

    /// Everything that makes no sense, for people; empty when chains can be run with it.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.base_domain.split('.').any(str::is_empty) {
            mistakes.push(format!(
                "base domain {:?} is not a domain name: write it like wec.test",
                self.base_domain
            ));
        }
        if *self.names.start() == 0 || self.names.is_empty() {
            mistakes.push(format!(
                "an order cannot have {} to {} names: the range begins at 1 or more and ends no lower",
                self.names.start(),
                self.names.end()
            ));
        }
        mistakes.extend(self.challenges.mistakes("challenge type"));
        mistakes.extend(self.key_types.mistakes("key type"));
        for kind in self.key_types.items().filter(|kind| !self.keys.has(*kind)) {
            mistakes.push(format!("no {kind} keys were made before the run"));
        }
        mistakes.extend(self.account_key_types.mistakes("account key type"));
        for kind in self.account_key_types.items().filter(|kind| !self.account_keys.has(*kind)) {
            mistakes.push(format!("no {kind} account keys were made before the run"));
        }
        if !(0.0..=1.0).contains(&self.abandon) {
            mistakes
                .push(format!("{} is no share of abandoned orders: give a number from 0 to 1", self.abandon));
        }
        mistakes.extend(self.profiles.mistakes("profile"));
        mistakes.extend(self.revocation_reasons.mistakes("reason of revocations"));
        if !(0.0..=1.0).contains(&self.revoke_by_certificate_key) {
            mistakes.push(format!(
                "{} is no share of revocations by certificate key: give a number from 0 to 1",
                self.revoke_by_certificate_key
            ));
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_begins_with_makes_sense() {
        assert_eq!(Policy::under("wec.test").mistakes(), Vec::<String>::new());
    }

    #[test]
    fn names_every_mistake_at_once() {
        #[expect(clippy::reversed_empty_ranges, reason = "one of the mistakes")]
        let policy = Policy {
            names: 3..=2,
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
            "3 to 2 names",
            "no challenge type",
            "no rsa3072 keys",
            "-0.1 is no share",
            "no reason of revocations",
            "1.5 is no share",
        ] {
            assert!(mistakes.contains(part), "{part} is missing in {mistakes}");
        }
    }
}
