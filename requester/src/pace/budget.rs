//! Requests per second, where only chains can be started: each chain is charged with its expected requests.

/// Converts a total of requests into chains, so that in the long run as many requests are made as were due.
///
/// A chain is charged with the recent mean when it starts. Its real number is known when it ends, and the
/// difference is paid by the next chains, a little each, so that no correction is a burst or a gap. A chain
/// pays its part at its start: if it paid at its end, all chains started until then would pay the same again.
#[derive(Debug)]
pub struct RequestBudget {
    /// Recent mean of requests per chain.
    per_chain: f64,
    /// Requests made beyond what was charged and not paid yet; negative when too much was charged.
    owed: f64,
}

impl RequestBudget {
    /// Assumed requests per chain before one has ended.
    const GUESS: f64 = 5.0;
    /// The weight of one more chain in the recent mean.
    const NEWS: f64 = 1.0 / 32.0;
    /// The share of the debt that one chain pays.
    const PAYS: f64 = 1.0 / 32.0;

    /// A budget before any chain.
    pub const fn new() -> Self {
        Self { per_chain: Self::GUESS, owed: 0.0 }
    }

    /// Expected requests per chain.
    pub const fn per_chain(&self) -> f64 {
        self.per_chain
    }

    /// Charges a chain that starts: between half and twice the expected requests.
    pub fn charge(&mut self) -> Charge {
        let (expected, least, most) = (self.per_chain, self.per_chain / 2.0, self.per_chain * 2.0);
        let requests = (expected + self.owed * Self::PAYS).clamp(least, most);
        self.owed -= requests - expected;
        Charge { requests, expected }
    }

    /// A chain that was charged `expected` has ended with this many requests. A chain that never ran is not
    /// counted: it was due, and is lost.
    pub fn ended(&mut self, expected: f64, requests: u32) {
        let requests = f64::from(requests);
        self.per_chain += Self::NEWS * (requests - self.per_chain);
        // If a CA refuses every connection, chains make almost no requests; the charge must stay above 0.
        self.per_chain = self.per_chain.max(0.5);
        self.owed += requests - expected;
    }
}

/// The charge of one chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Charge {
    /// The number of requests that it counts for.
    pub requests: f64,
    /// Its expected requests; the rest pays for earlier chains.
    pub expected: f64,
}

impl Default for RequestBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Spends `due` requests on chains that each make the number given by `takes`, `in_flight` at once;
    /// returns the number made.
    fn spend(due: f64, in_flight: usize, mut takes: impl FnMut(f64) -> u32) -> f64 {
        let mut budget = RequestBudget::new();
        let mut running = VecDeque::new();
        let (mut position, mut made) = (0.0, 0.0);
        while position < due {
            let charge = budget.charge();
            running.push_back((charge.expected, takes(position)));
            position += charge.requests;
            if running.len() > in_flight {
                let (expected, requests) = running.pop_front().expect("one was just pushed");
                budget.ended(expected, requests);
                made += f64::from(requests);
            }
        }
        made + running.iter().map(|(_, requests)| f64::from(*requests)).sum::<f64>()
    }

    #[test]
    fn makes_the_requests_that_were_due_whatever_chains_take() {
        type Takes = fn(f64) -> u32;
        let cases: [(&str, Takes); 4] = [
            ("always 5", |_| 5),
            ("always 1", |_| 1),
            ("always 12", |_| 12),
            ("2 at first, 11 later", |position| if position < 20_000.0 { 2 } else { 11 }),
        ];
        let many_in_flight =
            cases.into_iter().flat_map(|case| [0, 50, 400].map(|in_flight| (case, in_flight)));
        for ((case, takes), in_flight) in many_in_flight {
            let made = spend(100_000.0, in_flight, takes);
            // Charging only the recent mean would be within 1 %; also charging the difference is exact.
            assert!((made / 100_000.0 - 1.0).abs() < 0.001, "{case}, {in_flight}: {made}");
        }
    }

    #[test]
    fn a_correction_makes_neither_burst_nor_gap() {
        let mut budget = RequestBudget::new();
        for _ in 0..1000 {
            let charge = budget.charge();
            budget.ended(charge.expected, 4);
        }
        budget.ended(4.0, 4000);
        assert!(budget.charge().requests <= 2.0 * budget.per_chain);
        budget.ended(8000.0, 4);
        assert!(budget.charge().requests >= budget.per_chain / 2.0);
    }

    /// Many chains are in flight before the number of requests of the first is known: their difference is charged once, and
    /// then charges equal the real numbers.
    #[test]
    fn differences_are_charged_once_for_any_number_in_flight() {
        for in_flight in [1, 50, 400, 2000] {
            let mut budget = RequestBudget::new();
            let mut running = VecDeque::new();
            let mut late = Vec::new();
            for chain in 0..20_000 {
                let charge = budget.charge();
                running.push_back(charge.expected);
                if running.len() > in_flight {
                    budget.ended(running.pop_front().expect("one was just pushed"), 12);
                }
                if chain > 10_000 {
                    late.push(charge.requests);
                }
            }
            let steady = late.iter().all(|charge| (charge - 12.0).abs() < 0.1);
            assert!(steady, "{in_flight} in flight: {:?}", &late[..10]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn holds_for_mixed_chains(seed: u64, most in 1u32..40, in_flight in 0usize..200) {
            let mut rng = StdRng::seed_from_u64(seed);
            let due = 200_000.0;
            let made = spend(due, in_flight, |_| rng.random_range(1..=most));
            prop_assert!((made / due - 1.0).abs() < 0.05, "{made}");
        }
    }
}
