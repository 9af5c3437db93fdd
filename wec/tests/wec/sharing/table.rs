//! What the CA got in each fault, and when it got its target again.

use std::fmt::Write as _;

use super::cluster::Scale;
use super::counted::{Chains, Counted};

/// Nodes, and the CA that counts what they send.
pub(super) trait Observed {
    fn counted(&self) -> &Counted;
    /// What the present nodes can make by what they offer now: on a busy machine that is less than their strength.
    fn reachable(&self) -> f64;
    /// Waits until the CA gets that, at or after a second; returns the second.
    fn until_rate(&self, from: u64) -> u64;
}

/// One fault after the other.
pub(super) struct Table {
    scale: Scale,
    rows: Vec<Row>,
}

struct Row {
    fault: &'static str,
    /// The second of the fault.
    at: u64,
    /// From the first second that was short until the target was reached again, seconds.
    back_after: u64,
    /// How much of the target was missing until then, requests.
    missing: f64,
}

impl Table {
    pub(super) const fn of(scale: Scale) -> Self {
        Self { scale, rows: Vec::new() }
    }

    /// Waits until the target is reached after a fault at a second, as far as the present nodes can.
    pub(super) fn until_back(&mut self, observed: &impl Observed, fault: &'static str, at: u64) {
        self.until_back_from(observed, fault, at, at);
    }

    /// The same for a fault that the CA notices later, at the latest at the second `late`.
    pub(super) fn until_back_from(
        &mut self,
        observed: &impl Observed,
        fault: &'static str,
        at: u64,
        late: u64,
    ) {
        observed.until_rate(late);
        let rate = observed.reachable();
        let began = observed.counted().first_short(rate, at, late).unwrap_or(at);
        let back = observed.until_rate(began);
        let (back_after, missing) = (back.saturating_sub(began), observed.counted().missing(rate, at, back));
        println!("{fault}: back after {back_after} s, {missing:.0} missing");
        self.scale.assert_back(fault, back_after);
        self.rows.push(Row { fault, at, back_after, missing });
    }

    /// Prints the rows when all has ended.
    pub(super) fn finish(self, counted: &Counted, chains: &Chains) {
        let mut text = String::new();
        for (place, Row { fault, at, back_after, missing }) in self.rows.iter().enumerate() {
            let until = self.rows.get(place + 1).map_or(u64::MAX, |next| next.at);
            let started = chains.most_started(*at..until);
            let (most, in_flight) = counted.most(*at..until, chains);
            writeln!(text, "| {fault} | {started} | {most}, {in_flight} | {back_after} | {missing:.0} |")
                .unwrap();
        }
        let head = "| fault | most started in a second | most counted in a second, in flight then | target reached \
                    again after, s | missing until then, requests |\n| --- | --- | --- | --- | --- |\n";
        print!("{head}{text}");
    }
}
