//! A node's right to send: it ends on the node's own clock before the board removes the node, so that others
//! take over its part only after it has stopped.
//!
//! | the node | may it send? |
//! | --- | --- |
//! | has joined, and no shares name its registration | no |
//! | is named by the shares, and its lease was renewed less than L_stop ago | its part |
//! | could not renew for L_stop: the board cannot be reached, or the process was stopped or suspended | no |
//! | renews again before the board has removed it | its part, from then on |
//! | was removed by the board, and registers again | no, until shares name the new registration |
//! | sees fewer live nodes than its quorum | starts no iterations |
//!
//! With L the length of the lease: L_stop + round trip + drift < L. All are fractions of L, because etcd may
//! grant a longer lease than asked for. L_stop is counted from *before* a renewal is sent, and L by the board
//! from when it arrives, so the round trip of the renewal itself is on the safe side; the one in the sum is that
//! of a request to the CA that was started at the last moment.

use std::time::Duration;

use tokio::sync::watch;
use wec_clock::{Deadline, Moment};

/// Renewals per lease, at equal intervals: every 2 s of 10 s.
pub(crate) const RENEWALS: u32 = 5;
/// L_stop, in thousandths of the lease: 7 s of 10 s.
const STOP: u32 = 700;
/// For requests that were started at the last moment, thousandths of the lease: 2.5 s of 10 s.
const ROUND_TRIP: u32 = 250;
/// For clocks that run at different speeds, thousandths of the lease. A quartz is off by less than one.
const DRIFT: u32 = 10;

// The others take over after the node has stopped.
const _: () = assert!(STOP + ROUND_TRIP + DRIFT < 1_000);
// Two renewals may fail, and the third still comes in time.
const _: () = assert!(3 * 1_000 / RENEWALS < STOP);

/// Time from a renewal to the end of the right to send, for a lease of this length.
pub(crate) fn stop_after(lease: Duration) -> Duration {
    lease * STOP / 1_000
}

/// Interval of renewals, and their time limit, for a lease of this length.
pub(crate) fn renew_every(lease: Duration) -> Duration {
    lease / RENEWALS
}

/// The right of this node to send. Clones are the same right.
#[derive(Clone, Debug)]
pub struct SendRight {
    /// Its terms are the registrations.
    deadline: Deadline,
    standing: watch::Sender<Standing>,
}

/// A node's registration and the end of its right to send.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The registration: see [`Follows`](crate::Follows).
    pub registration: i64,
    /// When the right ends unless the lease is renewed; none if it does not end by itself.
    pub ends: Option<Moment>,
}

impl SendRight {
    /// A right that only its holder ends: that of a node on a board without leases.
    pub fn unlimited(registration: i64) -> Self {
        Self::new(registration, None)
    }

    pub(crate) fn new(registration: i64, ends: Option<Moment>) -> Self {
        let standing = watch::Sender::new(Standing { registration, ends });
        Self { deadline: Deadline::new(registration, ends), standing }
    }

    /// A right that ends at a moment, which a test can move by [`SendRight::renewed`].
    #[cfg(feature = "test-util")]
    pub fn until(registration: i64, ends: Moment) -> Self {
        Self::new(registration, Some(ends))
    }

    /// The lease was renewed, or the node has registered again: as its membership does it.
    #[cfg(feature = "test-util")]
    pub fn renewed(&self, registration: i64, ends: Moment) {
        self.set(registration, Some(ends));
    }

    /// Whether an iteration may start that was shared out to this registration. Without a lease this reads no
    /// clock.
    pub fn holds(&self, registration: i64) -> bool {
        self.deadline.holds(registration)
    }

    /// Whether it ends unless it is renewed.
    pub fn ends(&self) -> bool {
        self.deadline.ends()
    }

    /// The deadline that requests check; its terms are the registrations. None without a lease.
    pub fn deadline(&self) -> Option<Deadline> {
        self.ends().then(|| self.deadline.clone())
    }

    /// The registration and the end of the right, now and after each renewal.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Sets the end: after a renewal, or with another registration.
    pub(crate) fn set(&self, registration: i64, ends: Option<Moment>) {
        self.standing.send_modify(|standing| {
            self.deadline.set(registration, ends);
            *standing = Standing { registration, ends };
        });
    }

    /// Ends the right for good.
    pub(crate) fn end(&self) {
        let now = Moment::now();
        self.set(self.deadline.term(), Some(now));
    }
}

impl Standing {
    /// Whether the right has ended.
    pub fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends.has_passed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_stops_before_its_lease_ends() {
        for lease in [2, 5, 10, 60].map(Duration::from_secs) {
            let (stop, every) = (stop_after(lease), renew_every(lease));
            assert!(stop + lease / 4 < lease, "{stop:?} of {lease:?}");
            assert!(3 * every < stop, "{every:?} of {lease:?}");
        }
        assert_eq!(stop_after(Duration::from_secs(10)), Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn ends_on_its_own_unless_it_is_renewed() {
        let soon = || Some(Moment::now().after(Duration::from_secs(7)));
        let right = SendRight::new(1, soon());
        assert!(right.holds(1) && !right.holds(2));
        tokio::time::sleep(Duration::from_secs(6)).await;
        right.set(1, soon());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(right.holds(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!right.holds(1) && right.standing().borrow().has_ended());
        // What was shared out to an earlier registration is not started under the next one.
        right.set(2, soon());
        assert!(!right.holds(1) && right.holds(2));
        right.end();
        assert!(!right.holds(2));
        assert!(SendRight::unlimited(5).holds(5));
    }
}
