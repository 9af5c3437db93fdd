use std::collections::BTreeMap;

use strum::VariantArray as _;

use super::conclude::{LOST_AFTER, concluded, lost_parts};
use super::info::{AgentInfo, Registration, Selection};
use super::plan::{PlanAction, PlanState, PlanUpdate, SessionPlan};
use super::task::{AgentState, AgentTask};
use super::view::{AgentsView, Waiting};
use crate::{BoardError, By, Versioned};

fn agent(name: &str, incarnation: &str) -> AgentInfo {
    AgentInfo {
        name: name.to_owned(),
        incarnation: incarnation.to_owned(),
        group: "eu".to_owned(),
        labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
        program: "wec 1".to_owned(),
        strength: None,
        draining: false,
        since_unix_ns: 0,
    }
}

fn planned(state: PlanState) -> SessionPlan {
    let keys = [("directory", "https://ca.test/dir"), ("workers", "5")];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    SessionPlan { state, run: "r".to_owned(), runs: 1, ..SessionPlan::new("s", "wec 1", keys) }
}

fn task(incarnation: &str, state: AgentState) -> AgentTask {
    let (run, incarnation, reason) = ("r".to_owned(), incarnation.to_owned(), "refused".to_owned());
    AgentTask { run, incarnation, state, reason, since_unix_ns: 0, left: false, taken: 1 }
}

/// Live agents, each first in the list of its name, and the tasks of agents.
fn view(live: &[(&str, &str)], tasks: &[(&str, AgentTask)]) -> AgentsView {
    let mut view = AgentsView::default();
    for (name, incarnation) in live {
        view.live.insert((*name).to_owned(), agent(name, incarnation));
    }
    for (name, task) in tasks {
        view.tasks.insert(("s".to_owned(), (*name).to_owned()), task.clone());
    }
    view.plans.insert("s".to_owned(), Versioned { version: 1, value: planned(PlanState::Running) });
    view
}

#[test]
fn every_state_and_action_has_its_outcome() {
    use PlanAction::{Abort, Delete, Fail, Finish, Retarget, Start, Stop, Update};
    use PlanState::{Aborted, Error, Ready, Running, Stopped, Stopping};
    let table = [
        (Start, [Some(Running), None, None, Some(Running), Some(Running), Some(Running)]),
        (Stop, [None, Some(Stopping), Some(Stopping), None, None, None]),
        (Update, [Some(Ready), None, None, Some(Ready), Some(Ready), Some(Ready)]),
        (Retarget, [Some(Ready), Some(Running), None, Some(Ready), Some(Ready), Some(Ready)]),
        (Delete, [Some(Ready), None, None, Some(Stopped), Some(Aborted), Some(Error)]),
        (Finish, [None, Some(Stopped), Some(Stopped), None, None, None]),
        (Abort, [None, Some(Aborted), Some(Aborted), None, None, None]),
        (Fail, [None, Some(Error), Some(Error), None, None, None]),
    ];
    assert_eq!(table.len(), PlanAction::VARIANTS.len());
    for (action, outcomes) in table {
        for (state, outcome) in PlanState::ALL.iter().zip(outcomes) {
            assert_eq!(state.after(action), outcome, "{state:?} {action:?}");
        }
    }
    assert_eq!(PlanState::ALL, [Ready, Running, Stopping, Stopped, Aborted, Error]);
}

#[test]
fn a_refusal_names_the_state_and_when_it_would_be_possible() {
    let refused = planned(PlanState::Stopping).acted(PlanAction::Start, 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cannot start session \"s\": it is stopping; that is possible when it is ready, stopped, aborted, error"
    );
    let refused = planned(PlanState::Running).acted(PlanAction::Delete, 0).unwrap_err();
    assert!(refused.to_string().starts_with("cannot delete session \"s\": it is running; "), "{refused}");
}

