//! The data of one run of a chain, its notes, and how it ends.

use std::sync::Arc;

use rand::RngExt as _;
use rand::rngs::StdRng;
use wec_acme::Trace;
use wec_record::{AuthorizationResult, ChallengeType, Identifier};
use wec_store::Registration;

use crate::choice::Profile;
use crate::context::{Context, Policy};
use crate::issuance;
use crate::member::Member;
use crate::names::{self, NameKind};
use crate::present::Presented;

/// The data of one run of a chain.
pub(crate) struct Scene<'a> {
    pub(crate) context: &'a Context,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) trace: &'a mut Trace,
    pub(crate) presented: &'a mut Presented,
    /// The account whose key signs. It is dropped if the CA does not know it.
    pub(crate) signer: Option<Arc<Registration>>,
    /// The member of a fleet whose certificate is renewed.
    pub(crate) member: Option<Member>,
    /// Whether a validation of the next authorization must fail.
    pub(crate) must_fail: bool,
    /// Whether the chain failed because a validation failed that had to, in the right way.
    pub(crate) failed_on_purpose: bool,
    /// Notes for the result. Boxed, because every waiting worker would have them.
    pub(crate) notes: Box<Notes>,
}

/// What a chain notes for its result.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The certificate profile of the chain's order; empty without one.
    pub(crate) profile: String,
    /// Whether the object of a rate limit rests.
    pub(crate) rests: bool,
    /// Why the issued certificate could not be verified; empty otherwise.
    pub(crate) unverified: String,
    /// The path of its order's URL; empty without one.
    pub(crate) order: String,
    /// The serial number of the certificate that it downloaded or revoked, in hex; empty without one.
    pub(crate) serial: String,
    /// The results of the order's authorizations.
    pub(crate) authorizations: Vec<AuthorizationResult>,
}

impl Notes {
    /// The certificate profile for newOrder.
    pub(crate) fn profile(&self) -> Option<&str> {
        Some(&*self.profile).filter(|name| !name.is_empty())
    }
}

impl Scene<'_> {
    /// The authorization of `name` is final: its challenge data is removed after the linger time.
    pub(crate) fn settled(&mut self, name: &str) {
        self.presented.settled(name, &self.context.linger);
    }

    /// Notes the order, for the result.
    pub(crate) fn note_order(&mut self, url: &str) {
        self.notes.order = path_of(url).to_owned();
    }

    /// Whether one of this share is drawn, 0 to 1.
    pub(crate) fn draws(&mut self, share: f64) -> bool {
        // The usual share of 0 needs no random number.
        share > 0.0 && self.rng.random_bool(share)
    }

    /// Names for a new order, as many and of the kinds that the policy draws. No earlier chain has used them, except
    /// addresses, and the names of repeated orders.
    pub(crate) fn new_names(&mut self) -> Vec<String> {
        let context = self.context;
        let (policy, state) = (&context.policy, &context.state);
        let provable =
            |types: &[ChallengeType]| policy.choices.challenges.items().any(|kind| types.contains(&kind));
        if self.draws(policy.choices.plain.repeat_names)
            && let Some(names) = state.names_of_a_certificate()
            && names.iter().all(|name| provable(Identifier::of(name).challenge_types()))
        {
            return names;
        }
        drawn_names(policy, self.rng, |_| state.unique_name(&policy.base_domain))
    }

    /// The names of a member of a fleet: always the same, as many and of the kinds that the policy draws.
    pub(crate) fn names_of(&self, member: Member) -> Vec<String> {
        let policy = &self.context.policy;
        drawn_names(policy, &mut member.rng(), |place| match place {
            0 => format!("m{:x}.{}", member.0, policy.base_domain),
            place => format!("m{:x}-{place}.{}", member.0, policy.base_domain),
        })
    }

    /// Draws a profile for a new order, and notes it for the result.
    pub(crate) fn draw_profile(&mut self) {
        let profile: Profile =
            self.context.policy.choices.profiles.draw(self.rng, |_| true).unwrap_or_default();
        self.notes.profile = profile.name().unwrap_or_default().to_owned();
    }
}

/// The path of a URL, and what follows it: what a CA's own records call the resource by, and unique, which its last segment
/// need not be.
pub(crate) fn path_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |scheme| scheme + 3);
    url[authority..].find('/').map_or(url, |path| &url[authority + path..])
}

/// Names, as many and of the kinds that the policy draws; `plain` makes the plain name at a place.
fn drawn_names(policy: &Policy, rng: &mut StdRng, plain: impl Fn(u32) -> String) -> Vec<String> {
    let provable = |kind: NameKind| {
        policy.choices.challenges.items().any(|challenge| kind.challenge_types().contains(&challenge))
    };
    let count = policy.choices.names.at(rng.random());
    let mut names = Vec::with_capacity(count as usize);
    for place in 0..count {
        let kind = policy.choices.name_kinds.draw(rng, provable).unwrap_or(NameKind::Plain);
        let name = names::of_kind(kind, plain(place), rng.random(), &policy.choices.ip_networks);
        // A small network has few addresses.
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// How a chain ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It succeeded.
    Done,
    /// It has a certificate, downloaded and not wrong.
    Issued(issuance::IssuancePart),
    /// It left an order unfinished on purpose.
    Abandoned,
    /// The stored state lacks what it needs, or a limit does not allow what it makes.
    NothingToDo,
}
