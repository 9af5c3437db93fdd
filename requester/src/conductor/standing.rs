//! Whether this node may send, and the acknowledgement of smaller shares.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use wec_acme::Clock;
use wec_board::{Entry, Quorum, Shares, Standing};

use crate::share::{Part, Share};

/// This node's part of the load, from what the board last showed.
///
/// | the right to send | the shares | the quorum | part |
/// | --- | --- | --- | --- |
/// | holds | name its registration | is there | its share |
/// | has ended | any | any | nothing since it ended |
/// | holds | do not name its registration | any | nothing since the earlier right ended, or since now |
/// | holds | name it | is missing | nothing since now |
#[derive(Debug)]
pub(super) struct OwnPart {
    node: String,
    share: Option<Share>,
    /// Since when it has nothing, nanoseconds of the clock; none while it has a share, and at first.
    nothing_since: Option<u64>,
    /// When the right ends that it had last.
    ends: Option<u64>,
}

impl OwnPart {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), share: None, nothing_since: None, ends: None }
    }

    /// Reads the board at a moment of the clock. None before the node had a share.
    pub(super) fn see(
        &mut self,
        (standing, shares, quorum): (Standing, &Shares, &Quorum),
        clock: Clock,
        now: u64,
    ) -> Option<Part<'_>> {
        let ends = standing.ends.map(|ends| clock.at(ends.instant()));
        let share = Share::new(&self.node, standing, shares);
        let lost = match (&share, standing.has_ended()) {
            (Some(_), false) if quorum.is_there() => None,
            (_, true) => Some(ends.unwrap_or(now)),
            // It has registered again, so its earlier right has ended, maybe while the process was stopped.
            (None, false) => Some(self.ends.unwrap_or(now)),
            (Some(_), false) => Some(now),
        };
        match lost {
            None => {
                self.nothing_since = None;
                self.ends = ends;
                self.share = share;
                self.share.as_ref().map(Part::Share)
            }
            Some(since) => {
                self.share.as_ref()?;
                let since = *self.nothing_since.get_or_insert(since.min(now));
                Some(Part::Nothing { since })
            }
        }
    }
}

/// The epochs that the scenarios of this node follow. A node acknowledges the earliest.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    entry: Entry,
    followed: Mutex<Followed>,
}

#[derive(Debug, Default)]
struct Followed {
    /// Registration and epoch, by scenario. Those that have not begun, and that have ended, make no load.
    scenarios: BTreeMap<String, (i64, u64)>,
    /// The last epoch that other nodes wait for.
    awaited: (i64, u64),
}

impl Acknowledged {
    pub(crate) fn new(entry: Entry) -> Self {
        Self { entry, followed: Mutex::default() }
    }

    /// A scenario uses no larger part than its share from now on.
    pub(super) fn follows(&self, scenario: &str, share: &Share) {
        let (registration, epoch, awaited) = share.followed();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.scenarios.insert(scenario.to_owned(), (registration, epoch));
        if awaited {
            followed.awaited = (registration, epoch);
        }
        self.acknowledge(&followed);
    }

    /// A scenario makes no load any more.
    pub(super) fn ended(&self, scenario: &str) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.scenarios.remove(scenario);
        self.acknowledge(&followed);
    }

    fn acknowledge(&self, Followed { scenarios, awaited }: &Followed) {
        let (registration, epoch) = *awaited;
        // Scenarios that follow an earlier registration have not seen the present one yet.
        let follows = |(known, follows): &(i64, u64)| *known == registration && *follows >= epoch;
        if epoch > 0 && scenarios.values().all(follows) {
            self.entry.acknowledge(registration, epoch);
        }
    }
}