#[test]
fn agents_are_selected_by_all_conditions_together() {
    let agent = agent("a", "1");
    let labels = |text: &str| -> BTreeMap<String, String> {
        text.split(' ').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    };
    for (names, group, wanted, means, shown) in [
        (&[][..], None, "", true, "all agents"),
        (&["b", "a"][..], None, "", true, "b, a"),
        (&["b"][..], None, "", false, "b"),
        (&[][..], Some("eu"), "disk=ssd", true, "group eu, disk=ssd"),
        (&[][..], Some("us"), "", false, "group us"),
        (&["a"][..], Some("eu"), "disk=hdd", false, "a, group eu, disk=hdd"),
        (&[][..], None, "gpu=1", false, "gpu=1"),
    ] {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let selection = Selection { names, group: group.map(str::to_owned), labels: labels(wanted) };
        assert_eq!(selection.means(&agent.name, &agent.group, &agent.labels), means, "{shown}");
        assert_eq!(selection.shown(), shown);
    }
}

#[test]
fn a_run_is_taken_once_by_each_agent_and_again_only_after_a_restart_in_its_middle() {
    use AgentState::{Error, Preparing, TestFinished, TestRunning, TestStopped};
    let next = |there: Option<&AgentTask>, run: &str, incarnation: &str| {
        AgentTask::next(there, run, incarnation, 7).map(|task| (task.state, task.taken))
    };
    assert_eq!(next(None, "r", "1"), Some((Preparing, 1)));
    for state in [Preparing, TestRunning] {
        assert_eq!(next(Some(&task("1", state)), "r", "1"), Some((Preparing, 1)), "the answer was lost");
        assert_eq!(next(Some(&task("1", state)), "r", "2"), Some((Preparing, 2)), "restarted");
        assert_eq!(next(Some(&task("1", state)), "r2", "1"), Some((Preparing, 1)), "another run");
    }
    for state in [TestFinished, TestStopped, Error] {
        assert_eq!(next(Some(&task("1", state)), "r", "1"), None, "{state:?}");
        assert_eq!(next(Some(&task("1", state)), "r", "2"), None, "{state:?}, restarted");
        assert_eq!(next(Some(&task("1", state)), "r2", "2"), Some((Preparing, 1)), "{state:?}, another run");
    }
    let left = AgentTask { left: true, ..task("1", TestStopped) };
    assert_eq!(next(Some(&left), "r", "2"), Some((Preparing, 2)), "it left and is back");
}

#[test]
fn a_session_ends_when_no_agent_runs_it_or_may_still_take_it() {
    use AgentState::{Error, Preparing, TestFinished, TestRunning, TestStopped};
    let (running, stopping) = (planned(PlanState::Running), planned(PlanState::Stopping));
    let both = [("a", "1"), ("b", "1")];
    let ended = |plan: &SessionPlan, view: &AgentsView, aborted: Option<&str>| {
        concluded(plan, view, aborted, 5).map(|next| (next.state, next.reason))
    };
    let is = |state: PlanState, reason: &str| Some((state, reason.to_owned()));
    let one = |state| [("a", task("1", state))];
    let two = |a, b| [("a", task("1", a)), ("b", task("1", b))];
    for (plan, live, tasks, expected) in [
        // Not taken yet.
        (&running, &both[..], vec![], None),
        (&running, &[][..], vec![], None),
        (&stopping, &both[..], vec![], is(PlanState::Stopped, "")),
        (&running, &both[..], one(TestFinished).to_vec(), None),
        // Active.
        (&running, &both[..], two(TestFinished, Preparing).to_vec(), None),
        (&stopping, &both[..], two(TestStopped, TestRunning).to_vec(), None),
        // Over.
        (&running, &both[..], two(TestFinished, TestFinished).to_vec(), is(PlanState::Stopped, "")),
        (&running, &both[..], two(TestFinished, Error).to_vec(), is(PlanState::Stopped, "failed: b")),
        (&running, &both[..], two(Error, Error).to_vec(), is(PlanState::Error, "a: refused")),
        (&stopping, &both[..1], two(TestStopped, TestRunning).to_vec(), is(PlanState::Stopped, "lost: b")),
        // What agents that have gone left behind.
        (&running, &both[..1], one(TestFinished).to_vec(), is(PlanState::Stopped, "")),
    ] {
        assert_eq!(ended(plan, &view(live, &tasks), None), expected, "{:?} {live:?} {tasks:?}", plan.state);
    }
    let over = view(&both, &two(TestStopped, TestFinished));
    assert_eq!(
        ended(&running, &over, Some("a threshold failed")),
        is(PlanState::Aborted, "a threshold failed")
    );
    let cut = SessionPlan { cut: true, ..stopping };
    assert_eq!(ended(&cut, &over, None), is(PlanState::Aborted, "stopped at once"));
    assert_eq!(ended(&planned(PlanState::Ready), &over, None), None);
}

