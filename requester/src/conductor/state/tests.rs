use wec_board::{Board, By, Change, LiveValue, Pause, SessionState};

use super::*;
use crate::config::PlanOptions;
use crate::share::tests::among;

const SECOND: u64 = 1_000_000_000;

fn state(options: PlanOptions) -> (ScenarioState, Session) {
    let plan = options.with("directory", "https://127.0.0.1:14000/dir").resolve(None).unwrap();
    // The clock's origin is 1000 s after the epoch; the session begins 100 s later.
    let mut session = plan.session("s");
    session.status.began_unix_ns = Some(1_100 * SECOND);
    (ScenarioState::new(&plan.scenarios[0], 1_000 * SECOND, 1_100 * SECOND), session)
}

fn paused(session: &mut Session, at: Option<u64>, paused_s: u64) {
    session.spec.state = if at.is_some() { SessionState::Paused } else { SessionState::Running };
    let pause = |from_unix_ns, until_unix_ns| Pause { from_unix_ns, until_unix_ns };
    let began = session.status.began_unix_ns.unwrap();
    session.spec.pauses = vec![pause(began, Some(began + paused_s * SECOND))];
    session.spec.pauses.extend(at.map(|at| pause((1_000 + at) * SECOND, None)));
}

fn staged_workers() -> (ScenarioState, Session) {
    state(PlanOptions::default().with("workers", "10").with("stages", "100s:110,0s:20,50s:20"))
}

/// Each value of the table has an effect here, for a scenario that has it.
#[tokio::test]
async fn every_value_that_can_be_changed_has_an_effect() {
    let loads = [[("workers", "50")], [("rate", "50/s")], [("fleet_certificates", "50")]];
    for row in LiveValue::all(true) {
        let mut tried = 0;
        for [(key, value)] in loads {
            let (mut state, session) = state(PlanOptions::default().with(key, value));
            let board = Board::local();
            board.put_session(session).await.unwrap();
            let shown = || board.session("s").borrow().clone().unwrap().value;
            state.see(&shown(), "default", 100 * SECOND);
            let before = format!("{state:?}");
            let sample = row.sample(&shown().spec.scenarios["default"]).unwrap();
            if board.change("s", Change::new(By::Page, sample)).await.is_err() {
                continue;
            }
            state.see(&shown(), "default", 100 * SECOND);
            assert_ne!(format!("{state:?}"), before, "{} of a scenario with {key}", row.key);
            tried += 1;
        }
        assert!(tried > 0, "no scenario has {}", row.key);
    }
}

#[test]
fn follows_its_stages_and_announces_each_once() {
    let (mut state, session) = staged_workers();
    for (at, workers, announced) in [
        (100, 10, Some(ChangeTo::Workers(110))),
        (101, 11, None),
        (150, 60, None),
        (200, 20, Some(ChangeTo::Workers(20))),
        (249, 20, None),
    ] {
        state.see(&session, "default", at * SECOND);
        assert_eq!(
            (state.workers(at * SECOND), state.stage_begun(at * SECOND)),
            (workers, announced),
            "{at}"
        );
        assert!(!state.is_over(at * SECOND));
    }
    assert!(state.is_over(250 * SECOND));
}

#[test]
fn the_demand_of_a_moving_target_changes_in_steps() {
    let (mut state, mut session) = staged_workers();
    state.see(&session, "default", 100 * SECOND);
    // From 10 to 110 workers within 100 s, then 20.
    let demand = |state: &ScenarioState, s: f64| state.demand((s * 1e9) as u64);
    assert_eq!([99.0, 100.0, 150.0, 150.2, 150.4].map(|s| demand(&state, s)), [0.0, 10.0, 60.0, 60.0, 60.0]);
    assert_eq!([151.0, 199.9, 200.0, 249.0].map(|s| demand(&state, s)), [61.0, 110.0, 20.0, 20.0]);
    let target = session.spec.scenarios.get_mut("default").unwrap();
    (target.workers, target.scheduled) = (500, false);
    state.see(&session, "default", 150 * SECOND);
    assert_eq!(demand(&state, 150.1), 500.0, "a change by a person counts at once");
    paused(&mut session, Some(160), 0);
    state.see(&session, "default", 160 * SECOND);
    assert_eq!(demand(&state, 161.0), 0.0);

    let options = PlanOptions::default().with("rate", "10/s").with("stages", "100s:110");
    let (mut state, session) = self::state(options);
    state.see(&session, "default", 100 * SECOND);
    let mut seen: Vec<_> = (0..1_000).map(|ms| demand(&state, 150.0 + f64::from(ms) / 1e3)).collect();
    seen.dedup();
    assert_eq!(seen, [60.0, 60.25, 60.5, 60.75]);
}

