//! Whether this node may send, and the acknowledgement of smaller shares.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use wec_acme::Clock;
use wec_board::{Entry, LoadUnit, Quorum, Shares, Standing};

use crate::share::{NodePart, Share};

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
    /// The unit of the scenario's load.
    unit: LoadUnit,
    share: Option<Share>,
    /// Since when it has nothing, nanoseconds of the clock; none while it has a share, and at first.
    nothing_since: Option<u64>,
    /// When the right ends that it had last.
    ends: Option<u64>,
}

impl OwnPart {
    pub(super) fn new(node: &str, unit: LoadUnit) -> Self {
        Self { node: node.to_owned(), unit, share: None, nothing_since: None, ends: None }
    }

    /// Reads the board at a moment of the clock, for a scenario with a target beside others. None before the node
    /// had a share.
    pub(super) fn see(
        &mut self,
        (standing, shares, quorum): (Standing, &Shares, &Quorum),
        (target, others): (f64, f64),
        clock: Clock,
        now: u64,
    ) -> Option<NodePart<'_>> {
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
                self.share = share.map(|share| share.beside(self.unit, target, others));
                self.share.as_ref().map(NodePart::Share)
            }
            Some(since) => {
                self.share.as_ref()?;
                let since = *self.nothing_since.get_or_insert(since.min(now));
                Some(NodePart::Nothing { since })
            }
        }
    }
}

/// The targets of all scenarios of this node now, of all nodes together: they share one strength.
#[derive(Debug, Default)]
pub(crate) struct Demands(watch::Sender<BTreeMap<String, (LoadUnit, f64)>>);

impl Demands {
    /// Sets the target rate of a scenario; 0 while it has none.
    pub(super) fn set(&self, scenario: &str, unit: LoadUnit, rate: f64) {
        self.0.send_if_modified(|demands| {
            demands.insert(scenario.to_owned(), (unit, rate)) != Some((unit, rate))
        });
    }

    /// The sum of the targets of the other scenarios in the same unit.
    pub(super) fn of_others(&self, scenario: &str, unit: LoadUnit) -> f64 {
        let demands = self.0.borrow();
        let others = demands.iter().filter(|(name, (other, _))| *name != scenario && *other == unit);
        others.map(|(_, (_, rate))| rate).sum()
    }

    /// Changes of any of them.
    pub(super) fn follow(&self) -> watch::Receiver<BTreeMap<String, (LoadUnit, f64)>> {
        self.0.subscribe()
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
