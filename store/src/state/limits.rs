//! Hard limits over all processes, kept by reserving in batches from the database and spending locally.

use std::sync::Arc;

use super::{RESERVE_BATCH, Shared};

/// What a chain may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An account.
    Registration,
    /// An order made ready, with however many names.
    Authorization,
    /// A certificate, new or renewed.
    Certificate,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Registration, Self::Authorization, Self::Certificate];

    /// What there is a number of.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registration => "registrations",
            Self::Authorization => "authorizations",
            Self::Certificate => "certificates",
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// How many of each may ever be made at one CA, over all processes and restarts; none means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Accounts.
    pub registrations: Option<u64>,
    /// Orders made ready.
    pub authorizations: Option<u64>,
    /// Certificates.
    pub certificates: Option<u64>,
}

/// In place of a limit where there is none; so that of two limits the lesser is always the stricter.
const NONE: i64 = i64::MAX;

impl Limits {
    /// By kind, with [`NONE`] where there is no limit.
    fn by_kind(&self) -> [i64; 3] {
        [self.registrations, self.authorizations, self.certificates]
            .map(|limit| limit.map_or(NONE, |limit| i64::try_from(limit).unwrap_or(NONE)))
    }
}

/// The right to make one object. Goes back when it is dropped without having been spent on one or forfeited.
#[derive(Debug)]
pub struct Reservation {
    kind: Kind,
    /// See [`Allowance::regime`].
    regime: u32,
    /// None once there is nothing to go back.
    home: Option<Arc<Shared>>,
}

impl Reservation {
    pub(super) const fn new(kind: Kind, regime: u32, home: Arc<Shared>) -> Self {
        Self { kind, regime, home: Some(home) }
    }

    /// What may be made.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Nobody knows whether the CA made the object, or it did and the object is of no use: a hard limit counts it for as
    /// long as this process lives.
    pub fn forfeit(mut self) {
        self.home = None;
    }

    /// The object exists.
    pub(super) fn spend(mut self, kind: Kind) {
        debug_assert_eq!(self.kind, kind, "a reservation is spent on what it was made for");
        self.home = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.unreserve(self.kind, self.regime);
        }
    }
}

/// What this process holds below the limits, what it keeps to, and what the database knows of both.
///
/// Chains take and put back; the writer says in the database what is held and asks for more. Without a limit nobody needs
/// to ask, but what chains hold is counted all the same: a limit that is set later includes it.
///
/// Limits change while chains run, in each process at its own moment. Others grant themselves only what the limit leaves
/// after all that processes say they hold, so what is said must never be less than what is held. Therefore
///
/// | a limit | is kept to | because |
/// | --- | --- | --- |
/// | set or lowered | at once; what no chain holds goes back | it may be too much by now |
/// | raised or taken away | once the database knows | others must not rely on the old one any more |
///
/// and whoever asks waits for those who are known to keep to a looser limit ([`Asked::waits`](crate::backend::Asked::waits)).
#[derive(Debug)]
pub(super) struct Ledger {
    /// What was set last.
    wanted: [i64; 3],
    /// The strictest that the database may know, after an answer that was lost.
    declared: [i64; 3],
    allowances: [Allowance; 3],
    /// Counts what the database must know before it is asked for more.
    news: u64,
    /// Of which it knows.
    told: u64,
}

/// What this process holds of one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// Not yet stored as made: available, in chains' hands, forfeited, or waiting to be written.
    held: i64,
    /// Of these, what no chain has taken; 0 without a limit.
    available: i64,
    /// Counts what makes earlier reservations go back to everybody rather than to this process: they may exceed the
    /// limit that is kept to by now.
    regime: u32,
    /// Taken since the last beat: how much to reserve at once, and whether others may have the rest.
    taken: i64,
    /// Nothing was granted since the last beat, or others lack it: no use asking again before.
    exhausted: bool,
    /// Some was given to others since the last beat. The database learns of it with the next one; until the one after
    /// that it is theirs to take.
    gave: bool,
    /// Others keep to a looser limit: asked again with every turn, and not before.
    waiting: bool,
    /// Not all was granted when it was last asked for.
    refused: bool,
}

