//! A pool: a fixed number of iterations that several nodes take from, a few at a time.
//!
//! Iterations that a node has taken belong to it until it settles. So if a node dies, its iterations are lost
//! and none is run twice; their number is known, because the node never settled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Iterations of one scenario of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The run.
    pub run: String,
    /// Iterations that no node has taken.
    pub left: u64,
    /// Iterations taken by nodes that have not settled, by node.
    pub taken: BTreeMap<String, u64>,
    /// How many of these were used up by each node's last report.
    pub used: BTreeMap<String, u64>,
    /// Iterations used by nodes that have settled.
    pub done: u64,
}

/// A node's request for iterations.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    /// Its id.
    pub node: &'a str,
    /// How many it has received so far: iterations granted beyond that, in a lost answer, are granted again.
    pub had: u64,
    /// How many of those it has used up.
    pub used: u64,
    /// Number of nodes that share the rest.
    pub among: u64,
    /// Largest number; 0 only reads.
    pub most: u64,
}

impl Pool {
    /// A new pool.
    pub(crate) fn new(run: &str, iterations: u64) -> Self {
        Self { run: run.to_owned(), left: iterations, ..Self::default() }
    }

    /// How many each node holds by its reports: taken, and not used up.
    pub fn held(&self) -> impl Iterator<Item = (&str, u64)> {
        let held = |(node, taken): (&String, &u64)| {
            taken.saturating_sub(self.used.get(node).copied().unwrap_or_default())
        };
        self.taken.iter().map(move |entry| (entry.0.as_str(), held(entry))).filter(|(_, held)| *held > 0)
    }

    /// Takes iterations for a node: a part of the rest, so that the last ones are taken in small numbers and
    /// all nodes end together.
    pub(crate) fn take(&mut self, wants: Wants<'_>) {
        let taken = self.taken.entry(wants.node.to_owned()).or_default();
        if *taken <= wants.had {
            let part = self.left.div_ceil(2 * wants.among.max(1)).min(wants.most);
            self.left -= part;
            *taken += part;
        }
        self.used.insert(wants.node.to_owned(), wants.used);
    }

    /// Reduces a node's iterations to `has`: others may take the rest. Repeating it changes nothing.
    pub(crate) fn keep(&mut self, node: &str, has: u64) {
        if let Some(taken) = self.taken.get_mut(node) {
            self.left += taken.saturating_sub(has);
            *taken = has.min(*taken);
        }
    }

    /// Settles a node that has used this many of its iterations, including those from lost answers. Repeating
    /// it changes nothing.
    pub(crate) fn settle(&mut self, node: &str, used: u64) {
        if let Some(taken) = self.taken.remove(node) {
            let used = used.min(taken);
            self.left += taken - used;
            self.done += used;
            self.used.remove(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_grant_whose_answer_was_lost_is_not_granted_twice() {
        let mut pool = Pool::new("r", 100);
        let wants = Wants { node: "a", had: 0, used: 0, among: 1, most: 10 };
        pool.take(wants);
        let granted = pool.clone();
        pool.take(wants);
        assert_eq!(pool, granted);
        assert_eq!((pool.left, pool.taken["a"]), (90, 10));
        pool.take(Wants { had: 10, used: 3, most: 0, ..wants });
        assert_eq!(pool.held().collect::<Vec<_>>(), [("a", 7)]);
        pool.take(Wants { had: 10, used: 10, most: 0, ..wants });
        assert_eq!(pool.held().count(), 0);
        pool.keep("a", 8);
        pool.keep("a", 8);
        assert_eq!((pool.left, pool.taken["a"]), (92, 8));
        pool.settle("a", 6);
        pool.settle("a", 6);
        assert_eq!((pool.left, pool.done), (94, 6));
    }

    proptest! {
        #[test]
        fn no_iteration_is_lost_or_counted_twice(
            iterations in 0u64..5_000,
            steps in proptest::collection::vec((0usize..4, 0u64..300, 0u64..300, any::<bool>()), 0..200),
        ) {
            let nodes = ["a", "b", "c", "d"];
            let mut had = [0u64; 4];
            let mut pool = Pool::new("r", iterations);
            for (who, most, used, settles) in steps {
                if settles {
                    pool.settle(nodes[who], used);
                    had[who] = 0;
                } else {
                    pool.take(Wants { node: nodes[who], had: had[who], used: used.min(had[who]), among: 4, most });
                    had[who] = pool.taken[nodes[who]];
                }
                prop_assert_eq!(pool.left + pool.done + pool.taken.values().sum::<u64>(), iterations);
            }
        }
    }
}
