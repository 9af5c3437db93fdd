//! Chains that the plan includes and that never succeeded. A run with such a chain has not passed, whatever
//! its thresholds.
//!
//! | chain | never succeeded when |
//! | --- | --- |
//! | was run | at least ten times, and every one failed |
//! | was not run, though included | the run took 60 s and 100 iterations, and the chain was never possible |
//! | certificate, included | the run took 60 s and 100 iterations, and no certificate was issued |
//!
//! The same applies to a run in which the CA accepted, even once, what it must refuse. At its end, a short run has not
//! passed either if no certificate was issued although its plan includes a chain that issues ([`nothing_issued`]).
//!
//! A chain is included when it has weight, `--stop-before` and limits allow it, and the chain that makes what
//! it needs is included or there was such an object in the state. After a change by hand during the run only
//! the first rule applies.

use std::collections::BTreeMap;

use wec_record::plan::Scenario;
use wec_record::{Chain, FailureClass, Mark, MarkBy, MarkWhat, Object};

use crate::snapshot::{FailureFigures, FailureScope, NeverSucceeded, Snapshot};
use crate::way_out::way_out;
use crate::wording::{counted, duration};

/// This many failures of one chain are not chance.
const ENOUGH: u64 = 10;
/// The same for a run that is not short: workers that back off run few iterations.
const ENOUGH_IN_LONG: u64 = 3;
/// So many iterations without a failure reach a chain that issues, unless nothing lets them.
const FEW: u64 = 30;
/// A shorter run may not have reached every chain.
const LONG_NS: u64 = 60_000_000_000;
/// The same in iterations.
const MANY: u64 = 100;

/// These chains in the run so far, with the reason in a sentence each.
pub(crate) fn never_succeeded(snapshot: &Snapshot) -> Vec<NeverSucceeded> {
    let wishes = Wishes::of(snapshot);
    let iterations: u64 = snapshot.chains.values().map(|chain| chain.count).sum();
    let long = snapshot.elapsed_ns >= LONG_NS && iterations >= MANY;
    let over = || format!("in {iterations} iterations over {}", duration(snapshot.elapsed_ns));
    let mut found = Vec::new();
    for (&chain, figures) in &snapshot.chains {
        let (count, failed) = (figures.count, figures.failed);
        // Abandoned iterations are neither; if all others failed, the failures decide.
        let succeeded = count - failed - figures.abandoned.min(count - failed);
        let enough = if snapshot.elapsed_ns >= LONG_NS { ENOUGH_IN_LONG } else { ENOUGH };
        let why = if failed >= enough && succeeded == 0 {
            Some(format!(
                "the {chain} chain never succeeded: {failed} of {count} failed{}",
                cause(snapshot, chain)
            ))
        } else if !long || !wishes.wants(chain) {
            None
        } else if count == 0 && !wishes.may_be_chance(chain, iterations) {
            let lacking = chain
                .needed()
                .filter(|needed| snapshot.chains[needed].count == snapshot.chains[needed].failed);
            let because = lacking.map_or_else(
                || ": no worker ever found an object that it needs".to_owned(),
                |needed| match snapshot.chains[&needed].count {
                    0 => format!(", because no {needed} chain was run either"),
                    _ => format!(", because no {needed} chain succeeded{}", cause(snapshot, needed)),
                },
            );
            Some(format!("the {chain} chain never became possible {}{because}", over()))
        } else if chain == Chain::Certificate && snapshot.issued.count == 0 {
            Some(format!(
                "no certificate was issued {}: the certificate chain was run {} and never succeeded{}",
                over(),
                counted(count, "time", "times"),
                cause(snapshot, chain)
            ))
        } else {
            None
        };
        found.extend(why.map(|why| NeverSucceeded { chain, count, why }));
    }
    found.extend(accepted(snapshot));
    found
}

/// Why a run without one certificate has not passed, however short it was: its plan includes chains that issue. To be
/// asked when the run has ended. A few iterations of which none failed may not have reached such a chain.
pub(crate) fn nothing_issued(snapshot: &Snapshot) -> Option<String> {
    let wishes = Wishes::of(snapshot);
    let wanted = Chain::ALL.into_iter().any(|chain| chain.facts().issues && wishes.wants(chain));
    let run = || snapshot.chains.iter().filter(|(_, figures)| figures.count > 0);
    let iterations: u64 = run().map(|(_, figures)| figures.count).sum();
    let failed: u64 = run().map(|(_, figures)| figures.failed).sum();
    if snapshot.issued.count > 0 || !wanted || failed == 0 && iterations < FEW {
        return None;
    }
    let ran: Vec<_> = run().map(|(chain, figures)| format!("{} {chain}", figures.count)).collect();
    Some(format!(
        "no certificate was issued: the chains that ran are {}, of which {failed} failed; run longer, or give the chains that \
         issue the weight 0 if none is to be issued",
        ran.join(", ")
    ))
}

