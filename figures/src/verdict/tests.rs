use wec_record::{
    Chain, FailureClass, Mark, MarkValue, MarkWhat, RequestResult, RunHeader, ScenarioSample, Stamp,
    StateCounts,
};

use super::*;

const START_S: u64 = 1_795_254_960;

fn verdict(expressions: &[&str]) -> RunVerdict {
    let thresholds: Vec<Threshold> = expressions.iter().map(|text| text.parse().unwrap()).collect();
    RunVerdict::new(&thresholds, START_S * SECOND, 0)
}

/// A certificate chain with one POST to newOrder that ended `second` seconds after the start and took `ms`.
fn chain(second: u64, ms: u64, class: Option<FailureClass>) -> Record {
    let (done, took) = (second * SECOND + SECOND / 2, ms * 1_000_000);
    let request = RequestResult {
        took,
        done,
        sent: done - took / 2,
        endpoint: "newOrder".into(),
        method: "POST".into(),
        successful: class.is_none(),
        class,
        status: if class.is_none() { 201 } else { 503 },
        ..RequestResult::default()
    };
    let result = ChainResult {
        chain: Some(Chain::Certificate),
        successful: class.is_none(),
        class,
        issued: class.is_none(),
        took,
        started: done - took / 2,
        done,
        requests: vec![request],
        ..ChainResult::default()
    };
    Record::Chain { node: "r1".to_owned(), origin_unix_ns: START_S * SECOND, result }
}

#[test]
fn what_ended_in_the_warm_up_is_not_judged() {
    let thresholds = ["chain{failed} < 1%", "chain{failed} < 1% over 2s", "issued{rate} >= 1"];
    let thresholds: Vec<Threshold> = thresholds.iter().filter_map(|text| text.parse().ok()).collect();
    let judged = |warm_up: u64| {
        let mut verdict = RunVerdict::new(&thresholds, START_S * SECOND, warm_up * SECOND);
        let failed = |second| (second < 3).then_some(FailureClass::ServerError);
        let chains: Vec<_> = (0..10).map(|second| chain(second, 20, failed(second))).collect();
        chains.iter().for_each(|chain| verdict.record(chain));
        let results = verdict.results((10 - warm_up) * SECOND);
        results.into_iter().map(|result| (result.passed, result.n)).take(2).collect::<Vec<_>>()
    };
    assert_eq!(judged(0)[0], (Some(false), 10));
    assert_eq!(judged(0)[1].0, Some(false));
    assert_eq!(judged(3)[0], (Some(true), 7));
    assert_eq!(judged(3)[1].0, Some(true));
}

#[test]
fn what_was_in_flight_at_the_end_of_the_warm_up_is_required_after_it() {
    let achieved = |in_flight: u64, warm_up: u64| {
        let threshold = "rate{achieved/target} >= 1".parse().unwrap();
        let mut verdict = RunVerdict::new(&[threshold], START_S * SECOND, warm_up * SECOND);
        // 10/s, of which some end in the second after their start, until all have ended.
        for second in 0..=10_u64 {
            let started = 10 * second;
            let ended = if second == 10 { started } else { started.saturating_sub(in_flight) };
            let scenario = ScenarioSample {
                rate_unit: "chains".to_owned(),
                asked: started,
                started,
                ended,
                ..ScenarioSample::default()
            };
            let load = LoadSample { scenarios: vec![scenario], ..LoadSample::default() };
            let at_unix_ns = (START_S + second) * SECOND;
            verdict.record(&Record::Load { node: "r1".to_owned(), seq: 0, at_unix_ns, load });
        }
        verdict.results((10 - warm_up) * SECOND)[0].value
    };
    for (in_flight, warm_up) in [(0, 0), (3, 0), (0, 4), (3, 4), (9, 4)] {
        assert_eq!(achieved(in_flight, warm_up), Some(1.0), "{in_flight} in flight, warm-up of {warm_up} s");
    }
}

fn tick(second: u64) -> Record {
    let at_unix_ns = (START_S + second) * SECOND;
    Record::State { node: "r1".to_owned(), seq: 0, at_unix_ns, counts: StateCounts::default() }
}

fn state(second: u64, by: &str, to: &str) -> Record {
    let to = MarkValue::parse(&MarkWhat::State, to);
    Record::Mark(Mark::new((START_S + second) * SECOND, by.into(), MarkWhat::State, to))
}