#[test]
fn an_agent_that_drains_or_is_deactivated_is_not_waited_for() {
    let plan = planned(PlanState::Running);
    let mut seen = view(&[("a", "1"), ("b", "1")], &[("a", task("1", AgentState::TestFinished))]);
    assert_eq!(concluded(&plan, &seen, None, 5), None, "b may take it");
    seen.live.get_mut("b").unwrap().draining = true;
    assert_eq!(concluded(&plan, &seen, None, 5).unwrap().state, PlanState::Stopped);
    seen.live.get_mut("b").unwrap().draining = false;
    let inactive = Registration { activated: false, ..Registration::reserved("b", 0) };
    seen.registered.insert("b".to_owned(), inactive);
    assert_eq!(concluded(&plan, &seen, None, 5).unwrap().state, PlanState::Stopped);
}

#[test]
fn a_run_whose_agents_are_lost_waits_for_them_and_is_then_aborted() {
    let plan = planned(PlanState::Running);
    let lost = view(&[], &[("a", task("1", AgentState::TestRunning))]);
    let waits = concluded(&plan, &lost, None, 1_000).unwrap();
    assert_eq!((waits.state, waits.unattended_since_unix_ns), (PlanState::Running, Some(1_000)));
    let bound = LOST_AFTER.as_nanos() as u64;
    assert_eq!(concluded(&waits, &lost, None, 999 + bound), None);
    let aborted = concluded(&waits, &lost, None, 1_000 + bound).unwrap();
    assert_eq!((aborted.state, aborted.reason.as_str()), (PlanState::Aborted, "lost: a"));
    // The agent is back and takes its task again.
    let back = view(&[("a", "2")], &[("a", task("1", AgentState::TestRunning))]);
    let attended = concluded(&waits, &back, None, 2_000).unwrap();
    assert_eq!((attended.state, attended.unattended_since_unix_ns), (PlanState::Running, None));
    assert_eq!(concluded(&attended, &back, None, 2_000 + 2 * bound), None);
}

#[test]
fn a_run_that_all_agents_have_left_waits_for_them_too() {
    use AgentState::{Error, TestFinished, TestRunning, TestStopped};
    let left = || AgentTask { left: true, ..task("1", TestStopped) };
    let bound = LOST_AFTER.as_nanos() as u64;
    let waits = |tasks: &[(&str, AgentTask)]| {
        let view = view(&[], tasks);
        let waits = concluded(&planned(PlanState::Running), &view, None, 1_000).unwrap();
        assert_eq!((waits.state, waits.unattended_since_unix_ns), (PlanState::Running, Some(1_000)));
        assert_eq!(concluded(&waits, &view, None, 999 + bound), None);
        let ended = concluded(&waits, &view, None, 1_000 + bound).unwrap();
        (ended.state, ended.reason)
    };
    let is = |state: PlanState, reason: &str| (state, reason.to_owned());
    assert_eq!(waits(&[("a", left())]), is(PlanState::Aborted, "left: a"));
    let both = [("a", left()), ("b", task("1", TestRunning))];
    assert_eq!(waits(&both), is(PlanState::Aborted, "lost: b; left: a"));
    let both = [("a", left()), ("b", task("1", Error))];
    assert_eq!(waits(&both), is(PlanState::Stopped, "left: a; failed: b"));
    // The others have run it to its end; a person stopped it; a threshold has failed.
    let view = view(&[("b", "1")], &[("a", left()), ("b", task("1", TestFinished))]);
    let ended = |state, aborted| {
        let ended = concluded(&planned(state), &view, aborted, 5).unwrap();
        (ended.state, ended.reason)
    };
    assert_eq!(ended(PlanState::Running, None), is(PlanState::Stopped, "left: a"));
    assert_eq!(ended(PlanState::Stopping, None), is(PlanState::Stopped, "left: a"));
    assert_eq!(ended(PlanState::Running, Some("failed")), is(PlanState::Aborted, "failed"));
}

