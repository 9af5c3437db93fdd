//! What one run of a chain has in hand, what it notes, and how it ends.

use std::sync::Arc;

use rand::rngs::StdRng;
use wec_acme::Trace;
use wec_record::AuthorizationResult;
use wec_store::Registration;

use crate::choice::Profile;
use crate::context::Context;
use crate::issuance;
use crate::present::Presented;

/// What one run of a chain has in hand.
pub(crate) struct Scene<'a> {
    pub(crate) context: &'a Context,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) trace: &'a mut Trace,
    pub(crate) presented: &'a mut Presented,
    /// The account whose key signs: whose fault it is when the CA does not know it.
    pub(crate) signer: Option<Arc<Registration>>,
    /// What the result will have. Boxed, as it would lie in every waiting worker.
    pub(crate) notes: Box<Notes>,
}

/// What a chain notes on its way for its result.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The certificate profile of the chain's order; empty without one.
    pub(crate) profile: String,
    /// Whether what a limit of the CA is about has been put to rest.
    pub(crate) rests: bool,
    /// Why the certificate that it issued could be shown neither right nor wrong; empty otherwise.
    pub(crate) unverified: String,
    /// What became of the order's authorizations.
    pub(crate) authorizations: Vec<AuthorizationResult>,
}

impl Notes {
    /// What newOrder names.
    pub(crate) fn profile(&self) -> Option<&str> {
        Some(&*self.profile).filter(|name| !name.is_empty())
    }
}

impl Scene<'_> {
    /// The authorization of `name` is final: what answered its challenges may go, after a while.
    pub(crate) fn settled(&mut self, name: &str) {
        self.presented.settled(name, &self.context.linger);
    }

    /// Draws a profile for a new order, and notes it: the result has it.
    pub(crate) fn draw_profile(&mut self) {
        let profile: Profile = self.context.policy.profiles.draw(self.rng, |_| true).unwrap_or_default();
        self.notes.profile = profile.name().unwrap_or_default().to_owned();
    }
}

/// How a chain ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should.
    Done,
    /// It has a certificate, downloaded and not wrong.
    Issued(issuance::Part),
    /// It left an order unfinished, as it should.
    Abandoned,
    /// There was nothing in the stored state to do it with, or a limit leaves no room for what it makes.
    NothingToDo,
}
