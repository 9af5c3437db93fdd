//! Requests for certificates whose outcome is not known, in bounded memory.

use std::collections::HashMap;

use super::list::last;
use super::{MOST_LISTED, OrderHash, UnknownOutcome, order_hash};

/// Outcomes whose orders are kept: some 50 MB.
const MOST_ORDERS: usize = 1_000_000;
/// Outcomes with their details. More than are listed, because some become known.
const MOST_DETAILS: usize = 2 * MOST_LISTED;

/// All of a log.
#[derive(Debug, Default)]
pub(super) struct UnknownOutcomes {
    /// Those that a later chain may get the certificate of, by order; those without an order by node and number. With the
    /// hash of the last part of the order.
    open: HashMap<OrderHash, OrderHash>,
    /// The CA was reset since, and uses the order's path again.
    closed: Vec<(OrderHash, OrderHash)>,
    details: HashMap<OrderHash, UnknownOutcome>,
    closed_details: Vec<UnknownOutcome>,
    /// Beyond the bound.
    pub(super) beyond: u64,
}

/// The unknown outcomes that have an order, and by which certificates they are explained.
#[derive(Default)]
pub(super) struct ByOrder {
    /// Their places, by the whole path and by its last part.
    whole: HashMap<OrderHash, Vec<usize>>,
    last: HashMap<OrderHash, Vec<usize>>,
    taken: Vec<bool>,
}

impl UnknownOutcomes {
    /// A new order has this path: what is unknown of an earlier order of that path stays unknown.
    pub(super) fn begin_order(&mut self, order: &str) {
        let key = order_hash(order);
        if let Some(last) = self.open.remove(&key) {
            self.closed.push((key, last));
            self.closed_details.extend(self.details.remove(&key));
        }
    }

    pub(super) fn add(&mut self, outcome: UnknownOutcome) {
        let request = &outcome.request;
        let (key, last) = match &*request.order {
            "" => (order_hash(&format!("{} {}", request.node, request.seq)), 0),
            order => (order_hash(order), order_hash(last(order))),
        };
        if self.open.len() + self.closed.len() >= MOST_ORDERS && !self.open.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        self.open.insert(key, last);
        if self.details.len() + self.closed_details.len() < MOST_DETAILS || self.details.contains_key(&key) {
            self.details.insert(key, outcome);
        }
    }

    /// The order's certificate is known.
    pub(super) fn ended(&mut self, order: &str) {
        let key = order_hash(order);
        self.open.remove(&key);
        self.details.remove(&key);
    }

    pub(super) fn count(&self) -> u64 {
        (self.open.len() + self.closed.len()) as u64 + self.beyond
    }

    pub(super) fn by_order(&self) -> ByOrder {
        let mut by = ByOrder::default();
        let open = self.open.iter().map(|(order, last)| (*order, *last));
        for (order, last) in open.chain(self.closed.iter().copied()).filter(|(_, last)| *last != 0) {
            by.whole.entry(order).or_default().push(by.taken.len());
            by.last.entry(last).or_default().push(by.taken.len());
            by.taken.push(false);
        }
        by
    }

    /// The first ones by time.
    pub(super) fn list(self) -> Vec<UnknownOutcome> {
        let mut list: Vec<_> = self.details.into_values().chain(self.closed_details).collect();
        list.sort_by_key(|outcome| outcome.request.at_unix_ns);
        list.truncate(MOST_LISTED);
        list
    }
}

impl ByOrder {
    /// Whether one of them explains a certificate of this order, which may be the last part of its path. Each explains one.
    pub(super) fn take(&mut self, order: &str) -> bool {
        if order.is_empty() {
            return false;
        }
        let of = if order.contains('/') { &mut self.whole } else { &mut self.last };
        let Some(places) = of.get_mut(&order_hash(order)) else { return false };
        while let Some(place) = places.pop() {
            if !std::mem::replace(&mut self.taken[place], true) {
                return true;
            }
        }
        false
    }
}