/// A sample of a node that shares 100/s with others: totals of all nodes and of its part, which it made.
fn shared(node: &str, second: u64, of_all: u64, part: u64) -> Record {
    let scenario = ScenarioSample {
        name: "default".to_owned(),
        rate_unit: "chains".to_owned(),
        ended: part,
        asked: part,
        due: part,
        rate_target_of_all: Some(100.0),
        scheduled_of_all: of_all as f64,
        scheduled: part as f64,
        ..ScenarioSample::default()
    };
    let load = LoadSample { scenarios: vec![scenario], ..LoadSample::default() };
    let at_unix_ns = (START_S + second) * SECOND + SECOND / 2;
    Record::Load { node: node.to_owned(), seq: 0, at_unix_ns, load }
}

/// Nodes of 60/s and 40/s; the second dies after 20 s, and the first takes its part over after 30 s.
fn of_two(seconds: u64) -> Vec<Record> {
    let of_second = |second: u64| {
        let first = 60 * second.min(30) + 100 * second.saturating_sub(30);
        let both = [shared("a", second, 100 * second, first), shared("b", second, 100 * second, 40 * second)];
        both.into_iter().take(if second <= 20 { 2 } else { 1 })
    };
    (0..=seconds).flat_map(of_second).collect()
}

#[test]
fn what_no_node_had_as_its_part_was_not_achieved() {
    let mut verdict = verdict(&[
        "rate{achieved/target} >= 0.99",
        "rate{achieved/target} >= 0.99 over 5s",
        "rate{achieved/target} >= 0.9",
    ]);
    of_two(19).iter().for_each(|record| verdict.record(record));
    let results = verdict.results(20 * SECOND);
    assert!(results.iter().all(|result| result.passed == Some(true)), "{results:?}");
    of_two(60)[40..].iter().for_each(|record| verdict.record(record));
    let results = verdict.results(60 * SECOND);
    // 400 of 6,000 are missing.
    assert_eq!(results[0].value, Some(0.933_333), "{results:?}");
    assert_eq!(results[1].value, Some(0.6), "in the worst window");
    assert_eq!(results[2].passed, Some(true));
}

#[test]
fn samples_that_arrive_late_change_no_total() {
    let mut records = of_two(60);
    // All of the second node arrive some seconds later than those of the first.
    records.sort_by_key(|record| match record {
        Record::Load { node, at_unix_ns, .. } => at_unix_ns / SECOND + if node == "b" { 3 } else { 0 },
        other => panic!("{other:?}"),
    });
    let mut verdict = verdict(&["rate{achieved/target} >= 0.9"]);
    records.iter().for_each(|record| verdict.record(record));
    let value = verdict.results(60 * SECOND)[0].value.unwrap();
    assert!((0.92..0.94).contains(&value), "{value}");
}

fn load(second: u64, ended: u64, asked: u64, due: u64, dropped: u64) -> Record {
    let scenario = ScenarioSample {
        name: "default".to_owned(),
        rate_unit: "chains".to_owned(),
        ended,
        asked,
        due,
        dropped,
        ..ScenarioSample::default()
    };
    Record::Load {
        node: "r1".to_owned(),
        seq: 0,
        at_unix_ns: (START_S + second) * SECOND,
        load: LoadSample { scenarios: vec![scenario], ..LoadSample::default() },
    }
}

fn judged(expression: &str, records: impl IntoIterator<Item = Record>) -> ThresholdResult {
    let mut verdict = verdict(&[expression]);
    records.into_iter().for_each(|record| verdict.record(&record));
    verdict.results(verdict.latest_unix_ns - START_S * SECOND).remove(0)
}