#[test]
fn a_session_waits_for_agents_that_end_its_earlier_run() {
    let of_earlier = |state| AgentTask { run: "q".to_owned(), ..task("1", state) };
    for (state, goes_on) in [(AgentState::TestRunning, true), (AgentState::TestStopped, false)] {
        let seen = view(&[("a", "1")], &[("a", of_earlier(state))]);
        let ended = concluded(&planned(PlanState::Stopping), &seen, None, 5).map(|ended| ended.state);
        assert_eq!(ended, (!goes_on).then_some(PlanState::Stopped), "{state:?}");
        assert_eq!(seen.earlier_tasks_of(&planned(PlanState::Stopping)).count(), usize::from(goes_on));
    }
    // Its process is gone.
    let seen = view(&[("a", "2")], &[("a", of_earlier(AgentState::TestRunning))]);
    assert_eq!(concluded(&planned(PlanState::Stopping), &seen, None, 5).unwrap().state, PlanState::Stopped);
}

#[test]
fn the_part_of_a_lost_agent_ends_as_an_error_with_its_run() {
    let tasks = [("a", task("1", AgentState::TestRunning)), ("b", task("1", AgentState::TestRunning))];
    let lost = lost_parts(&planned(PlanState::Stopping), &view(&[("a", "1")], &tasks), 7);
    let [(agent, part)] = &lost[..] else { panic!("{lost:?}") };
    assert_eq!((agent.as_str(), part.state, part.since_unix_ns), ("b", AgentState::Error, 7));
    assert!(part.reason.starts_with("lost: "), "{part:?}");
}

#[test]
fn a_place_counts_for_sessions_that_are_meant_for_its_machine() {
    let selected = |names: &[&str], group: Option<&str>, disk: Option<&str>| Selection {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        group: group.map(str::to_owned),
        labels: disk.map(|disk| ("disk".to_owned(), disk.to_owned())).into_iter().collect(),
    };
    for (agents, expected, registered, live) in [
        (selected(&[], None, None), true, true, true),
        (selected(&["c"], None, None), true, true, true),
        (selected(&["a"], None, None), false, false, false),
        // Not known before the machine has come.
        (selected(&[], Some("eu"), None), false, true, true),
        (selected(&["c"], None, Some("ssd")), false, true, true),
        (selected(&[], Some("us"), None), false, false, false),
    ] {
        let mut seen = view(&[], &[]);
        let plan = SessionPlan { agents: agents.clone(), ..planned(PlanState::Running) };
        seen.plans.insert("s".to_owned(), Versioned { version: 1, value: plan });
        seen.registered.insert("c".to_owned(), Registration::reserved("c", 0));
        assert_eq!(seen.needs_place("s", "c"), expected, "expected: {}", agents.shown());
        let known = Registration::reserved("c", 0).of(&agent("c", "1"));
        seen.registered.insert("c".to_owned(), known.clone());
        assert_eq!(seen.needs_place("s", "c"), registered, "registered: {}", agents.shown());
        seen.live.insert("c".to_owned(), agent("c", "1"));
        assert_eq!(seen.needs_place("s", "c"), live, "live: {}", agents.shown());
        assert!(seen.needs_place("unplanned", "c"));
        seen.registered.insert("c".to_owned(), Registration { activated: false, ..known });
        assert!(!seen.needs_place("s", "c") && !seen.needs_place("unplanned", "c"), "deactivated");
    }
}

