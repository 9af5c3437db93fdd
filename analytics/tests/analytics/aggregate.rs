//! Merging aggregates, and reading the log again, change no figure.

use std::time::Duration;

use proptest::prelude::*;
use wec_analytics::{Aggregate, Analytics, Config, LogPlace, Series, Snapshot, replay};
use wec_board::Board;
use wec_record::{Chain, MarkBy, Record, StateCounts};

use crate::common::{START, chain_record, chain_result, header, load_record, records};

fn aggregated<'a>(records: impl IntoIterator<Item = &'a Record>) -> Aggregate {
    let mut aggregate = Aggregate::default();
    records.into_iter().for_each(|record| aggregate.record(record));
    aggregate
}

fn figures(mut aggregate: Aggregate) -> (Snapshot, Series) {
    (aggregate.snapshot(), aggregate.series(None).0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn merged_aggregates_equal_one_aggregate(a in records(40), b in records(40)) {
        let mut merged = aggregated(&a);
        merged.merge(aggregated(&b));
        prop_assert_eq!(figures(merged), figures(aggregated(a.iter().chain(&b))));
    }

    /// What is not counted for a report without charts is not in its figures.
    #[test]
    fn figures_are_the_same_without_charts(records in records(60), cut in 0u64..80_000) {
        let start = Record::Header(header("run"));
        let of = |mut aggregate: Aggregate| {
            std::iter::once(&start).chain(&records).for_each(|record| aggregate.record(record));
            aggregate.snapshot()
        };
        for aggregate in [Aggregate::default(), Aggregate::of_period(Duration::from_secs(cut), None)] {
            prop_assert_eq!(of(aggregate.clone().without_charts()), of(aggregate));
        }
    }

    /// Every chain, request, hit and mark is in exactly one of two adjacent parts of a run.
    #[test]
    fn parts_of_a_run_add_up_to_it(records in records(60), cut in 0u64..80_000) {
        let start = Record::Header(header("run"));
        let cut = Duration::from_secs(cut);
        let of = |mut aggregate: Aggregate| {
            std::iter::once(&start).chain(&records).for_each(|record| aggregate.record(record));
            aggregate
        };
        let whole = of(Aggregate::default());
        let parts = [of(Aggregate::of_period(Duration::ZERO, Some(cut))), of(Aggregate::of_period(cut, None))];
        let counts = |aggregate: &Aggregate| {
            let found = aggregate.snapshot();
            let chains = found.chains.values();
            let chains = chains.fold((0, 0, 0), |(count, failed, abandoned), chain| {
                (count + chain.count, failed + chain.failed, abandoned + chain.abandoned)
            });
            let hits: u64 = found.hits.iter().map(|hits| hits.count).sum();
            let endpoints: u64 = found.endpoints.iter().map(|endpoint| endpoint.count).sum();
            let limits = found.missing.lost_results;
            let times = aggregate.request_times();
            let by_hand = found.marks.iter().filter(|mark| mark.by == MarkBy::Page).count();
            (chains, hits, endpoints, found.requests, limits, by_hand, times.count(), times.sum())
        };
        let [a, b] = [counts(&parts[0]), counts(&parts[1])];
        let sum = (
            (a.0.0 + b.0.0, a.0.1 + b.0.1, a.0.2 + b.0.2), a.1 + b.1, a.2 + b.2, a.3 + b.3, a.4 + b.4,
            a.5 + b.5, a.6 + b.6, a.7 + b.7,
        );
        prop_assert_eq!(sum, counts(&whole));
        for part in &parts {
            let found = part.snapshot();
            let period = found.period.unwrap();
            prop_assert_eq!(period.to_ns - period.from_ns, found.elapsed_ns);
            prop_assert!(found.thresholds.is_empty() && found.never_succeeded.is_empty());
        }
    }

    #[test]
    fn a_replay_of_the_log_shows_the_figures_of_the_live_run(records in records(60)) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("run.jsonl");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let live = runtime.block_on(async {
            let config = Config { log: LogPlace::File(log.clone()), ..crate::common::config(folder.path()) };
            let analytics = Analytics::start(config, Board::local()).await.unwrap();
            analytics.begin(header("run")).await.unwrap();
            for batch in records.chunks(7) {
                analytics.ingest().deliver(batch.to_vec()).await.unwrap();
            }
            analytics.finish().await.snapshot
        });
        let replayed = replay(&log).unwrap();
        prop_assert_eq!(replayed.snapshot(), live);
        let header = Record::Header(header("run"));
        prop_assert_eq!(figures(replayed), figures(aggregated([&header].into_iter().chain(&records))));
    }
}

