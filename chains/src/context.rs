//! What a chain may use, and the policy that it draws its choices from.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use wec_acme::{Checker, Client, Clock, ExternalAccount};
use wec_record::ChallengeType;
use wec_store::{ChallengeWriter, State};

/// What a chain may use. Made once for each of the requester's runtimes, shared by its workers.
#[derive(Clone)]
pub struct Context {
    /// The CA.
    pub client: Arc<Client>,
    /// What the CA has been made to know, one for the whole process.
    pub state: State,
    /// Where the challenge server looks.
    pub challenges: Arc<dyn ChallengeWriter>,
    /// Judges downloaded certificates.
    pub checker: Arc<Checker>,
    /// What to draw from.
    pub policy: Arc<Policy>,
    /// The process's clock, the one that the client has.
    pub clock: Clock,
}

/// What chains draw their choices from.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Every name ordered is under this one.
    pub base_domain: String,
    /// How many names an order has, both ends included.
    pub names: RangeInclusive<usize>,
    /// The challenge types that the challenge server answers.
    pub challenges: Vec<ChallengeType>,
    /// Contact URLs of new accounts (`mailto:`…), usually none.
    pub contact: Vec<String>,
    /// What new accounts are bound to, if anything.
    pub external_account: Option<ExternalAccount>,
    /// Reason codes for revocations (RFC 5280 §5.3.1); none: the request has no reason.
    pub revocation_reasons: Vec<Option<u8>>,
    /// Share of revocations signed by the certificate's key rather than the account's, 0 to 1.
    pub revoke_by_certificate_key: f64,
    /// Ready orders that expire sooner than this are not used any more.
    pub order_margin: Duration,
}

impl Policy {
    /// Orders of one name under `base_domain`, every challenge type, no contact, no external account.
    ///
    /// Reasons are those that a subscriber may give to a public CA: none, unspecified, keyCompromise,
    /// affiliationChanged, superseded and cessationOfOperation. Keys are never used twice, so that keyCompromise
    /// blocks nothing but the key of the certificate itself.
    pub fn under(base_domain: impl Into<String>) -> Self {
        Self {
            base_domain: base_domain.into(),
            names: 1..=1,
            challenges: ChallengeType::ALL.to_vec(),
            contact: Vec::new(),
            external_account: None,
            revocation_reasons: vec![None, Some(0), Some(1), Some(3), Some(4), Some(5)],
            revoke_by_certificate_key: 0.5,
            order_margin: Duration::from_secs(60),
        }
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
        if self.challenges.is_empty() {
            mistakes.push("no challenge type is enabled: enable http-01, tls-alpn-01 or dns-01".to_owned());
        }
        if self.revocation_reasons.is_empty() {
            mistakes.push("there is no revocation reason to draw: list at least one".to_owned());
        }
        // RFC 5280 §5.3.1: 7 is unused, 10 is the last.
        for reason in self.revocation_reasons.iter().flatten().filter(|reason| **reason == 7 || **reason > 10)
        {
            mistakes.push(format!("{reason} is no revocation reason: RFC 5280 has 0 to 6 and 8 to 10"));
        }
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
            challenges: Vec::new(),
            revocation_reasons: vec![Some(7), None, Some(11)],
            revoke_by_certificate_key: 1.5,
            ..Policy::under("wec..test")
        };
        let mistakes = policy.mistakes().join("\n");
        for part in
            ["\"wec..test\"", "3 to 2 names", "no challenge type", "7 is no", "11 is no", "1.5 is no share"]
        {
            assert!(mistakes.contains(part), "{part} is missing in {mistakes}");
        }
    }
}
