//! The parts of a chain's time add up; the phases of requests; validations joined with hits that another clock
//! stamped.

use proptest::prelude::*;
use wec_analytics::{Aggregate, Snapshot, summary_table};
use wec_record::{
    AuthorizationResult, CaSample, Chain, ChainResult, ChallengeType, FailureClass, LoadSample, Phases,
    Purpose, Record, RequestResult, Silent, ValidationHit, Verdict,
};
use wec_startup::TextStyle;

use crate::common::{START, chain_record, chain_result};

const MS: u64 = 1_000_000;

fn snapshot<'a>(records: impl IntoIterator<Item = &'a Record>) -> Snapshot {
    aggregated(records).snapshot()
}

fn aggregated<'a>(records: impl IntoIterator<Item = &'a Record>) -> Aggregate {
    let mut aggregate = Aggregate::default();
    records.into_iter().for_each(|record| aggregate.record(record));
    aggregate
}

/// A certificate that took 3.03 s: 3 s Retry-After, 20 ms our interval, 6 ms in two requests, 2 ms for a key.
fn slow_certificate(seq: u64) -> ChainResult {
    let started = seq * 10 * MS;
    let request = |sent: u64, phases| RequestResult {
        endpoint: "finalize".into(),
        method: "POST".into(),
        successful: true,
        status: 200,
        due: started + sent - MS,
        sent: started + sent,
        done: started + sent + 3 * MS,
        reused: phases == Phases::default(),
        nonce_age: 5 * MS,
        phases,
        ..RequestResult::default()
    };
    ChainResult {
        seq,
        chain: Some(Chain::Certificate),
        successful: true,
        took: 3_030 * MS,
        due: started,
        started,
        done: started + 3_030 * MS,
        keygen: 2 * MS,
        waited_asked: 3_000 * MS,
        waited_poll: 20 * MS,
        requests: vec![
            request(3 * MS, Phases { dns: 0, connect: MS / 4, tls: MS / 2, first_byte: 2 * MS }),
            request(3_026 * MS, Phases::default()),
        ],
        ..ChainResult::default()
    }
}

/// An authorization of `name` from `answered` to `settled`, ms after the start.
fn authorized(seq: u64, name: &str, challenge: ChallengeType, answered: u64, settled: u64) -> Record {
    let proof = AuthorizationResult {
        name: name.to_owned(),
        id: seq.to_string(),
        challenge: Some(challenge),
        answered: answered * MS,
        settled: settled * MS,
    };
    let result = ChainResult {
        seq,
        chain: Some(Chain::Authorization),
        successful: true,
        started: MS,
        due: MS,
        done: settled * MS,
        authorizations: vec![proof],
        ..ChainResult::default()
    };
    chain_record("r1", result)
}

fn hit(seq: u64, name: &str, challenge: ChallengeType, at: u64) -> Record {
    let hit = ValidationHit {
        seq,
        at_unix_ns: START + at * MS,
        challenge,
        name: name.to_owned(),
        source: "127.0.0.1:5".to_owned(),
        verdict: Verdict::Answered,
        answer: String::new(),
        took: 1_000,
    };
    Record::Hit { node: "c1".to_owned(), hit }
}

#[test]
fn the_means_of_the_parts_add_up_to_the_mean_of_the_chain() {
    let records: Vec<_> = (1..=40).map(|seq| chain_record("r1", slow_certificate(seq))).collect();
    let snapshot = snapshot(&records);
    let figures = &snapshot.chains[&Chain::Certificate];
    let time = &figures.time;
    let parts =
        [&time.requests_ns, &time.connecting_ns, &time.asked_ns, &time.polls_ns, &time.keys_ns, &time.own_ns];
    let means = parts.map(|timing| timing.mean.unwrap());
    assert_eq!(means, [6 * MS, 750_000, 3_000 * MS, 20 * MS, 2 * MS, 1_250_000]);
    assert_eq!(means.iter().sum::<u64>(), figures.service_time_ns.mean.unwrap());
    assert!(time.asked_ns.p50.is_some_and(|p50| p50.abs_diff(3_000 * MS) < 3 * MS), "{time:?}");

    let phases = &snapshot.endpoints[0].phases;
    assert_eq!((phases.new, phases.reused), (40, 40));
    assert_eq!(
        (phases.dns_ns.n, phases.connect_ns.mean, phases.tls_ns.mean),
        (0, Some(MS / 4), Some(MS / 2))
    );
    assert_eq!((phases.first_byte_ns.n, phases.first_byte_ns.mean), (40, Some(2 * MS)));
    assert_eq!((snapshot.nonces.age_ns.n, snapshot.nonces.age_ns.mean), (80, Some(5 * MS)));

    let table = summary_table(&snapshot, TextStyle::default());
    let line = "certificate: 3.03 s (N 40) = 6.00 ms in requests + 750 µs connecting + 3.00 s waited for Retry-After + \
                20.0 ms waited for our interval + 2.00 ms keys + 1.25 ms own";
    assert!(table.contains(line), "{table}");
}

