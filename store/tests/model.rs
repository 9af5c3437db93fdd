//! Two processes do anything in any order; a model of a few lines says what they may see.
#![allow(clippy::unwrap_used, reason = "a test's expectations")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{CA, Database, issue, order, register, until};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wec_store::{Claim, Kind, Limits, ReadyOrder, Reservation, State, StateOptions};

/// What one of the two processes does. The number chooses among what it holds.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Makes an order, as far as it may.
    Add,
    /// Takes the right to make one, and keeps it for the time being.
    Reserve,
    /// Makes an order after all, or none.
    Spend(usize),
    Unreserve(usize),
    /// Is told how many may be made.
    Limit(Option<u64>),
    Claim,
    Drop(usize),
    Release(usize),
    Issue(usize),
    Fail(usize),
    Flush,
    /// Close, with all that it holds, and open again.
    Restart,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => Just(Step::Add),
        3 => Just(Step::Reserve),
        2 => any::<usize>().prop_map(Step::Spend),
        1 => any::<usize>().prop_map(Step::Unreserve),
        2 => proptest::option::weighted(0.8, 0..20u64).prop_map(Step::Limit),
        5 => Just(Step::Claim),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Issue),
        1 => any::<usize>().prop_map(Step::Fail),
        2 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ];
    (0..2usize, step)
}

/// What is true of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Free { suspect: bool },
    Held { suspect: bool },
    Issued,
    Failed,
}

struct World<'a> {
    database: &'a Database,
    states: Vec<State>,
    held: [Vec<Claim<ReadyOrder>>; 2],
    truth: BTreeMap<String, Truth>,
    rooms: [Vec<Reservation>; 2],
    told: [Option<u64>; 2],
    /// Who was granted one, having been told what limit.
    grants: Vec<Option<u64>>,
    /// How many grants there were when a process was last told something stricter.
    since: [usize; 2],
}

fn limits(authorizations: Option<u64>) -> Limits {
    Limits { authorizations, ..Limits::default() }
}

/// Without a limit there is the loosest of all.
fn loose(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}

fn options() -> StateOptions {
    // Small pools, so that orders travel between the processes; a long lease, because nobody dies here.
    StateOptions { claim_batch: 2, pool: 3, owner_lease: Duration::from_secs(600), ..StateOptions::default() }
}

