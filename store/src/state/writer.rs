//! The task that uses the database.
//!
//! It works in turns: a flush interval after the first change, when a heartbeat is due, and at once when a
//! pool or a reservation runs low or the queue is long. Without changes it sleeps from heartbeat to
//! heartbeat. The steps of a turn:
//!
//! | step | when | cost |
//! | --- | --- | --- |
//! | write | there are changes in the queue | one transaction, whatever the number of changes |
//! | beat | four times a lease, and after a change of a limit | one transaction; extends the lease, reads the totals and what others need |
//! | release dead owners | with every other beat | one query; a transaction for each dead owner |
//! | share | after a beat that others need something | one transaction |
//! | claim | a pool is low and the database may have more | one or two queries |
//! | reserve | a reservation is low and the limit not reached | one transaction |
//!
//! A failed step ends the turn. The next turn comes after a growing pause and begins with the same batch.
//! Writing a batch twice changes nothing, so it can be repeated after a lost answer.
//!
//! **Expulsion.** Others may release this process's claims once its lease has expired. Before that moment the
//! state is fenced: it hands out nothing. If the lease did expire, the next write or beat reports it. Then
//! the process registers as a new owner, discards its pools (others have them now, as suspect) and still
//! writes its changes: what the CA did is true whoever has the claim.

mod stock;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use self::stock::given_back;
use super::shared::Shared;
use super::{Object, place};
use crate::backend::{Batch, Standing, Totals, Written, needs};
use crate::error::{StoreError, reason};

