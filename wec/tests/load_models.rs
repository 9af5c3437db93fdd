//! How hard a run pushes, and whether what it reports about that is true.

#![allow(clippy::unwrap_used, reason = "a test ends where it finds something wrong")]

mod common;

use serde_json::Value;
use wec_record::Record;

const ONLY_REGISTRATIONS: &str = "registration=1,authorization=0,certificate=0,refresh=0,revoke=0";

/// Runs against a null CA with these flags, to a good end.
fn run(ca_flags: &[&str], flags: &[&str]) -> (Value, Vec<Record>) {
    let folder = tempfile::tempdir().unwrap();
    let ca = common::NullCa::start(folder.path(), ca_flags);
    let mut args = vec!["run", "--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"];
    args.extend(ca.target());
    args.extend(flags);
    let output = common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", common::said(&output));
    (common::summary(folder.path()), common::log(folder.path()))
}

/// The endpoint's entry of the summary.
fn endpoint<'a>(summary: &'a Value, name: &str) -> &'a Value {
    summary["endpoints"].as_array().unwrap().iter().find(|entry| entry["endpoint"] == name).unwrap()
}

fn ms(nanoseconds: &Value) -> f64 {
    nanoseconds.as_f64().unwrap_or_else(|| panic!("{nanoseconds} is no time")) / 1e6
}

#[test]
fn an_even_rate_starts_exactly_so_many_each_at_its_moment() {
    let (summary, log) = run(
        &[],
        &["--rate", "40/s", "--spacing", "even", "--run-time", "5s", "--weight", ONLY_REGISTRATIONS],
    );
    let scenario = &summary["scenarios"]["default"];
    assert_eq!((&scenario["due"], &scenario["dropped"]), (&200.into(), &0.into()), "{scenario}");
    assert_eq!(common::chain(&summary, "registration").0, 200);
    let mut dues: Vec<u64> = log
        .iter()
        .filter_map(|record| match record {
            Record::Chain { result, .. } => {
                assert!(result.started >= result.due, "nothing starts early");
                assert_eq!(result.took, result.done - result.due, "response time runs from when it was due");
                Some(result.due)
            }
            _ => None,
        })
        .collect();
    dues.sort_unstable();
    assert!(dues.windows(2).all(|pair| pair[1] - pair[0] == 25_000_000), "{dues:?}");
}

#[test]
fn what_no_worker_is_free_for_is_dropped_and_counted() {
    let (summary, _) = run(
        &["--latency", "newAccount=2s"],
        &["--rate", "20/s", "--workers", "10", "--run-time", "4s", "--weight", ONLY_REGISTRATIONS],
    );
    let scenario = &summary["scenarios"]["default"];
    let count = |key: &str| scenario[key].as_u64().unwrap();
    assert!(count("dropped") > 0, "{scenario}");
    assert_eq!(count("due"), count("started") + count("dropped"), "{scenario}");
    assert_eq!(count("started"), common::chain(&summary, "registration").0, "{scenario}");
}

#[test]
fn so_many_iterations_run_and_then_the_run_ends() {
    let (summary, _) = run(&[], &["--iterations", "57", "--workers", "8", "--run-time", "10m"]);
    let chains = summary["chains"].as_object().unwrap();
    assert_eq!(chains.values().map(|chain| chain["count"].as_u64().unwrap()).sum::<u64>(), 57);
}

/// A CA that stalls for 5 s, and four connections to it. Only four requests are under way in the stall, so service times hardly
/// show it; those that were due meanwhile had to wait, and response times say so.
#[test]
fn a_stall_shows_in_response_times_and_not_in_service_times() {
    let (summary, _) = run(
        &["--stall", "6s+5s"],
        &[
            "--rate",
            "80/s",
            "--spacing",
            "even",
            "--run-time",
            "18s",
            "--threads",
            "1",
            "--max-connections",
            "4",
            "--weight",
            ONLY_REGISTRATIONS,
        ],
    );
    let requests = endpoint(&summary, "newAccount");
    let (response, service) = (&requests["response_time_ns"], &requests["service_time_ns"]);
    println!("newAccount, a stall of 5 s     p50 ms    p90 ms    p99 ms    max ms");
    for (what, timing) in [("response time (due → done)", response), ("service time (sent → done)", service)]
    {
        let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(|key| ms(&timing[key]));
        println!("{what:<28} {p50:>8.1} {p90:>9.1} {p99:>9.1} {max:>9.1}");
    }
    assert!(ms(&response["p99"]) > 3_000.0, "the CA answered nothing for 5 s: {response}");
    assert!(ms(&service["p99"]) < 2_500.0, "of the requests sent, four met the stall: {service}");
    assert!(ms(&service["max"]) > 3_000.0, "those four: {service}");
    let chain = &summary["chains"]["registration"]["response_time_ns"];
    assert!(ms(&chain["p99"]) > 3_000.0, "{chain}");
}

/// The CA holds back its answers by 25 latencies in turn, which makes a distribution that is known exactly: what is reported must
/// be that, plus what the way there and back takes. Seconds and not milliseconds, so that 1 % is more than a busy
/// machine's scheduler takes; 25, so that no percentile lies at a step.
#[test]
fn percentiles_are_those_of_the_latencies_that_the_ca_adds() {
    let latencies: Vec<f64> = (0..25).map(|step| 1000.0 + 100.0 * f64::from(step)).collect();
    let in_turn: Vec<String> = latencies.iter().map(|latency| format!("{latency}ms")).collect();
    let (summary, _) = run(
        &["--latency", &format!("newAccount={}", in_turn.join(","))],
        &["--rate", "100/s", "--spacing", "even", "--run-time", "12s", "--weight", ONLY_REGISTRATIONS],
    );
    let timing = &endpoint(&summary, "newAccount")["service_time_ns"];
    assert!(timing["n"].as_u64() >= Some(1000), "{timing}");
    for (key, share) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
        let truth = latencies[(share * latencies.len() as f64).ceil() as usize - 1];
        let reported = ms(&timing[key]);
        println!("{key}: {reported:.1} ms reported, {truth} ms held back");
        // Answers come no sooner than they are let go; the histogram's three digits round by up to 0.1 %.
        assert!(
            reported >= truth * 0.999 && reported <= truth * 1.01 + 1.0,
            "{key}: {reported} of {truth} ms"
        );
    }
}