impl World<'_> {
    async fn take(&mut self, who: usize, step: Step) {
        let state = self.states[who].clone();
        let held = &mut self.held[who];
        match step {
            Step::Add => {
                if let Some(room) = self.reserve(who) {
                    self.add(who, room).await;
                }
            }
            Step::Reserve => {
                let room = self.reserve(who);
                self.rooms[who].extend(room);
            }
            Step::Spend(number) => {
                if let Some(room) = chosen(number, &mut self.rooms[who]) {
                    self.add(who, room).await;
                }
            }
            Step::Unreserve(number) => drop(chosen(number, &mut self.rooms[who])),
            Step::Limit(limit) => {
                if loose(limit) < loose(self.told[who]) {
                    self.since[who] = self.grants.len();
                }
                self.told[who] = limit;
                state.set_limits(limits(limit));
            }
            Step::Claim => {
                if let Some(claim) = state.claim_order() {
                    let truth = self.truth.get_mut(&claim.url).expect("an order that was made");
                    assert_eq!(*truth, Truth::Free { suspect: claim.suspect }, "{}", claim.url);
                    *truth = Truth::Held { suspect: claim.suspect };
                    held.push(claim);
                }
            }
            Step::Drop(number) => {
                if let Some(claim) = chosen(number, held) {
                    self.truth.insert(claim.url.clone(), Truth::Free { suspect: true });
                }
            }
            Step::Release(number) => {
                if let Some(claim) = chosen(number, held) {
                    self.truth.insert(claim.url.clone(), Truth::Free { suspect: claim.suspect });
                    claim.release();
                }
            }
            Step::Issue(number) => {
                if let Some(claim) = chosen(number, held) {
                    self.truth.insert(claim.url.clone(), Truth::Issued);
                    issue(&state, claim).await;
                }
            }
            Step::Fail(number) => {
                if let Some(claim) = chosen(number, held) {
                    self.truth.insert(claim.url.clone(), Truth::Failed);
                    state.order_failed(claim, "the model says so").await;
                }
            }
            Step::Flush => state.flush().await.unwrap(),
            Step::Restart => self.restart(who).await,
        }
    }

    /// Nobody passes a limit by more than what others were granted who had not been told of it.
    fn reserve(&mut self, who: usize) -> Option<Reservation> {
        let room = self.states[who].reserve(Kind::Authorization)?;
        self.grants.push(self.told[who]);
        let total = self.total() + 1;
        let bound = loose(self.told[who]);
        let looser = self.grants[self.since[who]..].iter().filter(|limit| loose(**limit) > bound).count();
        assert!(
            total <= bound.saturating_add(looser as u64),
            "{total} with a limit of {bound}, {looser} by others"
        );
        Some(room)
    }

    /// What was made, and what may yet be.
    fn total(&self) -> u64 {
        (self.truth.len() + self.rooms.iter().map(Vec::len).sum::<usize>()) as u64
    }

    async fn add(&mut self, who: usize, room: Reservation) {
        let state = &self.states[who];
        let registration = match state.registration() {
            Some(registration) => registration,
            None => register(state).await,
        };
        let order = order(&state.unique_name("wec.test"));
        state.add_order(room, &registration, &order).await;
        self.truth.insert(order.url, Truth::Free { suspect: false });
    }

    async fn restart(&mut self, who: usize) {
        let state = self.states.remove(who);
        state.close().await.unwrap();
        for claim in self.held[who].drain(..) {
            self.truth.insert(claim.url.clone(), Truth::Free { suspect: true });
        }
        self.rooms[who].clear();
        self.since[who] = self.grants.len();
        let options = StateOptions { limits: limits(self.told[who]), ..options() };
        self.states.insert(who, self.database.open_with(options).await);
    }

    /// A limit can be reached by whoever remains, and is not passed: nothing that was reserved is lost, or counted twice.
    async fn reach(&mut self, room: u64) {
        self.states.pop().unwrap().close().await.unwrap();
        self.rooms[1].clear();
        self.held[1].drain(..).for_each(|claim| {
            self.truth.insert(claim.url.clone(), Truth::Free { suspect: true });
        });
        let state = &self.states[0];
        // A change, even if it was told the same before: it asks at once.
        state.set_limits(limits(None));
        state.set_limits(limits(Some(self.total() + room)));
        let mut taken = Vec::new();
        until("the limit is reached", async || {
            taken.extend(std::iter::from_fn(|| state.reserve(Kind::Authorization)));
            taken.len() as u64 >= room
        })
        .await;
        assert_eq!(taken.len() as u64, room);
        assert!(state.reserve(Kind::Authorization).is_none());
    }

    /// Everything that should be free can be had, once, and nothing else.
    async fn settle(mut self) {
        for held in &mut self.held {
            for claim in held.drain(..) {
                self.truth.insert(claim.url.clone(), Truth::Free { suspect: true });
            }
        }
        for state in self.states.drain(..) {
            state.close().await.unwrap();
        }
        let state = State::open(&self.database.url, CA, StateOptions::default()).await.unwrap();
        // Held until the end: a claim that is dropped would be drawn again.
        let claims: Vec<_> = std::iter::from_fn(|| state.claim_order()).collect();
        let found: BTreeMap<String, Truth> =
            claims.iter().map(|claim| (claim.url.clone(), Truth::Free { suspect: claim.suspect })).collect();
        assert_eq!(found.len(), claims.len(), "each once");
        let expected = |wanted: fn(&Truth) -> bool| self.truth.iter().filter(move |(_, truth)| wanted(truth));
        let free: BTreeMap<String, Truth> = expected(|truth| matches!(truth, Truth::Free { .. }))
            .map(|(url, truth)| (url.clone(), *truth))
            .collect();
        assert_eq!(found, free);
        assert_eq!(state.counts().authorizations, free.len() as u64);
        assert_eq!(state.counts().certificates, expected(|truth| *truth == Truth::Issued).count() as u64);
        state.close().await.unwrap();
    }
}

fn holds_over(cases: u32, database: impl AsyncFn() -> Database) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, max_shrink_iters: 200, ..Config::default() });
    runner
        .run(&proptest::collection::vec(step(), 1..120), |steps| {
            runtime.block_on(async {
                let database = database().await;
                let states = vec![database.open_with(options()).await, database.open_with(options()).await];
                let mut world = World {
                    database: &database,
                    states,
                    held: [vec![], vec![]],
                    truth: BTreeMap::new(),
                    rooms: [vec![], vec![]],
                    told: [None; 2],
                    grants: Vec::new(),
                    since: [0; 2],
                };
                let room = steps.len() as u64 % 9;
                for (who, step) in steps {
                    world.take(who, step).await;
                }
                world.reach(room).await;
                world.settle().await;
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn two_processes_see_what_the_model_allows_on_sqlite() {
    holds_over(24, async || Database::sqlite());
}

#[test]
fn two_processes_see_what_the_model_allows_on_postgresql() {
    holds_over(8, Database::postgres);
}

/// One of what is held, if anything is.
fn chosen<T>(number: usize, held: &mut Vec<T>) -> Option<T> {
    (!held.is_empty()).then(|| held.swap_remove(number % held.len()))
}