/// What is said in the database about this process, as of one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    /// All that is held.
    pub(crate) held: [i64; 3],
    /// What is kept to from now on, with [`NONE`] where there is no limit.
    pub(crate) limits: [i64; 3],
    news: u64,
}

/// More to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) limit: i64,
    /// How many.
    pub(super) want: i64,
    regime: u32,
}

impl Ledger {
    /// Of a process that has signed in with `limits`.
    pub(super) fn new(limits: &Limits) -> Self {
        let limits = limits.by_kind();
        Self { wanted: limits, declared: limits, allowances: [Allowance::default(); 3], news: 0, told: 0 }
    }

    /// Other limits. Whether any of them is another.
    pub(super) fn set(&mut self, limits: &Limits) -> bool {
        let wanted = limits.by_kind();
        if wanted == self.wanted {
            return false;
        }
        self.keep_to(wanted, self.declared);
        self.news += 1;
        true
    }

    /// One may be made, as far as a limit goes.
    pub(super) fn allows(&self, kind: Kind) -> bool {
        !self.is_limited(kind) || self.allowances[kind.index()].available > 0
    }

    /// Takes one; what to put it back with.
    pub(super) fn take(&mut self, kind: Kind) -> Option<u32> {
        let limited = self.is_limited(kind);
        let allowance = &mut self.allowances[kind.index()];
        if !limited {
            allowance.held += 1;
        } else if allowance.available > 0 {
            allowance.available -= 1;
        } else {
            return None;
        }
        allowance.taken += 1;
        Some(allowance.regime)
    }

    /// What was taken and not used.
    pub(super) fn put_back(&mut self, kind: Kind, regime: u32) {
        let limited = self.is_limited(kind);
        let allowance = &mut self.allowances[kind.index()];
        if limited && regime == allowance.regime {
            allowance.available += 1;
        } else {
            allowance.held -= 1;
            if limited {
                // There may be room for it again, here or elsewhere.
                (allowance.exhausted, allowance.refused) = (false, false);
                self.news += 1;
            }
        }
    }

    /// There is a limit to keep to.
    pub(super) fn is_limited(&self, kind: Kind) -> bool {
        self.limit(kind) != NONE
    }

    /// The limit, when it leaves nothing for the moment.
    pub(super) fn reached(&self, kind: Kind) -> Option<i64> {
        let allowance = &self.allowances[kind.index()];
        (self.is_limited(kind) && allowance.available == 0 && allowance.refused).then(|| self.limit(kind))
    }

    /// More should be asked for, before the next turn.
    pub(super) fn is_low(&self, kind: Kind) -> bool {
        let allowance = &self.allowances[kind.index()];
        self.is_limited(kind)
            && allowance.available < RESERVE_BATCH / 2
            && !allowance.exhausted
            && !allowance.waiting
    }

    /// The limit of this kind keeps somebody from working, and others may have some to spare.
    pub(super) fn is_hungry(&self, kind: Kind) -> bool {
        let allowance = &self.allowances[kind.index()];
        self.is_limited(kind) && allowance.available == 0 && allowance.exhausted
    }

    /// The database must be told something before it is asked for more.
    pub(super) const fn has_news(&self) -> bool {
        self.news != self.told
    }

    /// What is about to be said. From now on the database may know it.
    pub(super) fn say(&mut self) -> Said {
        for (declared, wanted) in self.declared.iter_mut().zip(self.wanted) {
            *declared = wanted.min(*declared);
        }
        Said { held: self.allowances.map(|allowance| allowance.held), limits: self.wanted, news: self.news }
    }

    /// It is stored, and so many were made with it.
    pub(super) fn heard(&mut self, said: &Said, made: [i64; 3]) {
        for (allowance, made) in self.allowances.iter_mut().zip(made) {
            allowance.held -= made;
        }
        self.told = said.news;
        self.keep_to(self.wanted, said.limits);
    }

