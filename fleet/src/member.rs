//! The state of a member and its changes. Both simulators use them, the one for each member, the other for
//! groups of members in the same state.
//!
//! | state | `due` | `attempt` | next |
//! | --- | --- | --- | --- |
//! | valid, not due | none | the look at which it renews | it becomes due then, or when it expires before |
//! | due, not served | its first attempt | the present or next attempt | served, or another attempt |
//! | expired | when it became due | as above | as above; it is served as any other |

use crate::Second;
use crate::seat::Times;

/// The expiry of a member without a certificate yet.
pub const NEVER: Second = Second::MAX;
/// `due` of a member that is not due.
pub const NOT_DUE: Second = Second::MAX;

/// The certificate has expired before its renewal.
pub const EXPIRED: u8 = 1;
/// The certificate was revoked.
pub const REVOKED: u8 = 2;

/// All that decides what a member does. The order of its fields is the order in which simultaneous attempts stand
/// in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The place of its class in the scenario.
    pub class: u8,
    /// Its seat in the class.
    pub seat: u16,
    /// When its certificate expires.
    pub expiry: Second,
    /// When its renewal became due.
    pub due: Second,
    /// Its next attempt.
    pub attempt: Second,
    /// Failed attempts in a row; more than fit are as many as fit.
    pub failures: u8,
    /// [`EXPIRED`] and [`REVOKED`].
    pub flags: u8,
}

impl State {
    /// Whether a flag is set.
    pub const fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// When it needs attention next: its attempt, or its certificate's expiry.
    pub fn wakes(&self) -> Second {
        if self.is(EXPIRED) { self.attempt } else { self.attempt.min(self.expiry) }
    }

    /// Whether its renewal is due, not served, and its certificate still valid.
    pub const fn waits(&self) -> bool {
        self.due != NOT_DUE && !self.is(EXPIRED)
    }

    /// After a certificate with this lifetime was issued at `now`.
    #[must_use]
    pub fn renewed(&self, lifetime: Second, times: &Times, now: Second) -> Self {
        Self {
            expiry: now.saturating_add(lifetime),
            due: NOT_DUE,
            attempt: times.renewal(self.seat, now, lifetime),
            failures: 0,
            flags: 0,
            ..*self
        }
    }

    /// After an attempt that failed at `now`, with a Retry-After if the CA answered one.
    #[must_use]
    pub fn failed(&self, times: &Times, now: Second, retry_after: Option<i32>) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { failures, attempt: times.retry(self.seat, now, failures, retry_after), ..*self }
    }

    /// After its certificate was revoked at `now`; `part` distinguishes members in the same state.
    #[must_use]
    pub fn revoked(&self, times: &Times, part: u64, now: Second) -> Self {
        let attempt = self.attempt.min(times.notice((self.seat, self.expiry), part, now));
        Self { attempt, flags: self.flags | REVOKED, ..*self }
    }

    /// Whether a revocation can hit it at `now`: it has a certificate that is valid and not revoked.
    pub const fn is_valid(&self, now: Second) -> bool {
        self.expiry != NEVER && self.expiry > now && !self.is(EXPIRED) && !self.is(REVOKED)
    }
}
