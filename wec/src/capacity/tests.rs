//! Searches without processes, under a paused clock, against a CA whose capacity is known.

mod fake;

use std::time::Duration;

use tokio::time::sleep;
use wec_board::{By, Change, ChangeTo, SessionState};
use wec_startup::{Exit, Stop};

use self::fake::Searching;
use super::exit;
use super::findings::{Findings, Step};
use super::search::{StepResult, Why};
use crate::paused::{Ca, paused};

fn steps(found: &Findings) -> Vec<(f64, StepResult)> {
    found.steps.iter().map(|step| (step.rate, step.judgement.outcome)).collect()
}

fn outcome(step: Option<&Step>) -> Option<StepResult> {
    step.map(|step| step.judgement.outcome)
}

fn exit_of(found: &Findings) -> Exit {
    exit(found, false, &Stop::default())
}

#[test]
fn the_knee_is_within_its_width_of_the_capacity() {
    const TRUTH: f64 = 22.5;
    paused(async {
        let ca = Ca::serving(TRUTH);
        let search = Searching::start(&ca, &[("capacity.from", "5/s"), ("capacity.resolution", "20%")]);
        let found = search.end().await;
        let (knee, above) = (found.answer.knee.unwrap(), found.answer.above.unwrap());
        assert!(knee <= TRUTH && TRUTH < above && above - knee <= 0.2 * above, "{:?}", found.answer);
        assert_eq!(
            (found.answer.why, outcome(found.hold.as_ref())),
            (Why::Narrow, Some(StepResult::Sustained))
        );
        let steps = steps(&found);
        assert!(
            steps.contains(&(5.0, StepResult::Sustained)) && steps.contains(&(40.0, StepResult::Failed)),
            "{steps:?}"
        );
        for step in found.steps.iter().filter(|step| step.judgement.outcome == StepResult::Sustained) {
            let reached = step.figures.ended as f64 * 1e9 / step.figures.over_ns as f64;
            assert!((reached / step.rate - 1.0).abs() < 0.1, "{reached} of {}", step.rate);
        }
        assert_eq!(exit_of(&found), Exit::Passed);
    });
}

/// One account in five is refused at every rate, which is above the usual bound of 1 %.
#[test]
fn failures_that_do_not_depend_on_the_load_do_not_lower_the_knee() {
    paused(async {
        let ca = Ca::serving(200.0);
        ca.refuse_every(5);
        let keys = [("capacity.from", "5/s"), ("capacity.to", "20/s"), ("capacity.hold_at", "off")];
        let found = Searching::start(&ca, &keys).end().await;
        assert_eq!(
            (found.answer.why, found.answer.knee),
            (Why::ReachedTo, Some(20.0)),
            "{:?}",
            steps(&found)
        );
        for step in &found.steps {
            let refused: u64 = step.independent.iter().map(|failure| failure.count).sum();
            assert!(refused > 0 && refused == step.figures.failed, "{step:?}");
        }
    });
}

#[test]
fn the_hold_is_within_the_time_of_the_search() {
    paused(async {
        let keys = [("capacity.from", "2/s"), ("capacity.step", "x1.1"), ("capacity.max_time", "45s")];
        let found = Searching::start(&Ca::serving(200.0), &keys).end().await;
        assert_eq!(found.answer.why, Why::Over);
        assert!(found.took_ns <= 45_000_000_000, "{}", found.took_ns);
        let hold = found.hold.as_ref().unwrap();
        assert!(hold.figures.over_ns >= 2_000_000_000, "{hold:?}");
        assert_eq!(hold.judgement.outcome, StepResult::Sustained);
        assert_eq!(exit_of(&found), Exit::Passed);
    });
}

