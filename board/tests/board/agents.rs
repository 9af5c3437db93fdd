//! Agents and planned sessions, over all boards: in memory, in a file, and in a real etcd.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::BTreeMap;

use wec_board::{
    AgentInfo, AgentState, Board, BoardError, By, EtcdOptions, PlanState, RunRef, Selection, Session,
    SessionPlan, SessionState, Versioned,
};
use wec_testbed::etcd::Etcd;

use crate::board::{World, over_all_boards};
use crate::common::until;

over_all_boards!(
    an_agent_is_live_until_it_leaves_and_stays_registered,
    two_live_agents_cannot_have_one_name,
    a_place_can_be_reserved_and_is_taken_by_its_agent,
    a_session_is_created_once_started_stopped_and_deleted,
    each_agent_takes_a_run_exactly_once,
    a_restarted_agent_takes_the_run_again,
    a_run_that_was_stopped_meanwhile_is_not_taken,
    the_last_agent_ends_the_session,
    stopping_a_session_stops_its_load,
    a_stale_deletion_is_refused,
);

fn agent(name: &str, incarnation: &str) -> AgentInfo {
    AgentInfo {
        name: name.to_owned(),
        incarnation: incarnation.to_owned(),
        group: String::new(),
        labels: BTreeMap::new(),
        program: "wec 1".to_owned(),
        strength: None,
        draining: false,
        since_unix_ns: 5,
    }
}

fn plan(id: &str) -> SessionPlan {
    let keys = [("directory".to_owned(), "https://ca.test/dir".to_owned())];
    SessionPlan::new(id, "wec 1", keys.into())
}

async fn started(board: &Board, run: &str) -> Versioned<SessionPlan> {
    board.create_plan(plan("s"), By::Cli).await.unwrap();
    let started = board.start_plan("s", run, By::Cli).await.unwrap();
    seen(board, &started).await
}

/// The session as the board shows it, once it shows this one.
async fn seen(board: &Board, wanted: &SessionPlan) -> Versioned<SessionPlan> {
    until(board.agents(), |view| view.plans.get(&wanted.id).is_some_and(|plan| plan.value == *wanted)).await;
    board.agents().borrow().plans[&wanted.id].clone()
}

async fn an_agent_is_live_until_it_leaves_and_stays_registered(world: World) {
    let (one, two) = (world.board().await, world.board().await);
    let presence = one.register_agent(agent("a", "1")).await.unwrap();
    until(two.agents(), |view| view.live.contains_key("a") && view.registered.contains_key("a")).await;
    presence.change(|info| info.draining = true);
    until(two.agents(), |view| view.live.get("a").is_some_and(|agent| agent.draining)).await;
    assert!(matches!(two.remove_agent("a").await, Err(BoardError::AgentLives(_))));
    presence.leave().await;
    until(two.agents(), |view| view.live.is_empty()).await;
    assert_eq!(two.agents_now().await.unwrap().registered["a"].registered_unix_ns, Some(5));
    two.remove_agent("a").await.unwrap();
    assert!(matches!(two.remove_agent("a").await, Err(BoardError::NoAgent(_))));
    assert!(one.agents_now().await.unwrap().registered.is_empty());
}

async fn two_live_agents_cannot_have_one_name(world: World) {
    let (one, two) = (world.board().await, world.board().await);
    let presence = one.register_agent(agent("a", "1")).await.unwrap();
    let refused = two.register_agent(agent("a", "2")).await.unwrap_err();
    assert!(matches!(refused, BoardError::AgentTaken(_)), "{refused}");
    presence.leave().await;
    two.register_agent(agent("a", "2")).await.unwrap().leave().await;
}

async fn a_place_can_be_reserved_and_is_taken_by_its_agent(world: World) {
    let board = world.board().await;
    let reserved = board.add_agent("a").await.unwrap();
    assert_eq!((reserved.activated, reserved.registered_unix_ns), (true, None));
    assert!(matches!(board.add_agent("a").await, Err(BoardError::AgentKnown(_))));
    board.set_agent_activated("a", false).await.unwrap();
    let presence = board.register_agent(agent("a", "1")).await.unwrap();
    let view = board.agents_now().await.unwrap();
    assert_eq!((view.registered["a"].activated, view.registered["a"].program.as_str()), (false, "wec 1"));
    assert!(!view.is_usable("a"), "what people set stays");
    board.set_agent_activated("a", true).await.unwrap();
    assert!(board.agents_now().await.unwrap().is_usable("a"));
    assert!(matches!(board.set_agent_activated("b", true).await, Err(BoardError::NoAgent(_))));
    presence.leave().await;
}

