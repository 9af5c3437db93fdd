//! Several scenarios in one run: beside each other, and one after the other.

use std::collections::BTreeMap;

use super::*;
use crate::executor::Load;
use crate::scenario::Scenario;

/// An everyday load of a minute; a storm beside it from its twentieth second on, for ten seconds; and five seconds after
/// its end a clean-up of three iterations.
fn three() -> Plan {
    let mut plan = plan("1", None);
    let seconds = Duration::from_secs;
    let named =
        |name: &str| Scenario { name: name.to_owned(), run_time: seconds(60), ..plan.scenarios[0].clone() };
    let everyday = named("everyday");
    let storm = Scenario { start_at: seconds(20), run_time: seconds(10), ..named("storm") };
    let clean_up = Scenario {
        start_at: seconds(5),
        after: Some(everyday.name.clone()),
        load: Load::of_iterations(3, 1),
        ..named("clean-up")
    };
    plan.scenarios = vec![clean_up, everyday, storm];
    plan
}

/// The iterations of a scenario.
#[derive(Debug)]
struct Span {
    /// When the first began and the last ended, seconds after the first of all scenarios began.
    began: f64,
    ended: f64,
    iterations: usize,
}

impl Span {
    fn of_each(lists: &[&List]) -> BTreeMap<String, Self> {
        let results: Vec<_> = lists.iter().flat_map(|list| list.results.borrow().clone()).collect();
        let zero = results.iter().map(|result| result.started).min().unwrap();
        let seconds = |at: u64| (at - zero) as f64 / 1e9;
        let mut spans = BTreeMap::new();
        for result in &results {
            let first = || Self { began: f64::MAX, ended: 0.0, iterations: 0 };
            let span = spans.entry(result.scenario.clone()).or_insert_with(first);
            span.began = span.began.min(seconds(result.started));
            span.ended = span.ended.max(seconds(result.done));
            span.iterations += 1;
        }
        spans
    }
}

/// The clean-up, which waited for the everyday load.
fn is_after_the_everyday_load(spans: &BTreeMap<String, Span>) {
    let (everyday, clean_up) = (&spans["everyday"], &spans["clean-up"]);
    let waited = clean_up.began - everyday.ended;
    assert!((5.0..6.0).contains(&waited), "{spans:?}");
    assert_eq!(clean_up.iterations, 3, "{spans:?}");
}

#[test]
fn a_scenario_starts_at_its_time_and_another_after_the_end_of_the_one_it_waits_for() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = Run::start("a", three(), Fake::new(&ca, &board));
        let list = Arc::clone(&run.list);
        let ended = run.end().await;
        let spans = Span::of_each(&[&list]);
        let (everyday, storm) = (&spans["everyday"], &spans["storm"]);
        assert!((60.0..61.0).contains(&everyday.ended), "{spans:?}");
        assert!((20.0..21.0).contains(&storm.began) && (30.0..31.0).contains(&storm.ended), "{spans:?}");
        is_after_the_everyday_load(&spans);
        assert_eq!(ended.iterations as usize, spans.values().map(|span| span.iterations).sum::<usize>());
    });
}

#[test]
fn a_pause_postpones_the_scenarios_that_have_not_started() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = Run::start("a", three(), Fake::new(&ca, &board));
        run.results(5).await;
        board.change("default", Change::state(By::Page, SessionState::Paused)).await.unwrap();
        sleep(Duration::from_secs(100)).await;
        board.change("default", Change::state(By::Page, SessionState::Running)).await.unwrap();
        let list = Arc::clone(&run.list);
        run.end().await;
        let spans = Span::of_each(&[&list]);
        let (everyday, storm) = (&spans["everyday"], &spans["storm"]);
        assert!((160.0..161.0).contains(&everyday.ended), "{spans:?}");
        assert!((120.0..121.0).contains(&storm.began), "{spans:?}");
        is_after_the_everyday_load(&spans);
    });
}

#[test]
fn a_scenario_waits_for_the_end_of_another_at_all_nodes() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let both = ["a", "b"].map(|name| Run::start(name, three(), Fake::new(&ca, &board)));
        let lists = both.each_ref().map(|run| Arc::clone(&run.list));
        for run in both {
            run.end().await;
        }
        is_after_the_everyday_load(&Span::of_each(&lists.each_ref().map(Arc::as_ref)));
    });
}