#[test]
fn a_hold_that_fails_by_chance_is_repeated() {
    paused(async {
        let ca = Ca::serving(200.0);
        let keys = [("capacity.from", "10/s"), ("capacity.to", "10/s")];
        let search = Searching::start(&ca, &keys);
        search.rate(|rate| rate == 8.0).await;
        ca.serve(2.0);
        sleep(Duration::from_secs(3)).await;
        ca.serve(200.0);
        let found = search.end().await;
        assert_eq!(outcome(found.hold.as_ref()), Some(StepResult::Sustained));
        assert_eq!((found.disturbed, exit_of(&found)), (0, Exit::Passed));
    });
}

#[test]
fn a_search_continues_after_the_ca_went_down_and_holds_below_the_knee() {
    paused(async {
        let ca = Ca::serving(200.0);
        let keys = [("capacity.from", "10/s"), ("capacity.resolution", "30%"), ("capacity.recover", "60s")];
        let search = Searching::start(&ca, &keys);
        search.rate(|rate| rate >= 40.0).await;
        ca.is_down(true);
        search.rate(|rate| rate <= 5.0).await;
        sleep(Duration::from_secs(4)).await;
        ca.is_down(false);
        let found = search.end().await;
        let down: Vec<_> =
            found.steps.iter().filter(|step| step.judgement.outcome == StepResult::Down).collect();
        let [down] = down[..] else { panic!("the CA went down once: {:?}", steps(&found)) };
        assert_eq!(down.rate, 40.0);
        assert!(down.recovered_ns.is_some_and(|after| after >= 4_000_000_000), "{down:?}");
        let rates = found.steps.iter().filter(|step| step.rate >= 40.0);
        assert_eq!(rates.count(), 1, "a rate at which it was down is not tried again: {:?}", steps(&found));
        assert!(
            found.answer.knee.unwrap() < 40.0 && found.answer.above.unwrap() <= 40.0,
            "{:?}",
            found.answer
        );
        assert_eq!(outcome(found.hold.as_ref()), Some(StepResult::Sustained));
        assert_eq!(exit_of(&found), Exit::Passed);
    });
}

#[test]
fn a_ca_that_does_not_recover_ends_the_search_with_the_known_result() {
    paused(async {
        let ca = Ca::serving(200.0);
        let search = Searching::start(&ca, &[("capacity.from", "10/s"), ("capacity.recover", "6s")]);
        search.rate(|rate| rate >= 20.0).await;
        ca.is_down(true);
        let found = search.end().await;
        assert_eq!(
            (found.answer.why, found.answer.knee, found.answer.above),
            (Why::Gone, Some(10.0), Some(20.0))
        );
        assert!(found.hold.is_none());
        assert_eq!(exit_of(&found), Exit::Failed);
    });
}

/// No chain is answered within the time after the load was removed.
#[test]
fn a_ca_that_does_not_answer_what_is_in_flight_ends_the_search() {
    paused(async {
        let ca = Ca::serving(200.0);
        let search = Searching::start(&ca, &[("capacity.from", "10/s"), ("capacity.recover", "6s")]);
        search.rate(|rate| rate >= 20.0).await;
        ca.serve(0.01);
        let found = search.end().await;
        assert_eq!((found.answer.why, found.answer.knee), (Why::Gone, Some(10.0)), "{:?}", steps(&found));
        assert_eq!(exit_of(&found), Exit::Failed);
    });
}

#[test]
fn a_generator_limited_step_is_no_verdict_on_the_ca() {
    paused(async {
        // Any run uses more than a thousandth of a processor.
        let keys = [("capacity.from", "100/s"), ("limited_cpu", "0.1%"), ("capacity.settle", "4s..9s")];
        let found = Searching::start(&Ca::serving(1_000.0), &keys).end().await;
        assert_eq!((found.answer.why, found.answer.knee), (Why::Limited, None));
        assert_eq!(
            steps(&found),
            [(100.0, StepResult::Limited); 2],
            "the step is repeated once, then the search ends"
        );
        let reason = &found.steps[0].judgement.reasons[0];
        assert!(reason.contains("worker thread"), "{reason}");
        assert_eq!(exit(&found, true, &Stop::default()), Exit::GeneratorLimited);
    });
}

