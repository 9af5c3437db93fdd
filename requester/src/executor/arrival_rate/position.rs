//! The position of a runtime's next arrival on the total of the ramp.

use wec_record::plan::RateUnit;

use super::super::Iterated;
use crate::pace::{Arrivals, RequestBudget, Spacing};

/// The position of this runtime's next arrival on the ramp's total.
pub(super) struct Position {
    arrivals: Arrivals,
    /// For a rate of requests: the position of the next chain and the cost of chains, in requests of this
    /// runtime.
    requests: Option<(f64, RequestBudget)>,
    /// This runtime's place, and the number of runtimes.
    place: (u32, u32),
}

impl Position {
    pub(super) fn new(unit: RateUnit, spacing: Spacing, (place, of): (u32, u32)) -> Self {
        let (arrivals, requests) = match unit {
            RateUnit::Chains => (Arrivals::new(spacing, (place, of)), None),
            RateUnit::Requests => {
                // The costs of chains differ, so the runtimes cannot share one sequence: each has its own.
                let spacing = match spacing {
                    Spacing::Even => Spacing::Even,
                    Spacing::Poisson { seed } => {
                        Spacing::Poisson { seed: seed.wrapping_add(u64::from(place) << 48) }
                    }
                };
                let budget = RequestBudget::new();
                let offset = match spacing {
                    Spacing::Even => f64::from(place) / f64::from(of),
                    Spacing::Poisson { .. } => Arrivals::new(spacing, (0, 1)).next(),
                };
                (Arrivals::new(spacing, (0, 1)), Some((offset * budget.per_chain(), budget)))
            }
        };
        Self { arrivals, requests, place: (place, of) }
    }

    pub(super) fn next(&self) -> f64 {
        match &self.requests {
            Some((position, _)) => position * f64::from(self.place.1),
            None => self.arrivals.next(),
        }
    }

    /// Advances to the next arrival; returns the expected requests of the one before.
    pub(super) fn advance(&mut self) -> f64 {
        let gap = self.arrivals.advance();
        let Some((position, budget)) = &mut self.requests else { return 1.0 };
        let charge = budget.charge();
        *position += gap * charge.requests;
        charge.expected
    }

    pub(super) fn ended(&mut self, expected: f64, iterated: Iterated) {
        if let (Some((_, budget)), Some(requests)) = (&mut self.requests, iterated.requests()) {
            budget.ended(expected, requests);
        }
    }
}