#[test]
fn abandoned_chains_are_counted_and_not_timed() {
    let result = |seq: u64, abandoned| {
        let chain = chain_result(Chain::Authorization, seq, seq * 1_000_000, 8_000_000);
        chain_record("r1", wec_record::ChainResult { abandoned, successful: true, class: None, ..chain })
    };
    let records: Vec<_> = (1..=40).map(|seq| result(seq, seq % 4 == 0)).collect();
    let (snapshot, series) = figures(aggregated(&records));
    let chain = &snapshot.chains[&Chain::Authorization];
    assert_eq!((chain.count, chain.failed, chain.abandoned), (40, 0, 10));
    assert_eq!(chain.response_time_ns.n, 30);
    let series = &series.chains[&Chain::Authorization];
    assert_eq!(series.count.iter().sum::<u64>(), 40);
    assert_eq!(series.failed.iter().sum::<u64>(), 0);

    let (first, second) = records.split_at(13);
    let mut merged = aggregated(first);
    merged.merge(aggregated(second));
    assert_eq!(merged.snapshot().chains[&Chain::Authorization], *chain);
}

#[test]
fn counts_by_chain_endpoint_and_failure() {
    let records: Vec<_> = (1..=140)
        .map(|seq| chain_record("r1", chain_result(Chain::Certificate, seq, seq * 1_000_000, 8_000_000)))
        .collect();
    let snapshot = aggregated(&records).snapshot();
    assert_eq!(snapshot.chains.len(), Chain::ALL.len());
    assert_eq!(snapshot.chains[&Chain::Revoke].count, 0);
    let certificate = &snapshot.chains[&Chain::Certificate];
    assert_eq!((certificate.count, certificate.failed), (140, 20));
    assert_eq!(certificate.response_time_ns.n, 120);
    assert_eq!(certificate.failed_response_time_ns.n, 20);
    assert_eq!(certificate.response_time_ns.mean, Some(8_000_000));
    assert_eq!(certificate.response_time_ns.p99, None, "120 samples leave one beyond the 99th percentile");
    assert_eq!(certificate.keygen_ns, 140 * 12_000);
    assert_eq!(snapshot.requests, 560);
    assert_eq!(snapshot.requests_failed, 20);
    assert_eq!((snapshot.nonces.fetched, snapshot.polls, snapshot.connections.new), (140, 140, 140));
    let endpoints: Vec<_> = snapshot.endpoints.iter().map(|figures| figures.endpoint.as_str()).collect();
    assert_eq!(endpoints, ["newNonce", "newOrder", "authorization", "finalize"]);
    let finalize = &snapshot.endpoints[3];
    assert_eq!((finalize.count, finalize.failed), (140, 20));
    // done − sent is shorter than done − due.
    assert_eq!(finalize.response_time_ns.mean, Some(2_000_000));
    assert_eq!(finalize.service_time_ns.mean, Some(1_920_000));
    let failures: Vec<_> =
        snapshot.failures.iter().map(|failure| (failure.name.as_str(), failure.count)).collect();
    assert_eq!(failures, [("finalize", 20), ("certificate", 20)]);
    assert_eq!(snapshot.failures[1].problem, "malformed");
    // From the first start, 1 ms after the run's, to the last end, 148 ms after it.
    assert_eq!((snapshot.at_unix_ns, snapshot.elapsed_ns), (START + 148_000_000, 147_000_000));
}

/// A log or a sender may claim any number: sums end at the largest one.
#[test]
fn sums_of_the_largest_numbers_do_not_overflow() {
    let results = (1..=40).map(|seq| {
        let mut result = chain_result(Chain::Certificate, seq, seq, 1_000);
        result.keygen = 1 << 59;
        for request in &mut result.requests {
            (request.bytes_sent, request.bytes_received) = (1 << 59, 1 << 59);
        }
        chain_record("r1", result)
    });
    let records: Vec<_> = results.collect();
    let mut one = aggregated(&records);
    one.merge(aggregated(&records));
    assert_eq!(one.snapshot().chains[&Chain::Certificate].count, 80);
    assert_eq!(one.snapshot().bytes.sent, u64::MAX);
}