/// Time limit of an answer of the database; the step is then retried.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The step, and its error.
type Failed = (&'static str, sqlx::Error);

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Taken from the queue and not yet stored.
    batch: Batch,
    beat_due: Instant,
    beats: u64,
    /// What others need, as of the last beat.
    others_want_more: i64,
    /// When the database began to fail, and the number of changes written until then.
    refusing: Option<(Instant, u64)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            batch: Batch::default(),
            beat_due: Instant::now(),
            beats: 0,
            others_want_more: 0,
            refusing: None,
        }
    }

    /// The start: claims of dead owners are released, accounts are read, orders and certificates are claimed,
    /// rights below limits are reserved.
    pub(super) async fn start(&mut self) -> Result<(), Failed> {
        self.release_dead_owners().await?;
        self.read_registrations().await?;
        self.turn(false).await
    }

    /// Runs turns until stopped, then writes the rest and removes the owner.
    pub(super) async fn run(mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let mut pause = FIRST_PAUSE;
        let mut failed = false;
        loop {
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return self.end().await,
                () = shared.wake.notified() => {}
                () = self.tick(failed) => {}
            }
            let turn = self.turn(false).await;
            failed = turn.is_err();
            match turn {
                Ok(()) => {
                    self.recovered();
                    pause = FIRST_PAUSE;
                }
                Err((doing, error)) => {
                    self.refused(doing, &error);
                    tokio::select! {
                        () = shared.stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Waits until the next turn is due; after a failed one at once.
    async fn tick(&self, failed: bool) {
        if failed {
            return;
        }
        if self.shared.local().queue.len() == 0 {
            let filled = tokio::time::timeout_at(self.beat_due, self.shared.filled.notified());
            if filled.await.is_err() {
                return;
            }
        }
        tokio::time::sleep(self.shared.options.flush_interval).await;
    }

    async fn turn(&mut self, ending: bool) -> Result<(), Failed> {
        self.write().await?;
        if ending {
            return Ok(());
        }
        if std::mem::take(&mut self.shared.local().limits_changed) {
            // If it fails, it stays due.
            self.beat_due = Instant::now();
        }
        if Instant::now() >= self.beat_due {
            self.beat().await?;
            if self.beats.is_multiple_of(2) {
                self.release_dead_owners().await?;
            }
            self.share().await?;
            self.beat_due = Instant::now() + self.shared.options.owner_lease / 4;
        }
        self.give_back_surplus().await?;
        self.claim().await?;
        self.reserve().await
    }

    /// The last flush, for at most a lease; then claims are released and the owner is removed.
    async fn end(mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let deadline = Instant::now() + shared.options.owner_lease;
        let mut pause = FIRST_PAUSE;
        let outcome = loop {
            match self.leave().await {
                Ok(()) => {
                    self.recovered();
                    break Ok(());
                }
                Err((doing, error)) if Instant::now() + pause >= deadline => {
                    self.refused(doing, &error);
                    break Err(error);
                }
                Err((doing, error)) => self.refused(doing, &error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let changes = shared.local().queued();
        shared.backend.close().await;
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if changes == 0 => Err(shared.failed("remove this process as an owner", &error)),
            Err(error) => {
                Err(StoreError::Unwritten { store: shared.store.clone(), changes, reason: reason(&error) })
            }
        }
    }

    async fn leave(&mut self) -> Result<(), Failed> {
        self.turn(true).await?;
        let shared = self.shared.clone();
        let items = {
            let mut local = shared.local();
            let exclusive = local.exclusive.len();
            let (orders, certificates) = (local.orders.len(), local.certificates.len());
            let exclusive = local.exclusive.take(exclusive);
            given_back(exclusive, local.orders.take(orders), local.certificates.take(certificates))
        };
        self.give_back(items).await?;
        // Claims that chains still hold are released as suspect.
        let owner = shared.owner.load(Ordering::Relaxed);
        within(shared.backend.release(shared.ca, owner, false)).await.map_err(|error| ("sign out", error))?;
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Failed> {
        let shared = self.shared.clone();
        loop {
            if self.batch.len() == 0 {
                let mut local = shared.local();
                self.batch = std::mem::take(&mut local.queue);
                local.writing = self.batch.len();
            }
            if self.batch.len() == 0 {
                return Ok(());
            }
            let standing = self.standing(&self.batch);
            let asked = shared.clock.now();
            let written = within(shared.backend.write(&standing, &self.batch))
                .await
                .map_err(|error| ("write changes", error))?;
            match written {
                Written::Stored { totals, duplicates } => {
                    self.prolonged(asked);
                    self.stored(totals, &duplicates, standing.reserved);
                    return Ok(());
                }
                Written::Expelled => self.sign_in_anew().await?,
            }
        }
    }

    /// The batch is in the database.
    fn stored(&mut self, totals: Totals, duplicates: &[i64], reserved: [i64; 3]) {
        let batch = std::mem::take(&mut self.batch);
        for row in batch.certificates.iter().filter(|row| duplicates.contains(&row.id)) {
            tracing::warn!(
                issuer = row.details.issuer,
                serial = row.details.serial,
                names = row.names,
                "the CA issued a serial number that is stored already"
            );
        }
        let duplicates: HashSet<i64> = duplicates.iter().copied().collect();
        let mut local = self.shared.local();
        if !duplicates.is_empty() {
            local.certificates.retain(|certificate| !duplicates.contains(&certificate.id));
        }
        local.health.duplicate_serials += duplicates.len() as u64;
        local.health.flushes += 1;
        local.health.written += batch.len() as u64;
        local.writing = 0;
        local.totals = totals;
        local.pending -= batch.deltas();
        for (allowance, reserved) in local.allowances.iter_mut().zip(reserved) {
            allowance.reserved = reserved;
        }
        drop(local);
        self.shared.room.notify_waiters();
    }

    /// This owner's report once `batch` is stored.
    fn standing(&self, batch: &Batch) -> Standing {
        let shared = &self.shared;
        let local = shared.local();
        let made = [batch.registrations.len(), batch.orders.len(), batch.certificates.len()];
        let mut reserved = [0; 3];
        let mut wants_more = 0;
        for kind in Object::ALL {
            let index = kind.index();
            let allowance = &local.allowances[index];
            if local.limits.on(kind).is_some() {
                reserved[index] = (allowance.reserved - made[index] as i64).max(0);
                if allowance.available == 0 && allowance.exhausted {
                    wants_more |= needs::of(kind);
                }
            }
        }
        if local.exclusive.is_empty() && local.exclusive.dry {
            wants_more |= needs::EXCLUSIVE;
        }
        if local.orders.is_empty() && local.orders.dry {
            wants_more |= needs::ORDERS;
        }
        if local.certificates.is_empty() && local.certificates.dry {
            wants_more |= needs::CERTIFICATES;
        }
        let lease_ms = milliseconds(shared.options.owner_lease);
        Standing {
            ca: shared.ca,
            owner: shared.owner.load(Ordering::Relaxed),
            lease_ms,
            reserved,
            wants_more,
        }
    }

    async fn beat(&mut self) -> Result<(), Failed> {
        let shared = self.shared.clone();
        loop {
            let standing = self.standing(&Batch::default());
            let asked = shared.clock.now();
            let beat =
                within(shared.backend.beat(&standing)).await.map_err(|error| ("extend the lease", error))?;
            if !beat.alive {
                self.sign_in_anew().await?;
                continue;
            }
            self.prolonged(asked);
            self.beats += 1;
            self.others_want_more = beat.others_want_more;
            if self.learned(beat.totals) {
                self.read_registrations().await?;
            }
            return Ok(());
        }
    }

    /// A new interval begins: others may have filled empty pools. Returns whether there are accounts to read.
    fn learned(&self, totals: Totals) -> bool {
        let mut local = self.shared.local();
        local.totals = totals;
        local.exclusive.dry = false;
        local.orders.dry = false;
        local.certificates.dry = false;
        for allowance in &mut local.allowances {
            allowance.exhausted = std::mem::take(&mut allowance.gave);
        }
        local.registrations.is_empty() && local.resting_registrations.len() == 0 && totals.registrations > 0
    }

    /// Releases the claims of dead owners.
    async fn release_dead_owners(&mut self) -> Result<(), Failed> {
        let shared = self.shared.clone();
        let owners = within(shared.backend.owners(shared.ca))
            .await
            .map_err(|error| ("look for dead owners", error))?;
        let own = shared.owner.load(Ordering::Relaxed);
        for owner in owners.into_iter().filter(|owner| owner.id != own) {
            let dead = place::is_dead(&owner.place);
            if !owner.expired && !dead {
                continue;
            }
            let released = within(shared.backend.release(shared.ca, owner.id, !dead))
                .await
                .map_err(|error| ("release a dead owner's claims", error))?;
            tracing::info!(
                owner = owner.id,
                registrations = released.registrations,
                orders = released.orders,
                certificates = released.certificates,
                "released the claims of a dead process"
            );
            let mut local = shared.local();
            local.health.owners_released += 1;
            local.exclusive.dry &= released.registrations == 0;
            local.orders.dry &= released.orders == 0;
            local.certificates.dry &= released.certificates == 0;
        }
        Ok(())
    }

    /// Others declared this owner dead and have its claims. Claims of chains end with the chains; the pools
    /// are discarded.
    async fn sign_in_anew(&mut self) -> Result<(), Failed> {
        let shared = self.shared.clone();
        let asked = shared.clock.now();
        let lease_ms = milliseconds(shared.options.owner_lease);
        let enrolled = within(shared.backend.enrol(&shared.directory, &shared.place, lease_ms))
            .await
            .map_err(|error| ("register this process again", error))?;
        tracing::warn!(
            store = shared.store,
            "this process did not write for longer than its lease and was declared dead: its claims are released, it continues \
             as a new owner"
        );
        let mut local = shared.local();
        shared.owner.store(enrolled.owner, Ordering::Relaxed);
        local.health.expulsions += 1;
        local.exclusive.clear();
        local.orders.clear();
        local.certificates.clear();
        local.exclusive.dry = false;
        local.orders.dry = false;
        local.certificates.dry = false;
        for allowance in &mut local.allowances {
            allowance.reserved -= std::mem::take(&mut allowance.available);
            allowance.exhausted = false;
        }
        for batch in [&mut self.batch, &mut local.queue] {
            batch.registrations.iter_mut().for_each(|row| row.owned = false);
            batch.orders.iter_mut().for_each(|row| row.owned = false);
            batch.certificates.iter_mut().for_each(|row| row.owned = false);
        }
        drop(local);
        self.prolonged(asked);
        Ok(())
    }

    /// The database confirmed the lease; the request was sent at `asked`.
    fn prolonged(&self, asked: u64) {
        let until = fence(asked, self.shared.options.owner_lease);
        self.shared.valid_until.store(until, Ordering::Relaxed);
    }

    /// Reported once per outage, not once per attempt.
    fn refused(&mut self, doing: &'static str, error: &sqlx::Error) {
        let mut local = self.shared.local();
        local.health.retries += 1;
        let first = local.refusal.replace((doing, reason(error))).is_none();
        let (queued, written) = (local.queued(), local.health.written);
        drop(local);
        if first {
            self.refusing.get_or_insert((Instant::now(), written));
            tracing::error!(
                "writing waits: {}; {queued} changes are queued and are written when it works again; with {} changes chains wait",
                self.shared.failed(doing, error),
                self.shared.options.queue
            );
        }
        // Wakes callers of `State::flush`.
        self.shared.room.notify_waiters();
    }

    fn recovered(&mut self) {
        let mut local = self.shared.local();
        let refused = local.refusal.take();
        let written = local.health.written;
        drop(local);
        if let (Some(_), Some((since, before))) = (refused, self.refusing.take()) {
            tracing::warn!(
                "writing continues: state database {} works again after {:.1} s, {} changes that waited are written",
                self.shared.store,
                since.elapsed().as_secs_f64(),
                written.saturating_sub(before)
            );
        }
    }
}

impl Drop for Writer {
    /// At the end, or when the runtime is shut down: callers must not wait for room.
    fn drop(&mut self) {
        self.shared.local().closed = true;
        self.shared.room.notify_waiters();
    }
}

/// Limits the time of an answer; a connection that hangs is abandoned.
async fn within<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| {
        let silence = std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        );
        Err(sqlx::Error::Io(silence))
    })
}

/// When to stop handing out objects if the heartbeat sent at `asked` (ns) is the last one that arrives.
pub(super) fn fence(asked: u64, lease: Duration) -> u64 {
    asked.saturating_add(u64::try_from((lease * 3 / 4).as_nanos()).unwrap_or(u64::MAX))
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