#[test]
fn active_time_stops_in_a_pause() {
    let (mut state, mut session) = staged_workers();
    state.see(&session, "default", 110 * SECOND);
    paused(&mut session, Some(110), 0);
    state.see(&session, "default", 110 * SECOND);
    assert!(!state.runs(1_000 * SECOND) && !state.is_over(1_000 * SECOND));
    paused(&mut session, None, 1_000);
    state.see(&session, "default", 1_110 * SECOND);
    assert!(state.runs(1_110 * SECOND));
    assert_eq!(state.workers(1_111 * SECOND), 21);
    assert!(state.is_over(1_250 * SECOND));
}

#[test]
fn a_persons_value_is_kept_and_ends_the_stages() {
    let (mut state, mut session) = staged_workers();
    state.see(&session, "default", 110 * SECOND);
    let target = session.spec.scenarios.get_mut("default").unwrap();
    (target.workers, target.scheduled) = (500, false);
    state.see(&session, "default", 110 * SECOND);
    assert_eq!(state.workers(110 * SECOND), 500);
    assert_eq!((state.workers(200 * SECOND), state.stage_begun(220 * SECOND)), (500, None));
}

#[test]
fn a_changed_rate_takes_effect_where_the_schedule_is() {
    let (mut state, mut session) = state(PlanOptions::default().with("rate", "10/s").with("run_time", "60s"));
    let share = among("a", &["a"]);
    let share = NodePart::Share(&share);
    state.see(&session, "default", 100 * SECOND);
    assert_eq!(state.schedule(share, 100 * SECOND).unwrap().ramp.total(Duration::from_secs(100)), 600.0);
    session.spec.scenarios.get_mut("default").unwrap().rate = Some(20.0);
    state.see(&session, "default", 130 * SECOND);
    let ramp = state.schedule(share, 130 * SECOND).unwrap().ramp;
    assert_eq!((state.rate(131 * SECOND), ramp.total(Duration::from_secs(100))), (Some(20.0), 900.0));
}

#[test]
fn the_target_of_all_nodes_goes_on_while_this_one_has_no_part() {
    let (mut state, session) = state(PlanOptions::default().with("rate", "10/s").with("run_time", "60s"));
    state.shared = true;
    let half = among("a", &["a", "b"]);
    state.see(&session, "default", 100 * SECOND);
    let schedule = state.schedule(NodePart::Share(&half), 100 * SECOND).unwrap();
    let asked = |schedule: &ArrivalSchedule, at: u64| {
        (schedule.asked(at * SECOND), schedule.asked_of_all(at * SECOND), schedule.rate_of_all(at * SECOND))
    };
    assert_eq!(asked(&schedule, 110), (50.0, Some(100.0), Some(10.0)));
    let nothing = state.schedule(NodePart::Nothing { since: 120 * SECOND }, 125 * SECOND).unwrap();
    assert_eq!(asked(&nothing, 130), (100.0, Some(300.0), Some(10.0)));
    let back = state.schedule(NodePart::Share(&half), 140 * SECOND).unwrap();
    assert_eq!(asked(&back, 150), (150.0, Some(500.0), Some(10.0)));
    assert_eq!(asked(&back, 170), (200.0, Some(600.0), Some(0.0)), "until the run time is over");
    assert_eq!(asked(&back.ended(150 * SECOND), 170).1, Some(500.0));
}

#[test]
fn the_requested_load_does_not_grow_in_a_pause_and_follows_a_change_at_once() {
    let options = PlanOptions::default().with("rate", "100 requests/s").with("run_time", "60s");
    let (mut state, mut session) = state(options);
    let share = among("a", &["a"]);
    let share = NodePart::Share(&share);
    let mut asked = |session: &Session, seen: u64, at: f64| {
        state.see(session, "default", seen * SECOND);
        state.schedule(share, seen * SECOND).unwrap().asked((at * 1e9) as u64)
    };
    assert_eq!([100.0, 102.5].map(|at| asked(&session, 100, at)), [0.0, 250.0]);
    paused(&mut session, Some(110), 0);
    assert_eq!([110.0, 119.9].map(|at| asked(&session, 110, at)), [1_000.0, 1_000.0]);
    paused(&mut session, None, 10);
    assert_eq!(asked(&session, 120, 121.0), 1_100.0);
    session.spec.scenarios.get_mut("default").unwrap().rate = Some(10.0);
    assert_eq!(asked(&session, 125, 135.0), 1_600.0);
    assert_eq!(asked(&session, 125, 500.0), 1_500.0 + 45.0 * 10.0, "it does not grow after the run time");
    state.see(&session, "default", 130 * SECOND);
    let ended = state.schedule(share, 130 * SECOND).unwrap().ended(130 * SECOND);
    assert_eq!(ended.asked(150 * SECOND), 1_550.0, "it does not grow after the stop");
}