#[test]
fn an_update_tells_what_changed_and_a_new_target_is_a_new_run() {
    let update = |pairs: &[(&str, &str)]| {
        let keys = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let run = "r2".to_owned();
        PlanUpdate { keys: Some((keys, Box::default())), run, ..PlanUpdate::default() }
    };
    let more = update(&[("directory", "https://ca.test/dir"), ("rate", "5/s")]);
    let (next, changes) = planned(PlanState::Stopped).updated(&more, 3).unwrap();
    assert_eq!(changes, ["workers 5 → unset", "rate unset → 5/s"]);
    assert_eq!((next.state, next.run.as_str(), next.since_unix_ns), (PlanState::Ready, "r", 3));
    let refused = planned(PlanState::Running).updated(&more, 3).unwrap_err();
    assert!(refused.to_string().starts_with("cannot update session \"s\": it is running"), "{refused}");

    let other = update(&[("directory", "https://other.test/dir"), ("workers", "5")]);
    let (next, _) = planned(PlanState::Running).updated(&other, 3).unwrap();
    assert_eq!((next.state, next.run.as_str(), next.runs), (PlanState::Running, "r2", 2));
    let refused = planned(PlanState::Stopping).updated(&other, 3).unwrap_err();
    assert!(matches!(refused, BoardError::NotNow { .. }), "{refused}");
    let same = update(&[("directory", "https://ca.test/dir"), ("workers", "5")]);
    assert_eq!(planned(PlanState::Running).updated(&same, 3).unwrap().1, Vec::<String>::new());
}

#[test]
fn a_stale_request_is_told_what_changed_and_by_whom() {
    let plan = planned(PlanState::Ready).changed(&By::Cli.into(), 1, "create".to_owned());
    let plan = plan.changed(&By::Page.into(), 2, "workers 5 → 8".to_owned());
    assert!(plan.fresh(None).is_ok() && plan.fresh(Some(2)).is_ok());
    assert_eq!(
        plan.fresh(Some(1)).unwrap_err().to_string(),
        "session \"s\" was changed since revision 1, and is at 2 now: workers 5 → 8 by page"
    );
    let later = (0..60).fold(plan, |plan, _| plan.changed(&By::Api.into(), 3, "stop".to_owned()));
    assert_eq!(later.changes.len(), 20);
    let forgotten = PlanUpdate { revision: Some(1), ..PlanUpdate::default() };
    assert!(matches!(later.updated(&forgotten, 4), Err(BoardError::Stale { seen: 1, revision: 62, .. })));
}

#[test]
fn a_started_session_without_an_agent_is_known_to_wait() {
    let running = planned(PlanState::Running);
    let only_b = SessionPlan {
        agents: Selection { names: vec!["b".to_owned()], ..Selection::default() },
        ..running.clone()
    };
    let mut deactivated = view(&[("a", "1")], &[]);
    let registered = Registration { activated: false, ..Registration::reserved("a", 0) };
    deactivated.registered.insert("a".to_owned(), registered);
    let (runs, over) = (task("1", AgentState::TestRunning), task("1", AgentState::TestFinished));
    let left = AgentTask { left: true, ..task("1", AgentState::TestStopped) };
    let cases = [
        (&running, view(&[], &[]), Some(Waiting::NoAgent)),
        (&only_b, view(&[("a", "1")], &[]), Some(Waiting::NoAgent)),
        (&running, view(&[("a", "1")], &[]), None),
        (&running, deactivated, Some(Waiting::NoneUsable)),
        (&running, view(&[("a", "1")], &[("a", runs.clone())]), None),
        (&running, view(&[], &[("a", runs.clone())]), Some(Waiting::AllLost)),
        (&running, view(&[], &[("a", left.clone())]), Some(Waiting::AllLost)),
        (&running, view(&[("a", "2")], &[("a", left)]), None),
        // Its next process takes the run again.
        (&running, view(&[("a", "2")], &[("a", runs)]), None),
        (&running, view(&[], &[("a", over)]), None),
        (&planned(PlanState::Ready), view(&[], &[]), None),
    ];
    for (place, (plan, view, waiting)) in cases.into_iter().enumerate() {
        assert_eq!(view.waiting(plan), waiting, "case {place}");
    }
}
