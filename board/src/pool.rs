//! A pool: a fixed number of iterations that several nodes take from, a few at a time.
//!
//! What a node has taken is its own until it settles. So a node that dies takes with it what it held, and nothing is done
//! twice; how much that was is known, because it never settled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Iterations of one scenario of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The run that they are of.
    pub run: String,
    /// Which no node has taken.
    pub left: u64,
    /// Which nodes have taken that have not settled: all of them together, by node.
    pub taken: BTreeMap<String, u64>,
    /// How many of these they had used up when they last said so.
    pub used: BTreeMap<String, u64>,
    /// Which nodes that settled had used.
    pub done: u64,
}

/// How a node wants to take some.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    /// Its id.
    pub node: &'a str,
    /// How many it has had so far: what was granted beyond, by an answer that was lost, is granted again.
    pub had: u64,
    /// How many of those it has used up.
    pub used: u64,
    /// How many nodes share what is left.
    pub among: u64,
    /// No more than so many; 0 to look only.
    pub most: u64,
}

impl Pool {
    /// One of so many, untouched.
    pub(crate) fn new(run: &str, iterations: u64) -> Self {
        Self { run: run.to_owned(), left: iterations, ..Self::default() }
    }

    /// How many each node holds, as far as it has said: taken, and not used up.
    pub fn held(&self) -> impl Iterator<Item = (&str, u64)> {
        let held = |(node, taken): (&String, &u64)| {
            taken.saturating_sub(self.used.get(node).copied().unwrap_or_default())
        };
        self.taken.iter().map(move |entry| (entry.0.as_str(), held(entry))).filter(|(_, held)| *held > 0)
    }

    /// Takes some for a node: a part of what is left, so that the last ones are taken in small numbers and all nodes
    /// end together.
    pub(crate) fn take(&mut self, wants: Wants<'_>) {
        let taken = self.taken.entry(wants.node.to_owned()).or_default();
        if *taken <= wants.had {
            let part = self.left.div_ceil(2 * wants.among.max(1)).min(wants.most);
            self.left -= part;
            *taken += part;
        }
        self.used.insert(wants.node.to_owned(), wants.used);
    }

    /// A node has only so many by now, fewer than it had: others may take the rest. Does nothing when asked again.
    pub(crate) fn keep(&mut self, node: &str, has: u64) {
        if let Some(taken) = self.taken.get_mut(node) {
            self.left += taken.saturating_sub(has);
            *taken = has.min(*taken);
        }
    }

    /// A node has ended, and has used so many of those that it had, granted without its knowledge or not. Does nothing
    /// when asked again.
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
        fn none_is_lost_and_none_counted_twice(
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