async fn a_session_is_created_once_started_stopped_and_deleted(world: World) {
    let (one, two) = (world.board().await, world.board().await);
    assert!(matches!(one.start_plan("s", "r", By::Cli).await, Err(BoardError::NoPlan(_))));
    let created = one.create_plan(plan("s"), By::Cli).await.unwrap();
    assert_eq!((created.state, created.revision), (PlanState::Ready, 1));
    assert!(matches!(two.create_plan(plan("s"), By::Api).await, Err(BoardError::PlanExists(_))));
    let refused = two.stop_plan("s", false, By::Cli).await.unwrap_err();
    assert!(refused.to_string().contains("it is ready"), "{refused}");
    let running = two.start_plan("s", "r", By::Page).await.unwrap();
    assert_eq!((running.state, running.run.as_str(), running.runs), (PlanState::Running, "r", 1));
    assert_eq!(one.start_plan("s", "r", By::Page).await.unwrap(), running, "asked again after a lost answer");
    assert!(matches!(one.start_plan("s", "r2", By::Page).await, Err(BoardError::NotNow { .. })));
    assert!(matches!(one.delete_plan("s", None).await, Err(BoardError::NotNow { .. })));
    let copy = one.clone_plan("s", "t", "wec 1", By::Cli).await.unwrap();
    assert_eq!((copy.state, copy.runs, copy.keys == running.keys), (PlanState::Ready, 0, true));
    assert_eq!(one.stop_plan("s", false, By::Cli).await.unwrap().state, PlanState::Stopping);
    one.conclude_plans().await.unwrap();
    assert_eq!(two.plan("s").await.unwrap().state, PlanState::Stopped, "no agent had taken it");
    one.delete_plan("s", None).await.unwrap();
    assert!(matches!(two.plan("s").await, Err(BoardError::NoPlan(_))));
    assert_eq!(two.plan("t").await.unwrap(), copy);
}

async fn each_agent_takes_a_run_exactly_once(world: World) {
    let (one, two) = (world.board().await, world.board().await);
    let plan = started(&one, "r").await;
    let (a, b) = (agent("a", "1"), agent("b", "1"));
    assert_eq!(one.take_task(&plan, &a).await.unwrap().unwrap().taken, 1);
    assert_eq!(two.take_task(&plan, &b).await.unwrap().unwrap().taken, 1);
    // Its answer was lost, and the agent asks again.
    assert_eq!(one.take_task(&plan, &a).await.unwrap().unwrap().taken, 1);
    let run = RunRef::new("s", "r");
    one.report_task(&run, &a, AgentState::TestFinished, "").await.unwrap();
    assert_eq!(one.take_task(&plan, &a).await.unwrap(), None);
    assert_eq!(two.take_task(&plan, &agent("a", "2")).await.unwrap(), None, "restarted after its end");
    let view = two.agents_now().await.unwrap();
    assert_eq!(view.state_of(&plan.value, "a"), AgentState::TestFinished);
    assert_eq!(view.state_of(&plan.value, "b"), AgentState::Preparing);
    assert_eq!(view.state_of(&plan.value, "c"), AgentState::Available);
}

async fn a_restarted_agent_takes_the_run_again(world: World) {
    let board = world.board().await;
    let plan = started(&board, "r").await;
    let (before, after) = (agent("a", "1"), agent("a", "2"));
    let run = RunRef::new("s", "r");
    board.take_task(&plan, &before).await.unwrap().unwrap();
    board.report_task(&run, &before, AgentState::TestRunning, "").await.unwrap();
    let taken = board.take_task(&plan, &after).await.unwrap().unwrap();
    assert_eq!((taken.state, taken.taken), (AgentState::Preparing, 2));
    // A report of the process that is gone, which arrives late.
    board.report_task(&run, &before, AgentState::Error, "late").await.unwrap();
    assert_eq!(board.agents_now().await.unwrap().state_of(&plan.value, "a"), AgentState::Preparing);
}