#[test]
fn each_metric_measures_what_it_names() {
    // A hundred chains of 1 to 100 ms in ten seconds; every tenth is refused.
    let records = || {
        let chains =
            (0..100_u64).map(|i| chain(i / 10, i + 1, (i % 10 == 9).then_some(FailureClass::ServerError)));
        chains.chain([load(10, 90, 100, 120, 20), tick(10)])
    };
    let cases = [
        ("chain.certificate{count} > 0", Some(100.0), 100),
        ("chain{count} > 0", Some(100.0), 100),
        ("chain.revoke{count} < 1", Some(0.0), 0),
        ("chain.revoke{failed} < 1%", None, 0),
        ("chain.certificate{failed} < 1%", Some(0.1), 100),
        ("chain.certificate{rate} > 1", Some(10.0), 100),
        ("chain.certificate{min} < 1s", Some(1e6), 90),
        ("chain.certificate{max} < 1s", Some(99e6), 90),
        ("chain.certificate{service.max} < 1s", Some(49.5e6), 90),
        ("chain.certificate{avg} < 1s", Some(50e6), 90),
        ("chain.certificate{p(99)} < 1s", None, 90),
        ("requests{endpoint=newOrder}{failed} < 1%", Some(0.1), 100),
        ("requests{endpoint=finalize}{count} < 1", Some(0.0), 0),
        ("requests{status=5xx}{count} < 1", Some(10.0), 10),
        ("requests{status=503}{max} < 1s", Some(100e6), 10),
        ("requests{max} < 1s", Some(99e6), 90),
        ("certificates{rate} > 1", Some(9.0), 90),
        ("errors{count} < 1", Some(10.0), 10),
        ("errors{class=server-error}{count} < 1", Some(10.0), 10),
        ("errors{class=timeout}{count} < 1", Some(0.0), 0),
        ("nonces{rejected} < 1%", Some(0.0), 100),
        ("rate{achieved/target} > 0.98", Some(0.9), 90),
        ("dropped < 1%", Some(0.166_667), 120),
    ];
    for (expression, value, n) in cases {
        let result = judged(expression, records());
        assert_eq!((result.value, result.n), (value, n), "{expression}");
    }
}

#[test]
fn a_threshold_without_a_value_is_undecided() {
    for expression in ["chain{p(50)} < 1m", "chain{failed} < 1%", "rate{achieved/target} > 0", "dropped < 1%"]
    {
        let result = judged(expression, [tick(5)]);
        assert_eq!((result.value, result.passed), (None, None), "{expression}");
    }
    let window = judged("chain{p(50)} < 1s over 5s", (0..10).map(|second| chain(second, 1, None)));
    assert_eq!(
        (window.passed, window.windows),
        (None, Some(0)),
        "five samples in a window do not suffice for a median"
    );
}

/// One slow second in twenty does not show in the whole run's median, but in every window that contains it.
#[test]
fn a_window_shows_what_the_whole_runs_median_hides() {
    let records = || {
        let chains = (0..20_u64).flat_map(|second| {
            (0..50).map(move |_| chain(second, if second == 12 { 400 } else { 10 }, None))
        });
        chains.chain([tick(20)])
    };
    assert_eq!(judged("chain{p(50)} < 100ms", records()).passed, Some(true));
    let window = judged("chain{p(50)} < 100ms over 1s", records());
    assert_eq!((window.passed, window.windows, window.windows_failed), (Some(false), Some(20), Some(1)));
    assert_eq!(window.worst_unix_ns, Some((START_S + 12) * SECOND));
    let value = window.value.unwrap();
    assert!((value - 400e6).abs() <= 0.4e6, "exact to three digits: {value}");
    assert_eq!(window.n, 50);
    assert_eq!(judged("chain{p(50)} < 100ms over 3s", records()).windows_failed, Some(0));
    let graced = judged("chain{p(50)} < 100ms over 1s abort after 13s", records());
    assert_eq!((graced.passed, graced.windows), (Some(true), Some(7)), "only windows after the grace period");
}

#[test]
fn a_starved_scenario_fails_its_threshold_beside_another() {
    let of = |second: u64, name: &str, unit: &str, done: u64, asked: u64| {
        let mut record = load(second, done, asked, asked, 0);
        let Record::Load { load, .. } = &mut record else { panic!("a load") };
        (load.scenarios[0].name, load.scenarios[0].rate_unit) = (name.to_owned(), unit.to_owned());
        load.scenarios[0].requests = done;
        record
    };
    let records = || {
        let seconds = (1..=10).flat_map(|second| {
            [
                of(second, "few", "chains", 8 * second, 20 * second),
                of(second, "many", "requests", 990 * second, 1_000 * second),
            ]
        });
        seconds.chain([tick(12)])
    };
    for expression in ["rate{achieved/target} > 0.9", "rate{achieved/target} > 0.9 over 3s"] {
        let result = judged(expression, records());
        assert_eq!((result.passed, result.value), (Some(false), Some(0.4)), "{expression}");
    }
}

#[test]
fn a_pause_does_not_count_in_the_time_of_a_rate() {
    let busy = |seconds: std::ops::Range<u64>| {
        seconds.flat_map(|second| (0..20).map(move |_| chain(second, 1, None)))
    };
    let records = || {
        let rest = [state(4, "cli", "paused"), state(10, "cli", "running")];
        busy(0..4).chain(rest).chain(busy(10..14)).chain([tick(14)])
    };
    let result = judged("chain{rate} > 15/s", records());
    assert_eq!((result.passed, result.value), (Some(true), Some(20.0)));
    let on = judged("chain{rate} > 15/s", busy(0..4).chain([state(4, "cli", "paused"), tick(14)]));
    assert_eq!((on.passed, on.value), (Some(true), Some(20.0)), "a pause that continues to the end");
}