#[test]
fn endpoints_above_the_bound_are_counted_as_other() {
    let records: Vec<_> = (1..=200)
        .map(|seq| {
            let mut result = chain_result(Chain::Revoke, seq, 0, 100);
            result.requests.truncate(1);
            result.requests[0].uri = format!("/unfolded/{seq}").into();
            chain_record("r1", result)
        })
        .collect();
    let snapshot = aggregated(&records).snapshot();
    assert_eq!(snapshot.endpoints.len(), 129);
    let other = snapshot.endpoints.last().unwrap();
    assert_eq!((other.endpoint.as_str(), other.count), ("other", 72));
    assert_eq!(snapshot.missing.other_endpoints, 72);
    assert_eq!(snapshot.requests, 200);
}

#[test]
fn reads_the_log_of_the_2015_design() {
    let line = r#"{"chainname":"NewRegistrationChain","chainsuccessful":true,"chaintook":1200,"individualresults":[{"uri":"/acme/new-reg","took":900,"successful":true}]}"#;
    let snapshot = aggregated([&Record::parse(line, 1).unwrap()]).snapshot();
    let registration = &snapshot.chains[&Chain::Registration];
    assert_eq!((registration.count, registration.response_time_ns.mean), (1, Some(1200)));
    assert_eq!(registration.service_time_ns.mean, Some(1200));
    assert_eq!(snapshot.endpoints[0].service_time_ns.mean, Some(900));
}

#[test]
fn the_load_is_summed_over_live_nodes_and_counts_over_all() {
    const SECOND: u64 = 1_000_000_000;
    let records = [
        load_record("a", 1, START + SECOND, 100),
        load_record("b", 1, START + SECOND, 7_000),
        load_record("a", 2, START + 12 * SECOND, 200),
    ];
    let early = aggregated(&records[..2]).snapshot();
    assert_eq!(early.scenarios["default"].workers, 50 + 3_500);
    assert_eq!(early.scenarios["open"].rate_target, Some(100.0 / 8.0 + 7_000.0 / 8.0));
    assert!(early.generator.limited && early.generator.limited_now);

    // b has sent nothing for eleven seconds: its workers no longer count, its results still do.
    let late = aggregated(&records).snapshot();
    let (closed, open) = (&late.scenarios["default"], &late.scenarios["open"]);
    assert_eq!((closed.executor.as_str(), closed.workers, closed.rate_target), ("workers", 100, None));
    assert_eq!((open.rate_unit.as_str(), open.rate_target), ("chains", Some(25.0)));
    assert_eq!((open.due, open.dropped), (72_000, 7_200));
    let generator = &late.generator;
    assert!(generator.limited && !generator.limited_now, "the run stays marked as limited");
    assert_eq!((generator.limits.len(), generator.limits[0].node.as_str()), (1, "b"));
    assert_eq!(generator.limited_ns, 7 * SECOND);
    assert_eq!((generator.due, generator.dropped, generator.dropped_share), (144_000, 14_400, Some(0.1)));
    assert_eq!(generator.lag_ns.n, 101 + 7_001 + 201 + 3);

    let state = |node: &str, seq, at, claimed| {
        let counts = StateCounts { claimed, ..StateCounts::default() };
        Record::State { node: node.to_owned(), seq, at_unix_ns: START + at * SECOND, counts }
    };
    let states = [state("a", 1, 1, 3), state("b", 1, 1, 40), state("a", 2, 12, 5)];
    assert_eq!(aggregated(&states[..2]).snapshot().state.claimed, 43);
    assert_eq!(aggregated(&states).snapshot().state.claimed, 5, "b is gone, and its claims with it");
    assert_eq!((generator.backlog_share, generator.backlog_share_max), (0.02, 0.7));
}

#[test]
fn marks_of_generator_limits_are_bounded_and_do_not_displace_others() {
    let turn = |n: u64, limited: bool| {
        // The state changes in samples whose number is divisible by 11.
        load_record("a", n, START + n * 1_000_000_000, if limited { 5_005 } else { 1_111 })
    };
    let records: Vec<_> = (1..=400).map(|n| turn(n, n % 2 == 1)).collect();
    let snapshot = aggregated(&records).snapshot();
    let said: Vec<_> = snapshot.marks[..2]
        .iter()
        .map(|mark| [mark.by.to_string(), mark.what.to_string(), mark.from.to_string(), mark.to.to_string()])
        .collect();
    assert_eq!(
        said,
        [
            ["generator", "generator", "keeps up", "limited by lag"],
            ["generator", "generator", "limited", "keeps up"]
        ]
    );
    assert_eq!((snapshot.marks.len(), snapshot.missing.dropped_marks), (200, 200));
}

