//! `Names`: which names of validations have all their events in one block, so that the block can count them.
//!
//! Validations are joined by name among the last [`MAX_NAMES`] names. A name whose events are nearer to each other than
//! half as many names is joined in the same way in every part of the run that has all of them: of other names, a part may
//! have the first events later than the run, but not more than those of as many names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;

use wec_figures::aggregate::{MAX_NAMES, Same};

/// Names that are followed: some 80 MB while an index is made.
const MAX_FOLLOWED: usize = 3_000_000;
/// Names between the first and the last event of a name.
const NEAR: u32 = MAX_NAMES as u32 / 2 - 1;
const MINUTE_S: u64 = 60;

/// The names of a run, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: HashMap<u64, Seen, BuildHasherDefault<Same>>,
    /// The events of a name are far from each other, or there are too many names.
    far: bool,
}

/// The events of one name.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// How many names were before it.
    before: u32,
    /// The first and the last minute that has an event, since the Unix epoch.
    minutes: (u32, u32),
}

impl Names {
    /// Takes an event of a name, in the order of the log.
    pub(super) fn take(&mut self, name: u64, at_unix_s: u64) {
        if self.far {
            return;
        }
        let Ok(minute) = u32::try_from(at_unix_s / MINUTE_S) else { return self.give_up() };
        let names = self.names.len() as u32;
        match self.names.entry(name) {
            Entry::Occupied(mut known) => {
                let Seen { before, minutes: (first, last) } = known.get_mut();
                (*first, *last) = (minute.min(*first), minute.max(*last));
                self.far = names - *before > NEAR;
            }
            Entry::Vacant(new) => {
                new.insert(Seen { before: names, minutes: (minute, minute) });
            }
        }
        if self.far || self.names.len() > MAX_FOLLOWED {
            self.give_up();
        }
    }

    /// Whether blocks can count the names of which they have all events.
    pub(super) const fn are_near(&self) -> bool {
        !self.far
    }

    /// Whether all events of the name are in one block of this width.
    pub(super) fn is_in_one(&self, name: u64, width_s: u64) -> bool {
        let block = |minute: u32| u64::from(minute) * MINUTE_S / width_s;
        self.names.get(&name).is_some_and(|Seen { minutes: (first, last), .. }| block(*first) == block(*last))
    }

    fn give_up(&mut self) {
        self.far = true;
        self.names = HashMap::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_one_block_if_all_its_events_are() {
        let mut names = Names::default();
        for (name, at) in [(1, 3_600), (2, 3_630), (1, 3_659), (2, 3_661), (3, 7_199), (3, 7_260)] {
            names.take(name, at);
        }
        assert!(names.are_near());
        let in_one = |width| [1, 2, 3, 4].map(|name| names.is_in_one(name, width));
        assert_eq!(in_one(60), [true, false, false, false]);
        assert_eq!(in_one(120), [true, true, false, false]);
        assert_eq!(in_one(14_400), [true, true, true, false]);
    }

    #[test]
    fn names_that_come_again_after_many_others_are_not_near() {
        for (others, near) in [(u64::from(NEAR) - 1, true), (u64::from(NEAR), false)] {
            let mut names = Names::default();
            for name in 0..=others {
                names.take(name, 60);
            }
            names.take(0, 60);
            assert_eq!(names.are_near(), near, "{others}");
        }
    }
}