    /// What to ask for of `kind`; never before the database knows the news.
    pub(super) fn wants(&self, kind: Kind) -> Option<Wanted> {
        let limit = self.limit(kind);
        let allowance = &self.allowances[kind.index()];
        let low = limit != NONE && !allowance.exhausted && allowance.available < RESERVE_BATCH / 2;
        (low && !self.has_news()).then(|| Wanted {
            limit,
            want: RESERVE_BATCH.max(allowance.taken),
            regime: allowance.regime,
        })
    }

    /// The answer to what was wanted.
    pub(super) fn granted(&mut self, kind: Kind, wanted: Wanted, granted: i64, waiting: bool) {
        let allowance = &mut self.allowances[kind.index()];
        if wanted.regime != allowance.regime {
            // It was granted below a limit that is not kept to any more. The database is about to hear what is held.
            return;
        }
        allowance.held += granted;
        allowance.available += granted;
        allowance.waiting = waiting;
        allowance.exhausted = !waiting && granted < wanted.want;
        allowance.refused = allowance.exhausted;
    }

    /// A new interval begins: what ran out may have been given back by others.
    pub(super) fn begin_interval(&mut self) {
        for allowance in &mut self.allowances {
            allowance.exhausted = std::mem::take(&mut allowance.gave);
        }
    }

    /// Others lack those of the kinds that `hungry` holds for: they get a part of what no chain has taken.
    pub(super) fn share(&mut self, hungry: impl Fn(Kind) -> bool) {
        for kind in Kind::ALL {
            let allowance = &mut self.allowances[kind.index()];
            let used = std::mem::take(&mut allowance.taken) > 0;
            if hungry(kind) {
                // The next write or beat tells the database.
                let shared = share(usize::try_from(allowance.available).unwrap_or(0), used) as i64;
                allowance.available -= shared;
                allowance.held -= shared;
                allowance.exhausted |= shared > 0;
                allowance.gave |= shared > 0;
            }
        }
    }

    /// The database has forgotten what this process held: what no chain has is everybody's, and so is what comes back.
    pub(super) fn expelled(&mut self) {
        for allowance in &mut self.allowances {
            allowance.begin_regime();
        }
        self.news += 1;
    }

    /// What is kept to: of what was set and what the database knows, the stricter.
    fn limit(&self, kind: Kind) -> i64 {
        self.wanted[kind.index()].min(self.declared[kind.index()])
    }

    fn keep_to(&mut self, wanted: [i64; 3], declared: [i64; 3]) {
        let before = Kind::ALL.map(|kind| self.limit(kind));
        (self.wanted, self.declared) = (wanted, declared);
        for (kind, before) in Kind::ALL.into_iter().zip(before) {
            let now = self.limit(kind);
            let allowance = &mut self.allowances[kind.index()];
            if now < before || (now == NONE && now != before) {
                allowance.begin_regime();
            } else if now > before {
                // What is available below a lower limit is so below a higher one.
                (allowance.exhausted, allowance.refused) = (false, false);
            }
        }
    }
}

impl Allowance {
    fn begin_regime(&mut self) {
        self.held -= std::mem::take(&mut self.available);
        self.regime = self.regime.wrapping_add(1);
        (self.exhausted, self.gave, self.waiting, self.refused) = (false, false, false, false);
    }
}