#[test]
fn a_joining_node_takes_a_part_of_future_arrivals_only() {
    let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
    let (mut state, session) = state(options);
    state.see(&session, "default", 100 * SECOND);
    let (alone, both) = (among("a", &["a"]), among("a", &["a", "b"]));
    let (alone, both) = (NodePart::Share(&alone), NodePart::Share(&both));
    let totals =
        |schedule: ArrivalSchedule| [20, 40, 60].map(|at| schedule.ramp.total(Duration::from_secs(at)));
    assert_eq!(totals(state.schedule(alone, 100 * SECOND).unwrap()), [200.0, 400.0, 600.0]);
    assert_eq!(totals(state.schedule(both, 120 * SECOND).unwrap()), [200.0, 300.0, 400.0]);
    assert_eq!(totals(state.schedule(both, 125 * SECOND).unwrap()), [200.0, 300.0, 400.0]);
    assert_eq!(totals(state.schedule(alone, 140 * SECOND).unwrap()), [200.0, 300.0, 500.0]);
}

#[test]
fn each_node_has_the_whole_speed_of_a_fleet_and_other_members() {
    let options = PlanOptions::default().with("fleet_certificates", "100").with("fleet_speed", "5000");
    let (mut state, session) = state(options.with("run_time", "60s"));
    state.see(&session, "default", 100 * SECOND);
    // Both nodes together have 2000 workers.
    let (a, b) = (among("a", &["a", "b"]), among("b", &["a", "b"]));
    let schedule = state.schedule(NodePart::Share(&a), 100 * SECOND).unwrap();
    assert_eq!((schedule.ramp.total(Duration::from_secs(60)), schedule.ramp.at(Duration::ZERO)), (3e5, 5e3));
    assert_eq!(state.rate_of(NodePart::Share(&a), 100 * SECOND), Some(5e3));
    assert_eq!(state.demand(100 * SECOND), 0.0, "other scenarios have all workers");
    let other = state.schedule(NodePart::Share(&b), 100 * SECOND).unwrap();
    let due = 101 * SECOND;
    let has =
        |schedule: &ArrivalSchedule| (1..=50).filter(|number| schedule.members.has(*number, due)).count();
    assert_eq!((has(&schedule) + has(&other), has(&schedule) > 0), (50, true));
    // Without a part its clock goes on, and what is due then is others'.
    let nothing = state.schedule(NodePart::Nothing { since: 110 * SECOND }, 110 * SECOND).unwrap();
    assert_eq!((nothing.ramp.total(Duration::from_secs(60)), has(&nothing)), (3e5, 0));
    let back = state.schedule(NodePart::Share(&a), 120 * SECOND).unwrap();
    assert_eq!(has(&back), 0, "due before it was back");
    assert!((1..=50).any(|number| back.members.has(number, 121 * SECOND)));
}

#[test]
fn a_node_that_had_to_stop_does_not_catch_up() {
    let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
    let (mut state, session) = state(options);
    state.see(&session, "default", 100 * SECOND);
    let share = among("a", &["a"]);
    let share = NodePart::Share(&share);
    let nothing = |since: u64| NodePart::Nothing { since: since * SECOND };
    assert_eq!(state.schedule(nothing(90), 100 * SECOND), None, "it had no part yet");
    let totals =
        |schedule: ArrivalSchedule| [20, 40, 60].map(|at| schedule.ramp.total(Duration::from_secs(at)));
    assert_eq!(totals(state.schedule(share, 100 * SECOND).unwrap()), [200.0, 400.0, 600.0]);
    // It was stopped, and sees only at 130 s that its right has ended at 110 s.
    assert_eq!(totals(state.schedule(nothing(110), 130 * SECOND).unwrap()), [100.0, 100.0, 100.0]);
    assert_eq!(totals(state.schedule(nothing(110), 135 * SECOND).unwrap()), [100.0, 100.0, 100.0]);
    assert_eq!(totals(state.schedule(share, 140 * SECOND).unwrap()), [100.0, 100.0, 300.0]);
}