#[test]
fn a_part_of_a_run_has_its_own_time_and_the_difference_of_the_samples() {
    let second = 1_000_000_000;
    let mut part = Aggregate::of_period(Duration::from_secs(2), Some(Duration::from_secs(4)));
    part.record(&Record::Header(header("run")));
    for at in 1..=6 {
        part.record(&load_record("r1", at, START + at * second, at));
        // Ends at 0.5 s, 1.5 s and so on.
        let started = at * second - second;
        part.record(&chain_record("r1", chain_result(Chain::Registration, at, started, second / 2)));
    }
    let found = part.snapshot();
    let period = found.period.unwrap();
    assert_eq!((period.from_ns, period.to_ns, found.elapsed_ns), (2 * second, 4 * second, 2 * second));
    let chain = &found.chains[&Chain::Registration];
    assert_eq!((chain.count, chain.rps), (2, 1.0), "those that ended at 2.5 s and 3.5 s");
    // Samples at 2 s and 3 s belong to it; the counts of the one at 1 s are subtracted.
    assert_eq!(found.scenarios["default"].started, 9 * 3 - 9);
    assert_eq!(found.generator.lag_ns.n, (2 + 1 + 1) + (3 + 1 + 1));
}

#[test]
fn a_warm_up_is_drawn_and_in_no_figure() {
    let second = 1_000_000_000;
    let thresholds = vec!["chain{failed} < 1%".parse().unwrap()];
    let plan = |warm_up: u64| wec_record::Plan {
        warm_up: Duration::from_secs(warm_up).into(),
        thresholds: thresholds.clone(),
        ..wec_record::Plan::default()
    };
    let of = |warm_up: u64, mut aggregate: Aggregate| {
        let mut header = header("run");
        header.stamp.plan = Some(Box::new(plan(warm_up)));
        aggregate.record(&Record::Header(header));
        for at in 1..=6 {
            aggregate.record(&load_record("r1", at, START + at * second, at));
            // Ends at 0.5 s, 1.5 s and so on. The first one fails.
            let (seq, started) = (if at == 1 { 7 } else { 7 * at + 1 }, at * second - second);
            aggregate
                .record(&chain_record("r1", chain_result(Chain::Registration, seq, started, second / 2)));
        }
        aggregate
    };
    let mut warmed = of(2, Aggregate::default());
    let (whole, part) =
        (of(0, Aggregate::default()), of(0, Aggregate::of_period(Duration::from_secs(2), None)));
    let (found, part) = (warmed.snapshot(), part.snapshot());
    let chain = |snapshot: &Snapshot| snapshot.chains[&Chain::Registration].clone();
    assert_eq!((chain(&found), found.requests, found.rps), (chain(&part), part.requests, part.rps));
    assert_eq!((found.elapsed_ns, found.at_unix_ns), (4 * second, part.at_unix_ns));
    assert_eq!((&found.endpoints, &found.failures), (&part.endpoints, &part.failures));
    assert_eq!(found.scenarios["default"].started, part.scenarios["default"].started);
    assert_eq!(found.generator.lag_ns, part.generator.lag_ns);
    assert_eq!((found.run.warm_up_ns, found.period), (2 * second, None));
    // The verdict is of what is measured.
    let passed = |snapshot: &Snapshot| snapshot.thresholds[0].passed;
    assert_eq!((passed(&found), passed(&whole.snapshot())), (Some(true), Some(false)));
    // The charts have all of it, with its end.
    let (drawn, all) = (warmed.series(None).0, { whole }.series(None).0);
    assert_eq!((drawn.chains, drawn.requests, drawn.workers), (all.chains, all.requests, all.workers));
    let ends = found.marks.iter().filter(|mark| mark.what == wec_record::MarkWhat::WarmUp);
    assert_eq!(ends.map(|mark| mark.at_unix_ns).collect::<Vec<_>>(), [START + 2 * second]);
}