async fn a_run_that_was_stopped_meanwhile_is_not_taken(world: World) {
    let board = world.board().await;
    let plan = started(&board, "r").await;
    board.stop_plan("s", false, By::Cli).await.unwrap();
    assert_eq!(board.take_task(&plan, &agent("a", "1")).await.unwrap(), None);
    assert!(board.agents_now().await.unwrap().tasks.is_empty());
}

async fn the_last_agent_ends_the_session(world: World) {
    let board = world.board().await;
    let (a, b) = (agent("a", "1"), agent("b", "1"));
    let live =
        [board.register_agent(a.clone()).await.unwrap(), board.register_agent(b.clone()).await.unwrap()];
    let plan = SessionPlan {
        agents: Selection { names: vec!["a".into(), "b".into()], ..Selection::default() },
        ..plan("s")
    };
    board.create_plan(plan, By::Cli).await.unwrap();
    let started = board.start_plan("s", "r", By::Cli).await.unwrap();
    let started = seen(&board, &started).await;
    let run = RunRef::new("s", "r");
    let state = async || {
        board.conclude_plans().await.unwrap();
        board.plan("s").await.unwrap().state
    };
    board.take_task(&started, &a).await.unwrap().unwrap();
    board.report_task(&run, &a, AgentState::TestFinished, "").await.unwrap();
    assert_eq!(state().await, PlanState::Running, "b may take it");
    board.take_task(&started, &b).await.unwrap().unwrap();
    board.report_task(&run, &b, AgentState::Error, "no such host").await.unwrap();
    assert_eq!(state().await, PlanState::Stopped);
    assert_eq!(board.plan("s").await.unwrap().reason, "failed: b");
    for presence in live {
        presence.leave().await;
    }
}

async fn stopping_a_session_stops_its_load(world: World) {
    let board = world.board().await;
    started(&board, "r").await;
    board.put_session(Session::running("s", 5).of_run("r")).await.unwrap();
    board.stop_plan("s", false, By::Page).await.unwrap();
    let session = board.session("s").borrow().clone().unwrap().value;
    assert_eq!(session.spec.state, SessionState::Stopped);
    assert_eq!(session.spec.last_changes[0].mark.by, wec_record::MarkBy::Page);
}

async fn a_stale_deletion_is_refused(world: World) {
    let board = world.board().await;
    board.create_plan(plan("s"), By::Cli).await.unwrap();
    board.start_plan("s", "r", By::Page).await.unwrap();
    board.stop_plan("s", false, By::Page).await.unwrap();
    board.conclude_plans().await.unwrap();
    let refused = board.delete_plan("s", Some(1)).await.unwrap_err();
    assert!(refused.to_string().contains("start by page; stop by page"), "{refused}");
    board.delete_plan("s", Some(3)).await.unwrap();
}

#[tokio::test]
async fn a_dead_agent_is_gone_after_its_lease_and_its_session_waits_for_it() {
    let etcd = Etcd::start().await.unwrap();
    let options =
        EtcdOptions { lease: std::time::Duration::from_secs(2), ..EtcdOptions::new([etcd.endpoint()]) };
    let board = Board::etcd(options.clone()).await.unwrap();
    let plan = started(&board, "r").await;
    let (taken, dies) = tokio::sync::oneshot::channel();
    let dead = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let presence = runtime.block_on(async {
            let board = Board::etcd(options).await.unwrap();
            let presence = board.register_agent(agent("a", "1")).await.unwrap();
            board.take_task(&plan, &agent("a", "1")).await.unwrap().unwrap();
            dies.await.unwrap();
            presence
        });
        // The process dies: none of its tasks runs any more, and its lease is not ended.
        drop(runtime);
        drop(presence);
    });
    until(board.agents(), |view| view.live.contains_key("a") && view.tasks.len() == 1).await;
    taken.send(()).unwrap();
    until(board.agents(), |view| view.live.is_empty()).await;
    dead.join().unwrap();
    board.conclude_plans().await.unwrap();
    let lost = board.plan("s").await.unwrap();
    assert_eq!((lost.state, lost.unattended_since_unix_ns.is_some()), (PlanState::Running, true));
    let presence = board.register_agent(agent("a", "2")).await.unwrap();
    board.conclude_plans().await.unwrap();
    assert_eq!(board.plan("s").await.unwrap().unattended_since_unix_ns, None);
    presence.leave().await;
    board.close().await;
}