/// The second of two nodes, on a machine whose clock began 1050 s after the epoch; ready at once.
fn late(options: PlanOptions) -> (ScenarioState, Session) {
    let (state, mut session) = state(options);
    let ready = 1_050 * SECOND;
    session.status.began_unix_ns = Some(1_000 * SECOND);
    (ScenarioState { clock_unix_ns: ready, ready: 0, ..state }, session)
}

#[test]
fn a_node_that_joins_late_starts_in_the_middle_of_a_ramp() {
    let options = PlanOptions::default().with("workers", "10").with("stages", "100s:110,0s:20,50s:20");
    let (mut state, session) = late(options);
    for (at, workers) in [(0, 60), (10, 70), (50, 20)] {
        state.see(&session, "default", at * SECOND);
        assert_eq!(state.workers(at * SECOND), workers, "{at}");
    }
    assert!(!state.is_over(99 * SECOND) && state.is_over(100 * SECOND));
}

#[test]
fn a_node_that_joins_late_does_not_catch_up() {
    let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
    let (mut state, mut session) = late(options);
    paused(&mut session, None, 20);
    state.see(&session, "default", 0);
    let schedule = state.schedule(NodePart::Share(&among("b", &["a", "b"])), 0).unwrap();
    assert_eq!(schedule.origin, -30 * SECOND as i64);
    assert_eq!(
        [30, 40, 60, 99].map(|at| schedule.ramp.total(Duration::from_secs(at))),
        [0.0, 50.0, 150.0, 150.0]
    );
}

#[test]
fn a_scenario_after_another_begins_at_the_time_on_the_board() {
    let (state, mut session) = staged_workers();
    let mut state = ScenarioState { follows: true, ..state };
    state.see(&session, "default", 150 * SECOND);
    assert!(!state.runs(150 * SECOND) && !state.is_over(10_000 * SECOND));
    session.status.scenarios.entry("default".into()).or_default().begins_ns = Some(40 * SECOND);
    state.see(&session, "default", 150 * SECOND);
    assert_eq!(state.workers(150 * SECOND), 20);
}

#[test]
fn wakes_for_the_next_change_of_its_schedule() {
    let (mut state, session) = staged_workers();
    state.see(&session, "default", 100 * SECOND);
    state.stage_begun(100 * SECOND);
    assert_eq!(state.next_look(100 * SECOND), STEP);
    assert_eq!(state.next_look(200 * SECOND - 20_000_000), Duration::from_millis(20));
    assert_eq!(state.next_look(5_000 * SECOND), STEADY);
}

#[test]
fn a_node_of_several_starts_nothing_that_was_due_before_it_saw_its_part() {
    let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
    let share = among("a", &["a", "b"]);
    let share = NodePart::Share(&share);
    let ms = |ms: u64| ms * 1_000_000;
    // The run begins at 100 s.
    for (seen, before) in [(ms(99_600), 0.0), (ms(100_000), 0.0), (ms(100_400), 4.0)] {
        let (mut state, session) = state(options.clone());
        state.shared = true;
        state.see(&session, "default", seen);
        assert_eq!(state.demand(seen), 10.0, "{seen}");
        let schedule = state.schedule(share, seen).unwrap();
        assert_eq!(schedule.asked(seen), 0.0, "{seen}");
        assert_eq!(
            (schedule.asked(ms(110_000)), schedule.asked_of_all(ms(110_000))),
            (50.0 - before / 2.0, Some(100.0 - before)),
            "{seen}"
        );
    }
}

#[test]
fn a_node_of_several_starts_nothing_that_was_due_before_it_saw_the_end_of_a_pause() {
    let options = PlanOptions::default().with("rate", "10/s").with("run_time", "60s");
    let share = among("a", &["a"]);
    let share = NodePart::Share(&share);
    for (shared, made_up) in [(false, 4.0), (true, 0.0)] {
        let (mut state, mut session) = state(options.clone());
        state.shared = shared;
        let mut asked = |session: &Session, seen_ms: u64| {
            state.see(session, "default", seen_ms * 1_000_000);
            state.schedule(share, seen_ms * 1_000_000).unwrap().asked(seen_ms * 1_000_000)
        };
        assert_eq!(asked(&session, 100_000), 0.0);
        paused(&mut session, Some(110), 0);
        assert_eq!(asked(&session, 110_100), 100.0);
        paused(&mut session, None, 10);
        assert_eq!(asked(&session, 120_400), 100.0 + made_up);
        assert_eq!(asked(&session, 121_400), 110.0 + made_up);
    }
}