/// How much of an unused stock goes to others who lack it: half, and the last one too if it was idle.
pub(super) fn share(held: usize, used_lately: bool) -> usize {
    if used_lately { held / 2 } else { held.div_ceil(2) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::{Asked, Granted};

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

    const KIND: Kind = Kind::Authorization;

    fn at(limit: Option<u64>) -> Limits {
        Limits { authorizations: limit, ..Limits::default() }
    }

    /// The database, the ledgers of the processes that share it, and what they have in hand; every message on its way
    /// may be overtaken by what chains and people do, and answers may be lost.
    struct World {
        made: i64,
        rows: Vec<Row>,
        processes: Vec<Process>,
        /// Who took one, and what limit it had been told.
        takes: Vec<(usize, i64)>,
    }

    #[derive(Clone, Copy)]
    struct Row {
        held: i64,
        limit: i64,
    }

    struct Process {
        ledger: Ledger,
        told: i64,
        /// How many takes there were when it was last told something stricter.
        since: usize,
        hand: Vec<u32>,
        forfeited: i64,
        /// Made and not on its way yet.
        queue: i64,
        /// On its way, and whether it is stored.
        batch: (i64, bool),
        /// And whether it is stored.
        said: Option<(Said, bool)>,
        asked: Option<(Wanted, Granted)>,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(Option<u64>),
        Take,
        PutBack,
        Spend,
        Forfeit,
        /// Sends what is held and made.
        Say,
        /// It is stored.
        Store,
        /// The answer arrives, or is lost.
        Hear(bool),
        /// Asks for more, which the database grants.
        Ask,
        /// The answer arrives.
        Answer,
        Interval,
    }

    fn step() -> impl Strategy<Value = (usize, Step)> {
        let step = prop_oneof![
            2 => proptest::option::of(0..40u64).prop_map(Step::Set),
            8 => Just(Step::Take),
            2 => Just(Step::PutBack),
            4 => Just(Step::Spend),
            1 => Just(Step::Forfeit),
            3 => Just(Step::Say),
            3 => Just(Step::Store),
            3 => proptest::bool::weighted(0.8).prop_map(Step::Hear),
            4 => Just(Step::Ask),
            4 => Just(Step::Answer),
            1 => Just(Step::Interval),
        ];
        (0..3usize, step)
    }

    impl World {
        fn new() -> Self {
            let process = || Process {
                ledger: Ledger::new(&at(None)),
                told: NONE,
                since: 0,
                hand: Vec::new(),
                forfeited: 0,
                queue: 0,
                batch: (0, true),
                said: None,
                asked: None,
            };
            Self {
                made: 0,
                rows: vec![Row { held: 0, limit: NONE }; 3],
                processes: (0..3).map(|_| process()).collect(),
                takes: Vec::new(),
            }
        }

        /// Everything that the CA has been asked for, or may yet be.
        fn total(&self) -> i64 {
            let under_way = |process: &Process| {
                let written = if process.batch.1 { 0 } else { process.batch.0 };
                process.hand.len() as i64 + process.forfeited + process.queue + written
            };
            self.made + self.processes.iter().map(under_way).sum::<i64>()
        }

        fn go(&mut self, who: usize, step: Step) {
            let takes = self.takes.len();
            let process = &mut self.processes[who];
            match step {
                Step::Set(limit) => {
                    process.ledger.set(&at(limit));
                    let limit = at(limit).by_kind()[KIND.index()];
                    if limit < process.told {
                        process.since = takes;
                    }
                    process.told = limit;
                }
                Step::Take => {
                    let Some(regime) = process.ledger.take(KIND) else { return };
                    process.hand.push(regime);
                    let (told, since) = (process.told, process.since);
                    self.takes.push((who, told));
                    let looser = self.takes[since..].iter().filter(|(_, limit)| *limit > told).count() as i64;
                    assert!(
                        told == NONE || self.total() <= told + looser,
                        "{} in all, {looser} of them by others who had not been told of {told}",
                        self.total()
                    );
                }
                Step::PutBack => {
                    if let Some(regime) = process.hand.pop() {
                        process.ledger.put_back(KIND, regime);
                    }
                }
                Step::Spend => process.queue += i64::from(process.hand.pop().is_some()),
                Step::Forfeit => process.forfeited += i64::from(process.hand.pop().is_some()),
                Step::Say if process.said.is_none() && process.asked.is_none() => {
                    if process.batch.0 == 0 {
                        process.batch = (std::mem::take(&mut process.queue), false);
                    }
                    process.said = Some((process.ledger.say(), false));
                }
                Step::Store => {
                    if let Some((said, stored)) = &mut process.said {
                        *stored = true;
                        let (batch, written) = process.batch;
                        self.made += if written { 0 } else { batch };
                        process.batch.1 = true;
                        let held = said.held[KIND.index()] - batch;
                        self.rows[who] = Row { held, limit: said.limits[KIND.index()] };
                    }
                }
                Step::Hear(arrives) => {
                    if let Some((said, true)) = process.said.take()
                        && arrives
                    {
                        let made = std::mem::take(&mut process.batch.0);
                        process.ledger.heard(&said, [0, made, 0]);
                    }
                }
                Step::Ask if process.said.is_none() && process.asked.is_none() => {
                    let Some(wanted) = process.ledger.wants(KIND) else { return };
                    let asked = Asked { kind: KIND, want: wanted.want, limit: wanted.limit, waits: true };
                    let held = self.rows.iter().map(|row| row.held).sum();
                    let others = self.rows.iter().enumerate().filter(|(other, _)| *other != who);
                    let looser = others.filter(|(_, row)| row.limit > wanted.limit).count() as i64;
                    let granted = asked.judge((self.made, held, self.rows.len() as i64, looser));
                    self.rows[who].held += granted.granted;
                    process.asked = Some((wanted, granted));
                }
                Step::Answer => {
                    if let Some((wanted, granted)) = process.asked.take() {
                        process.ledger.granted(KIND, wanted, granted.granted, granted.looser);
                    }
                }
                Step::Interval => process.ledger.begin_interval(),
                Step::Say | Step::Ask => {}
            }
        }

        /// Everybody is told the same limit, and makes what it leaves: all of it.
        fn settle(mut self, room: i64) {
            for who in 0..3 {
                self.go(who, Step::Answer);
                self.go(who, Step::Hear(false));
            }
            let limit = self.total() + room;
            (0..3).for_each(|who| self.go(who, Step::Set(Some(limit as u64))));
            for round in 0..200 {
                let who = round % 3;
                for step in
                    [Step::Say, Step::Store, Step::Hear(true), Step::Interval, Step::Ask, Step::Answer]
                {
                    self.go(who, step);
                }
                while self.processes[who].ledger.allows(KIND) {
                    self.go(who, Step::Take);
                    self.go(who, Step::Spend);
                }
            }
            assert_eq!(self.total(), limit, "the limit can be reached, and is not passed");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn limits_that_change_are_never_passed_by_more_than_what_those_make_who_were_not_told(
            steps in proptest::collection::vec(step(), 1..150),
            room in 0..30i64,
        ) {
            let mut world = World::new();
            steps.into_iter().for_each(|(who, step)| world.go(who, step));
            world.settle(room);
        }
    }

    #[test]
    fn what_chains_took_without_a_limit_counts_when_one_is_set() {
        let mut world = World::new();
        world.processes.truncate(1);
        world.rows.truncate(1);
        let steps = [Step::Take, Step::Take, Step::Take, Step::Spend, Step::Forfeit];
        steps.into_iter().for_each(|step| world.go(0, step));
        world.go(0, Step::Set(Some(5)));
        assert!(!world.processes[0].ledger.allows(KIND), "nothing before the database has been asked");
        assert_eq!(world.processes[0].ledger.wants(KIND), None, "nor asked before it knows of the three");
        for step in [Step::Say, Step::Store, Step::Hear(true), Step::Ask, Step::Answer] {
            world.go(0, step);
        }
        assert_eq!(world.processes[0].ledger.allowances[KIND.index()].available, 2);
    }

    #[test]
    fn a_raised_limit_is_kept_to_once_the_database_knows_and_a_lowered_one_at_once() {
        let mut ledger = Ledger::new(&at(Some(10)));
        ledger.set(&at(Some(20)));
        assert_eq!(ledger.limit(KIND), 10);
        let said = ledger.say();
        ledger.heard(&said, [0; 3]);
        assert_eq!(ledger.limit(KIND), 20);
        ledger.set(&at(Some(5)));
        assert_eq!(ledger.limit(KIND), 5);
        // The answer is lost: it may be known, or not.
        ledger.say();
        ledger.set(&at(None));
        assert_eq!(ledger.limit(KIND), 5);
    }
}
