use wec_record::MarkWhat;

use super::*;
use crate::{BoardError, NodeId, NodeInfo, NodeKind, NodeState};

fn session(scenarios: &[(&str, Target)]) -> Session {
    let scenarios = scenarios.iter().map(|(name, target)| ((*name).to_owned(), target.clone())).collect();
    Session::new("s", scenarios, Limits::default())
}

fn running(id: &str) -> NodeInfo {
    let node = NodeId { id: id.to_owned(), name: id.to_owned(), stats: None };
    let session = "s".to_owned();
    NodeInfo { session, ..NodeInfo::new(&node, NodeKind::Requester, NodeState::Running) }
}

fn shown(session: &Session, change: Change) -> String {
    match session.after(&change, 0) {
        Ok(Some(next)) => {
            let changed = &next.spec.last_changes[0].mark;
            format!(
                "{} {} {}: {} -> {}",
                changed.by, changed.scenario, changed.what, changed.from, changed.to
            )
        }
        Ok(None) => "none".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_change_says_who_what_from_and_to() {
    let session = session(&[("a", Target { workers: 5, rate: Some(2.5), ..Target::default() })]);
    let weights = BTreeMap::from([("certificate".to_owned(), 4.0)]);
    for (to, expected) in [
        (ChangeTo::Workers(9), "page a workers: 5 -> 9"),
        (ChangeTo::Workers(5), "none"),
        (ChangeTo::Rate(50.0), "page a rate: 2.5 -> 50"),
        (ChangeTo::Weights(weights), "page a weights: certificate=unset -> certificate=4"),
        (ChangeTo::Weights(BTreeMap::new()), "none"),
        (
            ChangeTo::Limit(Limited::Certificates, Some(7)),
            "page  limits: certificates=none -> certificates=7",
        ),
        (ChangeTo::State(SessionState::Paused), "page  state: running -> paused"),
        (ChangeTo::State(SessionState::Running), "none"),
    ] {
        assert_eq!(shown(&session, Change::new(By::Page, to)), expected);
    }
}

#[test]
fn active_time_counts_from_the_beginning_and_stops_in_pauses() {
    let waiting = session(&[("a", Target::default())]).of_run("r");
    assert_eq!(waiting.active_ns(500), None);
    let begun = waiting.begun(100).unwrap();
    assert_eq!((begun.active_ns(99), begun.active_ns(100), begun.active_ns(160)), (None, Some(0), Some(60)));
    assert_eq!(begun.begun(130), None, "the first ready node began the run");
    let state = |session: &Session, state, at| {
        session.after_all(&[Change::state(By::Page, state)], at).unwrap().unwrap()
    };
    let paused = state(&begun, SessionState::Paused, 150);
    assert_eq!((paused.active_ns(150), paused.active_ns(9_000)), (Some(50), Some(50)));
    let again = state(&paused, SessionState::Running, 1_150);
    assert_eq!((again.active_ns(1_150), again.active_ns(1_160)), (Some(50), Some(60)));
    let waits = again.scenario_begun("a", 1_170).unwrap();
    assert_eq!(waits.status.scenarios["a"].begins_ns, Some(70));
    assert_eq!(waits.scenario_begun("a", 1_200), None);
    // A session that is paused before the run begins stays paused when it begins.
    let paused = state(&waiting, SessionState::Paused, 40).begun(100).unwrap();
    assert_eq!(paused.active_ns(9_000), Some(0));
    assert_eq!(state(&paused, SessionState::Running, 300).active_ns(310), Some(10));
}

#[test]
fn the_oldest_of_many_pauses_are_merged() {
    let mut session = session(&[("a", Target::default())]).of_run("r").begun(1_000).unwrap();
    let mut at = 1_000;
    for _ in 0..150 {
        for (state, after) in [(SessionState::Paused, 7), (SessionState::Running, 3)] {
            at += after;
            session = session.after_all(&[Change::state(By::Page, state)], at).unwrap().unwrap();
        }
    }
    assert_eq!((session.spec.pauses.len(), session.paused_ns()), (100, 450));
    assert_eq!(session.active_ns(at), Some(1_050));
}

#[test]
fn a_scenario_has_ended_when_no_node_runs_it() {
    let live = ["one", "two"].map(running);
    let members = ["gone", "one", "two"].map(str::to_owned).to_vec();
    let mut session = session(&[("a", Target::default()), ("b", Target::default())]).of_run("r");
    session.status.members = members;
    let over = |session: &Session, scenario: &str, node: &str| session.scenario_over(scenario, node, &live);
    assert_eq!(over(&session, "c", "one"), None);
    let partly = over(&session, "a", "one").unwrap();
    assert_eq!(partly.phase("a"), Phase::Running, "another node may run longer");
    assert_eq!(over(&partly, "a", "one"), None, "the report changes nothing");
    let ended = over(&partly, "a", "two").unwrap();
    assert_eq!(ended.phase("a"), Phase::Ended, "a node that is gone is not waited for");
    assert_eq!(ended.phase("b"), Phase::Running);
}

#[test]
fn a_session_is_joined_while_one_of_its_nodes_is_alive_and_begun_anew_afterwards() {
    let node = running;
    let wanted = |run: &str| session(&[("a", Target::default())]).of_run(run);
    let taken = |there: Option<&Session>, run: &str, id: &str, live: &[&str]| {
        let live: Vec<_> = live.iter().map(|id| node(id)).collect();
        Session::joined_or_created(there, &wanted(run), id, &live)
    };
    let one = taken(None, "1", "a", &["a"]).unwrap();
    let two = taken(Some(&one), "2", "b", &["a", "b"]).unwrap();
    assert_eq!((two.status.run.as_str(), two.status.members.join(" ")), ("1", "a b".to_owned()));
    assert_eq!(taken(Some(&two), "2", "b", &["a", "b"]).unwrap(), two, "asking again changes nothing");
    let anew = taken(Some(&two), "3", "c", &["c", "x"]).unwrap();
    assert_eq!((anew.status.run.as_str(), anew.status.members.join(" ")), ("3", "c".to_owned()));
    let mut stopped = two;
    stopped.spec.state = SessionState::Stopped;
    let refused = taken(Some(&stopped), "3", "c", &["b", "c"]).unwrap_err();
    assert!(matches!(refused, BoardError::Ending(_)), "{refused}");
    assert_eq!(taken(Some(&stopped), "3", "c", &["c"]).unwrap().status.run, "3");
}

#[test]
fn the_last_live_node_ends_the_session() {
    let node = running;
    let members = ["a", "b", "dead"].map(str::to_owned).to_vec();
    let mut begun = session(&[("a", Target::default())]).of_run("r");
    begun.status.members = members;
    let live = ["a", "b", "other"].map(node);
    let one = begun.done_by("a", By::Schedule, 5, &live).unwrap();
    assert_eq!((one.spec.state, one.spec.last_changes.len()), (SessionState::Running, 0));
    assert_eq!(one.done_by("a", By::Schedule, 6, &live), None);
    let two = one.done_by("b", By::Schedule, 7, &live).unwrap();
    assert_eq!((two.spec.state, two.spec.last_changes[0].mark.at_unix_ns), (SessionState::Stopped, 7));
}

#[test]
fn of_several_changes_all_are_made_or_none() {
    let session = session(&[("a", Target { workers: 5, ..Target::default() })]);
    let limit = |limit| ChangeTo::Limit(Limited::Certificates, Some(limit));
    let to = |changes: [ChangeTo; 3]| changes.map(|to| Change::new(By::Page, to));
    let next = session.after_all(&to([ChangeTo::Workers(9), limit(7), ChangeTo::Workers(9)]), 3).unwrap();
    let next = next.expect("two of them change something");
    let whats: Vec<_> =
        next.spec.last_changes.iter().map(|change| (&change.mark.what, change.mark.at_unix_ns)).collect();
    assert_eq!(whats, [(&MarkWhat::Workers, 3), (&MarkWhat::Limits, 3)]);
    assert_eq!(next.after_all(&to([limit(7), ChangeTo::Workers(9), limit(7)]), 4).unwrap(), None);
    let refused = next.after_all(&to([limit(8), ChangeTo::Rate(1.0), ChangeTo::Workers(1)]), 5);
    assert!(matches!(refused, Err(BoardError::NoRate { .. })), "{refused:?}");
}

#[test]
fn with_several_scenarios_the_scenario_must_be_named() {
    let two = session(&[("a", Target::default()), ("b", Target::default())]);
    assert_eq!(
        shown(&two, Change::workers(By::Cli, 1)),
        "session \"s\" has several scenarios: name one of a, b"
    );
    assert_eq!(
        shown(&two, Change::workers(By::Cli, 1).of("c")),
        "session \"s\" has no scenario \"c\": name one of a, b"
    );
    assert_eq!(shown(&two, Change::workers(By::Cli, 1).of("b")), "cli b workers: 0 -> 1");
}

#[test]
fn a_scenario_that_keeps_workers_has_no_rate_to_change() {
    let refused = shown(&session(&[("a", Target::default())]), Change::new(By::Api, ChangeTo::Rate(5.0)));
    assert_eq!(refused, "scenario \"a\" keeps a number of workers and has no rate: change its workers");
}

#[test]
fn a_persons_change_overrides_the_schedule() {
    let scheduled = session(&[("a", Target { workers: 5, scheduled: true, ..Target::default() })]);
    let next = scheduled.after(&Change::workers(By::Schedule, 9), 0).unwrap().unwrap();
    assert!(next.spec.scenarios["a"].scheduled);
    let next = next.after(&Change::workers(By::Page, 3), 0).unwrap().unwrap();
    assert!(!next.spec.scenarios["a"].scheduled);
    assert_eq!(shown(&next, Change::workers(By::Schedule, 20)), "none");
}

#[test]
fn a_change_in_the_middle_of_a_stage_starts_from_the_value_at_that_moment() {
    let stages = [(0, 10.0), (100, 110.0), (100, 20.0), (150, 20.0)];
    let stages: Vec<_> = stages.map(|(at_ns, value)| StagePoint { at_ns, value }).into();
    let workers = Target { workers: 110, scheduled: true, stages, ..Target::default() };
    let began = |target: &Target| session(&[("a", target.clone())]).of_run("r").begun(1_000).unwrap();
    let at = |session: &Session, at: u64, to| match session.after(&Change::new(By::Cli, to), at).unwrap() {
        Some(next) => {
            assert!(!next.spec.scenarios["a"].scheduled);
            let mark = &next.spec.last_changes[0].mark;
            format!("{} -> {}", mark.from, mark.to)
        }
        None => "none".to_owned(),
    };
    for (when, to, expected) in [
        (1_000, 50, "10 -> 50"),
        (1_047, 50, "57 -> 50"),
        (1_047, 110, "57 -> 110"),
        (1_040, 50, "50 -> 50"),
        (1_100, 50, "20 -> 50"),
        (9_000, 110, "none"),
        (9_000, 50, "20 -> 50"),
    ] {
        assert_eq!(at(&began(&workers), when, ChangeTo::Workers(to)), expected, "at {when}");
    }
    let waits = Target { waits: true, ..workers.clone() };
    assert_eq!(at(&began(&waits), 1_547, ChangeTo::Workers(50)), "10 -> 50");
    let waited = began(&waits).scenario_begun("a", 1_500).unwrap();
    assert_eq!(at(&waited, 1_547, ChangeTo::Workers(50)), "57 -> 50");
    let rate = Target { workers: 9, rate: Some(110.0), ..workers };
    assert_eq!(at(&began(&rate), 1_033, ChangeTo::Rate(50.0)), "43 -> 50");
}

#[test]
fn changing_the_cap_on_workers_does_not_end_the_schedule_of_a_rate() {
    let ramp = Target { workers: 5, rate: Some(2.0), scheduled: true, ..Target::default() };
    let next = session(&[("a", ramp)]).after(&Change::workers(By::Page, 50), 0).unwrap().unwrap();
    assert!(next.spec.scenarios["a"].scheduled);
    let next = next.after(&Change::new(By::Page, ChangeTo::Rate(7.0)), 0).unwrap().unwrap();
    assert!(!next.spec.scenarios["a"].scheduled);
}