#[test]
fn a_window_with_a_smaller_value_fails_an_equality() {
    let records = (0..12).filter(|second| *second != 7).map(|second| chain(second, 1, None));
    let result = judged("chain{count} == 3 over 3s", records);
    assert_eq!((result.passed, result.windows_failed, result.value), (Some(false), Some(3), Some(2.0)));
}

#[test]
fn windows_slide_by_seconds() {
    // 10, 20, … iterations per second: the worst value for `>` is the smallest.
    let chains = (0..8_u64).flat_map(|second| (0..10 * (second + 1)).map(move |_| chain(second, 1, None)));
    let result = judged("chain{rate} >= 25/s over 2s", chains.chain([tick(8)]));
    assert_eq!((result.value, result.n), (Some(15.0), 30));
    assert_eq!((result.windows, result.windows_failed), (Some(7), Some(1)));
    assert_eq!(result.worst_unix_ns, Some(START_S * SECOND));
}

#[test]
fn a_paused_or_ended_load_fails_no_rate() {
    let busy = |seconds: std::ops::Range<u64>| {
        seconds.flat_map(|second| (0..10).map(move |_| chain(second, 1, None)))
    };
    let expression = "chain{rate} > 5/s over 2s";
    let rested = busy(0..4)
        .chain([state(4, "page", "paused"), tick(9), state(10, "page", "running")])
        .chain(busy(11..15))
        .chain([tick(15)]);
    assert_eq!(judged(expression, rested).passed, Some(true));
    let ended = busy(0..4).chain([state(4, "cli", "stopped"), tick(30)]);
    assert_eq!(judged(expression, ended).passed, Some(true));
    let silent = busy(0..4).chain([tick(30)]);
    assert_eq!(judged(expression, silent).passed, Some(false), "a running load without iterations fails");
}

#[test]
fn a_threshold_aborts_once_when_it_fails_after_its_grace_and_stays_failed() {
    let failing = |second| chain(second, 1, Some(FailureClass::Problem));
    let mut verdict = verdict(&["chain{failed} < 10% abort after 5s", "chain{count} < 2 abort after 8s"]);
    for second in 0..=6 {
        verdict.record(&failing(second));
        assert!(verdict.wants_end().is_none(), "second {second}");
    }
    verdict.record(&failing(7));
    assert_eq!(
        verdict.wants_end().map(ToString::to_string).as_deref(),
        Some("chain{failed} < 10% abort after 5s")
    );
    let results = verdict.results(7 * SECOND);
    assert!(!results[0].aborted, "the log does not say yet that the run was ended");

    verdict.record(&state(8, "threshold", "stopped"));
    assert!(verdict.wants_end().is_none(), "the abort is requested only once");
    (9..200).for_each(|second| verdict.record(&chain(second, 1, None)));
    let results = verdict.results(200 * SECOND);
    assert_eq!((results[0].passed, results[0].value, results[0].aborted), (Some(false), Some(1.0), true));
    assert!(!results[1].aborted, "it failed after the other had ended the run");
    assert_eq!(results[1].passed, Some(false));
}

#[test]
fn memory_is_bounded_by_the_window() {
    let mut verdict = verdict(&["chain{p(99)} < 1s over 10s"]);
    for second in 0..5_000 {
        verdict.record(&chain(second, second % 900, None));
    }
    // From here on the records have a wrong clock.
    verdict.record(&chain(1 << 30, 1, None));
    let window = verdict.judges[0].window.as_ref().unwrap();
    assert!(window.seconds.len() <= 14, "{}", window.seconds.len());
    assert!(window.sum.cells.iter().count() <= 10);
    assert_eq!(window.sum.n, 10);
}

#[test]
fn a_run_without_thresholds_judges_nothing() {
    let header = RunHeader {
        version: 1,
        run: String::new(),
        session: String::new(),
        program: String::new(),
        target: String::new(),
        started_unix_ns: 1,
        stamp: Stamp { plan: Some(Box::default()), ..Stamp::default() },
    };
    assert!(header.stamp.thresholds().is_empty());
    assert!(RunVerdict::default().results(5).is_empty());
}