#[test]
fn hits_divide_a_validation_into_parts_and_never_change_its_total() {
    let http = ChallengeType::Http01;
    let records = [
        // Hits may arrive before or after their chain.
        hit(1, "a.test", http, 110),
        authorized(1, "a.test", http, 100, 200),
        hit(2, "a.test", http, 150),
        // Validations from further places may arrive after the decision.
        hit(3, "a.test", http, 230),
        // A hit of another type is not counted.
        hit(4, "a.test", ChallengeType::Dns01, 101),
        // A hit by a clock that is wrong by 5 s.
        authorized(2, "b.test", http, 300, 400),
        hit(5, "b.test", http, 5_310),
        // No hit, because the CA reused an authorization.
        authorized(3, "c.test", http, 300, 500),
    ];
    let snapshot = snapshot(&records);
    let [validation] = &snapshot.validations[..] else { panic!("{:?}", snapshot.validations) };
    assert_eq!(validation.challenge, http);
    assert_eq!((validation.count, validation.without_hits, validation.clipped), (3, 1, 1));
    assert_eq!(validation.time_ns.max, Some(200 * MS));
    // a: 10 + 90 + 0, b: 100 + 0 + 0.
    assert_eq!(validation.to_first_hit_ns.mean, Some(55 * MS));
    assert_eq!(validation.between_hits_ns.mean, Some(45 * MS));
    assert_eq!(validation.after_last_hit_ns.mean, Some(0));
    assert_eq!(snapshot.missing.unjoined_hits, 1);
    let table = summary_table(&snapshot, TextStyle::default());
    let line = "http-01: 133 ms (N 3); with hits 100 ms (N 2) = 55.0 ms to the first hit + 45.0 ms between first and last hit; \
                1 without a hit; the first hit of 1 is outside: the clocks differ";
    assert!(table.contains(line), "{table}");
}

#[test]
fn a_name_that_is_ordered_again_gets_the_hits_that_are_nearest() {
    let dns = ChallengeType::Dns01;
    let rounds = 0..40_u64;
    let records: Vec<_> = rounds
        .flat_map(|round| {
            let at = 1_000 * (round + 1);
            [authorized(round + 1, "a.test", dns, at, at + 100), hit(round + 1, "a.test", dns, at + 40)]
        })
        .collect();
    let snapshot = snapshot(&records);
    let [validation] = &snapshot.validations[..] else { panic!("{:?}", snapshot.validations) };
    assert_eq!((validation.count, validation.without_hits, validation.clipped), (40, 0, 0));
    assert_eq!(validation.to_first_hit_ns.mean, Some(40 * MS));
    assert_eq!(validation.between_hits_ns.max, Some(0));
}

#[test]
fn unmatched_validations_and_hits_are_bounded_and_counted() {
    let tls = ChallengeType::TlsAlpn01;
    let mut records: Vec<_> = (0..10_050).map(|at| hit(at + 1, &format!("{at}.test"), tls, at)).collect();
    // The first names have been dropped by now, the last are kept.
    records.push(authorized(1, "0.test", tls, 1, 20));
    records.push(authorized(2, "10049.test", tls, 10_000, 20_000));
    let snapshot = snapshot(&records);
    let [validation] = &snapshot.validations[..] else { panic!("{:?}", snapshot.validations) };
    assert_eq!((validation.count, validation.without_hits), (2, 1));
    assert_eq!(snapshot.missing.unjoined_hits, 10_049);
}

