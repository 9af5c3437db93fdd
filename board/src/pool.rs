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
    /// What this node can do, and what all nodes together can: the rest is shared in this proportion. Without a node
    /// that can do anything, all of it is this node's.
    pub strength: (u64, u64),
    /// Largest number; 0 only reads.
    pub most: u64,
}

impl Wants<'_> {
    /// Its part of the rest, by the formula of shares; at least one, which another node may take before.
    fn part_of(&self, left: u64) -> u64 {
        let (own, all) = self.strength;
        let part = u128::from(left) * u128::from(own) / u128::from(all.max(1));
        let part = u64::try_from(part).unwrap_or(left).min(left);
        if all == 0 { left } else { part.max(u64::from(own > 0 && left > 0)) }
    }
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

    /// Takes iterations for a node: half of its part of the rest, so that the last ones are taken in small numbers and
    /// all nodes end together.
    pub(crate) fn take(&mut self, wants: Wants<'_>) {
        let taken = self.taken.entry(wants.node.to_owned()).or_default();
        if *taken <= wants.had {
            let part = wants.part_of(self.left).div_ceil(2).min(wants.most);
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
        let wants = Wants { node: "a", had: 0, used: 0, strength: (1, 1), most: 10 };
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

    #[test]
    fn nodes_take_iterations_in_proportion_to_what_they_can_do() {
        let mut pool = Pool::new("r", 12_000);
        let mut had = [0; 3];
        while pool.left > 0 {
            for (place, (node, strength)) in
                [("a", 4_000), ("b", 5_000), ("c", 3_000)].into_iter().enumerate()
            {
                // Each takes when it has used up what it had, and the stronger ones sooner.
                let most = strength / 100;
                pool.take(Wants {
                    node,
                    had: had[place],
                    used: had[place],
                    strength: (strength, 12_000),
                    most,
                });
                had[place] = pool.taken[node];
            }
        }
        assert_eq!(had.iter().sum::<u64>(), 12_000, "the sum is exact");
        for (had, part) in had.into_iter().zip([4_000, 5_000, 3_000u64]) {
            assert!(had.abs_diff(part) <= 60, "{had} of {part}");
        }
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
                    pool.take(Wants { node: nodes[who], had: had[who], used: used.min(had[who]), strength: (who as u64, 6), most });
                    had[who] = pool.taken[nodes[who]];
                }
                prop_assert_eq!(pool.left + pool.done + pool.taken.values().sum::<u64>(), iterations);
            }
        }
    }
}
