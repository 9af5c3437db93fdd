//! Two processes take random steps; a small model gives the allowed results.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wec_store::{Claim, Object, ReadyOrder, State, StateOptions};

use crate::common::{CA, Database, issue, order, register};

/// A step of one of the two processes. The number selects one of its claimed objects.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add,
    Claim,
    Drop(usize),
    Release(usize),
    Issue(usize),
    Fail(usize),
    Flush,
    /// Close with all claims held, and open again.
    Restart,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => Just(Step::Add),
        5 => Just(Step::Claim),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Issue),
        1 => any::<usize>().prop_map(Step::Fail),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ];
    (0..2usize, step)
}

/// The true state of an order.
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
}

fn options() -> StateOptions {
    // Small pools, so that orders move between the processes; a long lease, because no process dies.
    StateOptions { claim_batch: 2, pool: 3, owner_lease: Duration::from_secs(600), ..StateOptions::default() }
}

impl World<'_> {
    async fn take(&mut self, who: usize, step: Step) {
        let state = self.states[who].clone();
        let held = &mut self.held[who];
        let chosen = |number: usize, held: &mut Vec<_>| {
            (!held.is_empty()).then(|| held.swap_remove(number % held.len()))
        };
        match step {
            Step::Add => {
                let registration = match state.registration() {
                    Some(registration) => registration,
                    None => register(&state).await,
                };
                let order = order(&state.unique_name("wec.test"));
                state.add_order(state.reserve(Object::Order).unwrap(), &registration, &order, "", None).await;
                self.truth.insert(order.url, Truth::Free { suspect: false });
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

    async fn restart(&mut self, who: usize) {
        let state = self.states.remove(who);
        state.close().await.unwrap();
        for claim in self.held[who].drain(..) {
            self.truth.insert(claim.url.clone(), Truth::Free { suspect: true });
        }
        self.states.insert(who, self.database.open_with(options()).await);
    }

    /// Every free object can be claimed once, and no other object can be claimed.
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
        .run(&proptest::collection::vec(step(), 1..80), |steps| {
            runtime.block_on(async {
                let database = database().await;
                let states = vec![database.open_with(options()).await, database.open_with(options()).await];
                let mut world =
                    World { database: &database, states, held: [vec![], vec![]], truth: BTreeMap::new() };
                for (who, step) in steps {
                    world.take(who, step).await;
                }
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
