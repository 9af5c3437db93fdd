//! Which failures depend on the load. A rate is judged only by those. No clocks, no I/O.
//!
//! A CA that refuses one revocation in five refuses it at 1/s and at 100/s. Such failures do not show how
//! much load it sustains, but by chance their share can exceed a threshold at any step, and then the search
//! ends far below the knee.
//!
//! | a failure's class | at lower rates | here | depends on the load |
//! | --- | --- | --- | --- |
//! | a refusal (problem, wrong certificate, failed validation …) | fewer than [`ENOUGH`] such chains ended | | no |
//! | a refusal | as frequent, within chance | | no |
//! | a refusal | rarer | more frequent | yes |
//! | any other (429, 5xx, no answer, no connection …) | seen at least [`SEEN`] times, as frequent | | no |
//! | any other | rarer, or not tried | | yes |

use wec_analytics::{WindowFailure, WindowFigures};
use wec_record::threshold::{Metric, Stat, Threshold};
use wec_record::{Chain, FailureClass};

/// With fewer ended chains at lower rates, the frequency of a failure there is not known.
const ENOUGH: u64 = 20;
/// How often a failure that looks like overload must have occurred at lower rates to be independent of the
/// load.
const SEEN: u64 = 5;

/// The results at lower rates.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Baseline {
    ended_by_chain: [u64; Chain::ALL.len()],
    failures: Vec<WindowFailure>,
}

impl Baseline {
    /// Adds the window of a step at a lower rate.
    pub(crate) fn add(&mut self, figures: &WindowFigures) {
        for (ours, theirs) in self.ended_by_chain.iter_mut().zip(figures.ended_by_chain) {
            *ours += theirs;
        }
        for failure in &figures.failures {
            match self.failures.iter_mut().find(|known| known.is_like(failure)) {
                Some(known) => known.count += failure.count,
                None => self.failures.push(failure.clone()),
            }
        }
    }

    /// Whether a failure of a window depends on the load.
    pub(crate) fn depends_on_load(&self, failure: &WindowFailure, figures: &WindowFigures) -> bool {
        let chain = failure.chain.index();
        let (below, here) = (self.ended_by_chain[chain], figures.ended_by_chain[chain]);
        let seen = self.failures.iter().find(|known| known.is_like(failure)).map_or(0, |known| known.count);
        if below < ENOUGH {
            return !is_refusal(failure.class);
        }
        if !is_refusal(failure.class) && seen < SEEN {
            return true;
        }
        // The largest plausible share at lower rates (rule of three if none was seen), plus chance at this
        // rate.
        let most_below = seen as f64 + 2.0 * (seen as f64).sqrt() + 3.0;
        let expected = most_below * here as f64 / below as f64;
        failure.count as f64 > expected + 2.0 * expected.sqrt() + 1.0
    }

    /// The failures of a window that do not depend on the load.
    pub(crate) fn independent<'a>(
        &'a self,
        figures: &'a WindowFigures,
    ) -> impl Iterator<Item = &'a WindowFailure> {
        figures.failures.iter().filter(|failure| !self.depends_on_load(failure, figures))
    }

    /// Whether a failed threshold holds without the failures that do not depend on the load.
    pub(crate) fn excuses(&self, threshold: &Threshold, n: u64, figures: &WindowFigures) -> bool {
        let Metric::Chain(which, Stat::Failed) = &threshold.metric else { return false };
        let meant = |chain: Chain| which.is_none_or(|wanted| wanted == chain);
        let count = |failures: &mut dyn Iterator<Item = &WindowFailure>| -> u64 {
            failures.filter(|failure| meant(failure.chain)).map(|failure| failure.count).sum()
        };
        let independent = count(&mut self.independent(figures));
        if independent == 0 || n == 0 {
            return false;
        }
        let failed = match which {
            None => figures.failed,
            Some(_) => count(&mut figures.failures.iter()),
        };
        let left = failed.saturating_sub(independent) as f64 / n as f64;
        threshold.op.holds(left, threshold.limit.value())
    }
}

/// Whether the CA answered and refused the request for its content, not for its amount.
const fn is_refusal(class: FailureClass) -> bool {
    matches!(
        class,
        FailureClass::Problem
            | FailureClass::UnexpectedStatus
            | FailureClass::Malformed
            | FailureClass::Validation
            | FailureClass::WrongCertificate
            | FailureClass::Accepted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass, count: u64) -> WindowFailure {
        WindowFailure {
            chain: Chain::Revoke,
            class,
            status: 400,
            problem: "badRevocationReason".into(),
            count,
        }
    }

    fn window(ended: u64, failures: &[WindowFailure]) -> WindowFigures {
        let mut ended_by_chain = [0; Chain::ALL.len()];
        ended_by_chain[Chain::Revoke.index()] = ended;
        WindowFigures {
            ended: 10 * ended,
            failed: failures.iter().map(|failure| failure.count).sum(),
            ended_by_chain,
            failures: failures.to_vec(),
            ..WindowFigures::default()
        }
    }

    #[test]
    fn a_failure_depends_on_the_load_when_it_was_rarer_at_lower_rates() {
        use FailureClass::{Problem, ServerError};
        for (class, below, here, depends) in [
            // Chains and failures at lower rates, chains and failures at this rate.
            (Problem, (0, 0), (100, 13), false),
            (Problem, (19, 0), (100, 13), false),
            (Problem, (200, 26), (100, 13), false),
            (Problem, (200, 26), (100, 20), false),
            (Problem, (200, 26), (100, 60), true),
            (Problem, (400, 0), (400, 40), true),
            (Problem, (400, 0), (400, 2), false),
            (ServerError, (0, 0), (100, 3), true),
            (ServerError, (200, 0), (100, 3), true),
            (ServerError, (200, 4), (100, 3), true),
            (ServerError, (200, 20), (100, 11), false),
            (ServerError, (200, 20), (100, 70), true),
        ] {
            let mut baseline = Baseline::default();
            baseline.add(&window(below.0, &[failure(class, below.1)]));
            let figures = window(here.0, &[failure(class, here.1)]);
            let found = baseline.depends_on_load(&figures.failures[0], &figures);
            assert_eq!(found, depends, "{class} {below:?} {here:?}");
        }
    }

    #[test]
    fn only_failures_that_do_not_depend_on_the_load_are_excused() {
        let mut baseline = Baseline::default();
        baseline.add(&window(200, &[failure(FailureClass::Problem, 26)]));
        let (refused, busy) = (failure(FailureClass::Problem, 13), failure(FailureClass::ServerError, 9));
        let all: Threshold = "chain{failed} < 1%".parse().unwrap();
        // 13 failures of 1000 chains are above 1 %; without the refusals there is none.
        let only_refused = window(100, std::slice::from_ref(&refused));
        assert!(baseline.excuses(&all, 1_000, &only_refused));
        // 9 failures of 1000 remain, which is below 1 %; 9 of 500 would be above.
        let both = window(100, &[refused, busy]);
        assert!(baseline.excuses(&all, 1_000, &both));
        assert!(!baseline.excuses(&all, 500, &both));
        let of_revoke: Threshold = "chain.revoke{failed} < 5%".parse().unwrap();
        assert!(baseline.excuses(&of_revoke, 100, &only_refused));
        assert!(!baseline.excuses(&of_revoke, 100, &both), "9 of 100 remain");
        for other in ["chain.refresh{failed} < 1%", "chain{p(95)} < 1s", "dropped < 1%"] {
            assert!(!baseline.excuses(&other.parse().unwrap(), 1_000, &only_refused), "{other}");
        }
    }
}