#[test]
fn an_interrupt_ends_the_search_with_the_known_result() {
    paused(async {
        let keys = [("capacity.from", "10/s"), ("capacity.step", "10/s")];
        let search = Searching::start(&Ca::serving(200.0), &keys);
        search.rate(|rate| rate >= 20.0).await;
        sleep(Duration::from_secs(2)).await;
        search.stop.finish.cancel();
        let found = search.end().await;
        assert_eq!((found.answer.why, found.answer.knee), (Why::Cut, Some(10.0)));
        assert_eq!(steps(&found), [(10.0, StepResult::Sustained)]);
        assert_eq!((exit_of(&found), found.ended_by), (Exit::Interrupted, None));
    });
}

#[test]
fn a_run_that_somebody_stops_ends_the_search() {
    paused(async {
        let search = Searching::start(&Ca::serving(200.0), &[("capacity.from", "10/s")]);
        search.rate(|rate| rate >= 20.0).await;
        search.change(Change::state(By::Page, SessionState::Stopped)).await;
        let found = search.end().await;
        assert_eq!((found.answer.why, found.answer.knee), (Why::Cut, Some(10.0)));
        assert_eq!(found.ended_by.as_deref(), Some("page"));
    });
}

/// A search of one rate, 5/s, at a CA that serves 22.5/s.
const ONE_RATE: [(&str, &str); 2] = [("capacity.from", "5/s"), ("capacity.to", "5/s")];

fn found_in_spite_of(found: &Findings, disturbed: u32) {
    assert_eq!(found.disturbed, disturbed);
    assert_eq!((found.answer.why, found.answer.knee), (Why::ReachedTo, Some(5.0)));
    assert_eq!(steps(found), [(5.0, StepResult::Sustained)]);
    assert_eq!(outcome(found.hold.as_ref()), Some(StepResult::Sustained));
    let due = found.steps[0].figures.due;
    assert!(
        (14..=16).contains(&due),
        "{due} of the 15 in 3 s: the window has iterations of before the restart"
    );
}

#[test]
fn a_change_of_rate_restarts_a_step_and_a_change_of_weights_the_hold() {
    paused(async {
        let search = Searching::start(&Ca::serving(22.5), &ONE_RATE);
        search.rate(|rate| rate == 5.0).await;
        sleep(Duration::from_secs(2)).await;
        // More than the CA serves: a step at this rate would fail.
        search.change(Change::new(By::Page, ChangeTo::Rate(60.0))).await;
        search.rate(|rate| rate == 4.0).await;
        search
            .change(Change::new(By::Page, ChangeTo::Weights([("registration".to_owned(), 2.0)].into())))
            .await;
        found_in_spite_of(&search.end().await, 2);
    });
}

#[test]
fn a_step_is_restarted_after_any_pause() {
    paused(async {
        let search = Searching::start(&Ca::serving(22.5), &ONE_RATE);
        let pauses = async |time| {
            search.change(Change::state(By::Page, SessionState::Paused)).await;
            sleep(time).await;
            search.change(Change::state(By::Page, SessionState::Running)).await;
        };
        search.rate(|rate| rate == 5.0).await;
        sleep(Duration::from_secs(4)).await;
        pauses(Duration::from_secs(60)).await;
        sleep(Duration::from_secs(4)).await;
        // Over before the search looks at the session.
        pauses(Duration::ZERO).await;
        found_in_spite_of(&search.end().await, 2);
    });
}

#[test]
fn a_run_that_is_refused_ends_the_search_without_a_step() {
    paused(async {
        let search = Searching::without("challenges", &Ca::serving(200.0), &[]);
        let (error, found) = search.refused().await;
        assert_eq!(error.to_string(), "no challenges today");
        assert_eq!((found.steps.len(), found.answer.why, found.answer.knee), (0, Why::Cut, None));
    });
}