#[test]
fn a_failed_chain_has_the_status_and_problem_that_decided_it() {
    let refused = RequestResult {
        endpoint: "challenge".into(),
        status: 400,
        problem: "badNonce".into(),
        class: Some(FailureClass::BadNonce),
        ..RequestResult::default()
    };
    let poll =
        RequestResult { successful: true, status: 200, purpose: Purpose::Poll, ..RequestResult::default() };
    let failed = ChainResult {
        seq: 1,
        chain: Some(Chain::Authorization),
        class: Some(FailureClass::Validation),
        problem: "connection".into(),
        error: "authorization of a.test is invalid".to_owned(),
        done: 9,
        requests: vec![refused, poll],
        ..ChainResult::default()
    };
    let snapshot = snapshot(&[chain_record("r1", failed)]);
    let chain = snapshot.failures.iter().find(|failure| failure.name == "authorization").unwrap();
    assert_eq!((chain.status, &*chain.problem), (0, "connection"));
}

#[test]
fn expired_orders_and_a_silent_ca_are_in_summary_and_marks() {
    let load = |seq: u64, at_s: u64, ca| Record::Load {
        node: format!("r{}", seq % 2),
        seq,
        at_unix_ns: START + at_s * 1_000 * MS,
        load: LoadSample { over_ns: 1_000 * MS, ca, ..LoadSample::default() },
    };
    let silent = Some(Silent { since_unix_ns: START + 5_000 * MS, in_flight: 32 });
    let expired = |orders_expired, ahead| CaSample {
        orders_expired,
        clock_ahead_s: Some(ahead),
        ..CaSample::default()
    };
    let records = [
        load(1, 1, expired(3, 0)),
        load(2, 1, expired(200, 7_200)),
        load(3, 15, CaSample { silent, turned: Some(true), ..expired(39, 0) }),
        load(5, 16, CaSample { silent, ..expired(39, 0) }),
        load(7, 20, CaSample { turned: Some(false), ..expired(39, 0) }),
    ];
    let snapshot = snapshot(&records);
    assert_eq!((snapshot.orders_expired, snapshot.ca_clock_ahead_s), (239, Some(7_200)));
    let marks: Vec<_> = snapshot
        .marks
        .iter()
        .map(|mark| [mark.what.to_string(), mark.from.to_string(), mark.to.to_string()])
        .collect();
    let none = "none for 10 s, 32 requests in flight";
    assert_eq!(marks, [["answers", "come", none], ["answers", "none", "come"]]);
    let table = summary_table(&snapshot, TextStyle::default());
    let line =
        "239 ready orders were dropped as expired before they were used; the CA's clock is 2h ahead of ours";
    assert!(table.contains(line), "{table}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_hits_and_chains_does_not_matter(
        events in proptest::collection::vec((0..3_usize, 0..4_u8, 0..1_000_u64, 0..100_u64, any::<bool>()), 1..30),
        split in any::<prop::sample::Index>(),
    ) {
        let mut proofs = 0;
        let mut records: Vec<_> = events.into_iter().enumerate().filter_map(|(seq, (kind, name, at, took, is_hit))| {
            let (name, kind) = (format!("{name}.test"), ChallengeType::ALL[kind]);
            if is_hit {
                return Some(hit(seq as u64, &name, kind, at));
            }
            // More of one name would exceed the bound and be dropped in order of arrival.
            proofs += 1;
            (proofs <= 16).then(|| authorized(seq as u64, &name, kind, at + 1, at + 1 + took))
        }).collect();
        let whole = snapshot(&records);
        let (first, second) = records.split_at(split.index(records.len()));
        let mut merged = aggregated(second);
        merged.merge(aggregated(first));
        prop_assert_eq!(&merged.snapshot().validations, &whole.validations);
        records.reverse();
        let reversed = snapshot(&records);
        prop_assert_eq!(reversed.validations, whole.validations);
        prop_assert_eq!(reversed.missing.unjoined_hits, whole.missing.unjoined_hits);
    }

    #[test]
    fn parts_add_up_for_any_chains(took in 10_000_000_u64..10_000_000_000, seq in 1_u64..100) {
        let result = chain_result(Chain::Revoke, seq * 7 + 1, 5, took);
        let spent = result.spent().unwrap();
        prop_assert_eq!(spent.sum(), result.done - result.started);
        prop_assert!(spent.asked == took / 100 && spent.polls == took / 200, "{:?}", spent);
    }
}