/// What the CA accepted although it must refuse it: requests of the refusals chain, and validations of other chains,
/// whose requests are right.
fn accepted(snapshot: &Snapshot) -> impl Iterator<Item = NeverSucceeded> {
    let validating = Chain::ALL.into_iter().filter(|chain| *chain != Chain::Refusals);
    let validations = validating.filter_map(|chain| {
        let of_chain =
            |failure: &FailureFigures| failure.scope == FailureScope::Chain && failure.name == chain.name();
        let (count, kinds) = accepted_of(snapshot, of_chain)?;
        let validations = counted(count, "validation", "validations");
        let why = format!("the CA accepted {validations} that it must refuse: {kinds}");
        Some(NeverSucceeded { chain, count, why })
    });
    let requests = accepted_of(snapshot, |failure| failure.scope == FailureScope::Request);
    let requests = requests.map(|(count, kinds)| {
        let requests = counted(count, "request", "requests");
        let why = format!("the CA accepted {requests} that it must refuse: {kinds}");
        NeverSucceeded { chain: Chain::Refusals, count, why }
    });
    validations.chain(requests)
}

/// How often, and what.
fn accepted_of(snapshot: &Snapshot, counts: impl Fn(&FailureFigures) -> bool) -> Option<(u64, String)> {
    let of_class = |failure: &&FailureFigures| failure.class == Some(FailureClass::Accepted);
    let accepted: Vec<_> =
        snapshot.failures.iter().filter(of_class).filter(|failure| counts(failure)).collect();
    let count: u64 = accepted.iter().map(|failure| failure.count).sum();
    let mut kinds: Vec<_> = accepted.iter().map(|failure| failure.detail.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    (count > 0).then(|| (count, kinds.join(", ")))
}

/// The most frequent error of the chain and its remedy, as the end of a sentence.
pub(crate) fn cause(snapshot: &Snapshot, chain: Chain) -> String {
    let of_chain =
        |failure: &&FailureFigures| failure.scope == FailureScope::Chain && failure.name == chain.name();
    let Some(most) = snapshot.failures.iter().find(of_chain) else { return String::new() };
    let text: String = most.example.replace(char::is_control, " ");
    let way = way_out(most.class, &most.problem, &text).map_or_else(String::new, |way| format!("; {way}"));
    format!(", {} of them by: {text}{way}", most.count)
}

/// The chains that the plan in the run's header includes.
struct Wishes<'a> {
    snapshot: &'a Snapshot,
    /// For each scenario, the number of iterations ended, and the weights of the chains that it may run.
    scenarios: Vec<(u64, BTreeMap<Chain, f64>)>,
    /// Chains whose objects have a limit.
    limited: Vec<Chain>,
}

impl<'a> Wishes<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let plan = snapshot.run.stamp.plan.as_deref();
        let by_hand = |mark: &&Mark| {
            matches!(mark.what, MarkWhat::Weights | MarkWhat::Limits) && mark.by != MarkBy::Generator
        };
        let planned = plan.map_or(&[][..], |plan| plan.scenarios.as_slice());
        let planned = if snapshot.marks.iter().any(|mark| by_hand(&mark)) { &[] } else { planned };
        let scenario = |planned: &Scenario| {
            let ended = snapshot.scenarios.get(&planned.name);
            let stops = planned.stop_before.is_some();
            let weights = Chain::ALL.into_iter().filter(|chain| !(stops && chain.begins_with_finalize()));
            let weights = weights.map(|chain| (chain, planned.weights.of(chain)));
            (ended.map_or(0, |figures| figures.ended), weights.filter(|(_, weight)| *weight > 0.0).collect())
        };
        let limits = plan.map(|plan| plan.limits).unwrap_or_default();
        let is_limited = |chain: &Chain| chain.facts().makes.and_then(|made| limits.on(made)).is_some();
        Self {
            snapshot,
            scenarios: planned.iter().map(scenario).collect(),
            limited: Chain::ALL.into_iter().filter(is_limited).collect(),
        }
    }

    /// Whether the plan includes it.
    fn wants(&self, chain: Chain) -> bool {
        let weighs = self.scenarios.iter().any(|(_, weights)| weights.contains_key(&chain));
        let figures = &self.snapshot.chains[&chain];
        // A chain that was never run may have reached its limit in an earlier run.
        let excluded = figures.count == 0 && self.limited.contains(&chain);
        weighs && !excluded && chain.needed().is_none_or(|needed| self.is_made(needed))
    }

    /// Whether the object that the chain makes existed, or should have been made.
    fn is_made(&self, chain: Chain) -> bool {
        let figures = &self.snapshot.chains[&chain];
        let state = &self.snapshot.state;
        let stored = chain.facts().makes.map_or(0, |made| match made {
            Object::Registration => state.registrations,
            Object::Order => state.authorizations,
            Object::Certificate => state.certificates,
        });
        // If all orders are abandoned, none becomes ready.
        let abandons_all = figures.abandoned > 0 && figures.abandoned == figures.count - figures.failed;
        !abandons_all && (stored > 0 || figures.count > figures.failed || self.wants(chain))
    }

    /// Whether chance alone may explain that it was not chosen: its object was there, and its weight is
    /// small.
    fn may_be_chance(&self, chain: Chain, iterations: u64) -> bool {
        let made = |needed: Chain| self.snapshot.chains[&needed].count > self.snapshot.chains[&needed].failed;
        let share = |weights: &BTreeMap<Chain, f64>| {
            weights.get(&chain).map_or(0.0, |weight| weight / weights.values().sum::<f64>())
        };
        let expected = match self.scenarios.as_slice() {
            [(_, weights)] => share(weights) * iterations as f64,
            several => several.iter().map(|(ended, weights)| share(weights) * *ended as f64).sum(),
        };
        chain.needed().is_none_or(made) && expected < ENOUGH as f64
    }
}
