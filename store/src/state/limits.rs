//! Hard limits over all processes: reserved in batches in the database and spent locally.

use wec_record::Object;
use wec_record::plan::Limits;

/// The limit on objects of this kind, over all processes and restarts, as the database has it.
pub(super) fn limit_on(kind: Object, limits: Limits) -> Option<i64> {
    limits.on(kind).map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// This process's part of one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// Reserved in the database and not yet stored as made: available, used by chains, or in the queue.
    pub(super) reserved: i64,
    /// Part of it that no chain has taken.
    pub(super) available: i64,
    /// Taken since the last heartbeat. It decides how much to reserve at once, and whether others may have
    /// the rest.
    pub(super) taken: i64,
    /// Total number made by all processes, as of the last reservation.
    pub(super) made: i64,
    /// Nothing was granted since the last heartbeat, or others need it: do not ask before the next one.
    pub(super) exhausted: bool,
    /// Some was given to others since the last heartbeat. The database gets it with the next one; until the
    /// one after that, others may take it.
    pub(super) gave: bool,
}

/// How much of an unused stock goes to others that need it: half, and also the last one if the stock was
/// idle.
pub(super) fn share(held: usize, used_lately: bool) -> usize {
    if used_lately { held / 2 } else { held.div_ceil(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_shared_only_when_idle() {
        for (held, used, shared) in [
            (0, true, 0),
            (0, false, 0),
            (1, true, 0),
            (1, false, 1),
            (2, true, 1),
            (9, true, 4),
            (9, false, 5),
        ] {
            assert_eq!(share(held, used), shared, "{held} {used}");
        }
    }
}
