//! The load that a run makes, and whether its report is correct.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use wec_record::Record;

use crate::common::ONLY_REGISTRATIONS;

/// Runs against a null CA with these flags; the run must pass.
fn run(ca_flags: &[&str], flags: &[&str]) -> (Value, Vec<Record>) {
    let (folder, output) = run_to_any_end(ca_flags, flags);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    (crate::common::summary(folder.path()), crate::common::log(folder.path()))
}

/// The same with any result; also returns the folder with the run's files.
fn run_to_any_end(ca_flags: &[&str], flags: &[&str]) -> (TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), ca_flags);
    let mut args = vec!["run", "--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"];
    args.extend(ca.target());
    args.extend(flags);
    let output = crate::common::run(folder.path(), &args);
    (folder, output)
}

/// The endpoint's entry of the summary.
fn endpoint<'a>(summary: &'a Value, name: &str) -> &'a Value {
    summary["endpoints"].as_array().unwrap().iter().find(|entry| entry["endpoint"] == name).unwrap()
}

fn ms(nanoseconds: &Value) -> f64 {
    nanoseconds.as_f64().unwrap_or_else(|| panic!("{nanoseconds} is no time")) / 1e6
}

#[test]
fn an_even_rate_starts_the_exact_number_of_iterations_on_time() {
    let (summary, log) = run(
        &[],
        &["--rate", "40/s", "--spacing", "even", "--run-time", "5s", "--weight", &ONLY_REGISTRATIONS],
    );
    let scenario = &summary["scenarios"]["default"];
    assert_eq!((&scenario["due"], &scenario["dropped"]), (&200.into(), &0.into()), "{scenario}");
    assert_eq!(crate::common::chain(&summary, "registration").0, 200);
    let mut dues: Vec<u64> = log
        .iter()
        .filter_map(|record| match record {
            Record::Chain { result, .. } => {
                assert!(result.started >= result.due, "an iteration started early");
                assert_eq!(
                    result.took,
                    result.done - result.due,
                    "response time is not counted from the due time"
                );
                Some(result.due)
            }
            _ => None,
        })
        .collect();
    dues.sort_unstable();
    assert!(dues.windows(2).all(|pair| pair[1] - pair[0] == 25_000_000), "{dues:?}");
}

#[test]
fn iterations_without_a_free_worker_are_dropped_and_counted() {
    let (summary, _) = run(
        &["--latency", "newAccount=2s"],
        &["--rate", "20/s", "--workers", "10", "--run-time", "4s", "--weight", &ONLY_REGISTRATIONS],
    );
    let scenario = &summary["scenarios"]["default"];
    let count = |key: &str| scenario[key].as_u64().unwrap();
    assert!(count("dropped") > 0, "{scenario}");
    assert_eq!(count("due"), count("started") + count("dropped"), "{scenario}");
    assert_eq!(count("started"), crate::common::chain(&summary, "registration").0, "{scenario}");
}

/// Only one registration is allowed. Later iterations find nothing to run, and are idle, not dropped.
#[test]
fn an_open_run_at_its_limits_is_idle_and_drops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"];
    args.extend(["--rate", "60/s", "--workers", "400", "--run-time", "11s", "--weight", &ONLY_REGISTRATIONS]);
    args.extend(["--limit-registrations", "1"]);
    args.extend(ca.target());
    let output = crate::common::run(folder.path(), &args);
    let said = crate::common::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("found nothing to run") && said.contains("idle: limits and weights"), "{said}");
    let scenario = &crate::common::summary(folder.path())["scenarios"]["default"];
    let count = |key: &str| scenario[key].as_u64().unwrap();
    assert_eq!((count("ended"), count("dropped")), (1, 0), "{scenario}");
    assert_eq!(count("idle"), count("due") - 1, "{scenario}");
}

#[test]
fn the_run_ends_after_the_given_number_of_iterations() {
    let (summary, _) = run(&[], &["--iterations", "57", "--workers", "8", "--run-time", "10m"]);
    let chains = summary["chains"].as_object().unwrap();
    assert_eq!(chains.values().map(|chain| chain["count"].as_u64().unwrap()).sum::<u64>(), 57);
    let scenario = &summary["scenarios"]["default"];
    assert_eq!((scenario["asked"].as_u64(), scenario["ended"].as_u64()), (Some(57), Some(57)));
}

#[test]
fn iterations_left_at_the_run_time_are_reported_in_all_forms() {
    let flags = ["--iterations", "100000", "--workers", "2", "--run-time", "2s"];
    let (folder, output) = run_to_any_end(&["--latency", "20ms"], &flags);
    let summary = crate::common::summary(folder.path());
    let scenario = &summary["scenarios"]["default"];
    assert_eq!(scenario["asked"], 100_000);
    let line = format!("Load default (iterations): {} of 100000 iterations required", scenario["ended"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&line), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("give a longer --run-time"));
}

#[test]
fn stages_count_what_their_rate_counts() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["run", "--directory", "http://127.0.0.1:1/", "--rate", "5/s", "--stages", "1s:50 requests/s"];
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        crate::common::said(&output),
        "--stages: stage 1: \"50 requests/s\" counts requests, but the rate counts chains: use one unit\n"
    );
}

/// A CA that stalls for 5 s, and four connections to it. Only four requests are in flight then, so service times hardly
/// show the stall. Iterations that were due in that time had to wait, which response times show.
#[test]
fn a_stall_shows_in_response_times_and_not_in_service_times() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let mut args = vec!["run", "--headless", "--http01-listen", "127.0.0.1:0", "--json", "summary.json"];
    args.extend([
        "--rate",
        "80/s",
        "--spacing",
        "even",
        "--run-time",
        "18s",
        "--weight",
        &ONLY_REGISTRATIONS,
    ]);
    args.extend(["--threads", "1", "--max-connections", "4", "--workers", "5000", "--graceful-stop", "2m"]);
    args.extend(ca.target());
    let mut run = crate::common::wec(folder.path(), &args);
    let run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::common::until("the run is on", || crate::common::chains_in_logs(folder.path()) >= 160);
    ca.stall(Duration::from_secs(5));
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary = crate::common::summary(folder.path());
    let requests = endpoint(&summary, "newAccount");
    let (response, service) = (&requests["response_time_ns"], &requests["service_time_ns"]);
    println!("newAccount, a stall of 5 s     p50 ms    p90 ms    p99 ms    max ms");
    for (what, timing) in [("response time (due → done)", response), ("service time (sent → done)", service)]
    {
        let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(|key| ms(&timing[key]));
        println!("{what:<28} {p50:>8.1} {p90:>9.1} {p99:>9.1} {max:>9.1}");
    }
    assert!(ms(&response["p99"]) > 3_000.0, "response times do not show the stall of 5 s: {response}");
    assert!(ms(&service["p99"]) < 2_500.0, "only four of the sent requests had the stall: {service}");
    assert!(ms(&service["max"]) > 3_000.0, "those four do not show: {service}");
    let chain = &summary["chains"]["registration"]["response_time_ns"];
    assert!(ms(&chain["p99"]) > 3_000.0, "{chain}");
}

/// The CA delays its answers by 25 latencies in turn, so their distribution is known exactly. The reported one must equal it plus
/// the time of transfer. The latencies are seconds and requests are few, so that 1 % is more than the delays of a busy machine's
/// scheduler. With 25 latencies no percentile lies at a step.
#[test]
fn percentiles_are_those_of_the_latencies_that_the_ca_adds() {
    let latencies: Vec<f64> = (0..25).map(|step| 3000.0 + 300.0 * f64::from(step)).collect();
    let in_turn: Vec<String> = latencies.iter().map(|latency| format!("{latency}ms")).collect();
    let mut flags = vec!["--rate", "25/s", "--spacing", "even", "--run-time", "42s", "--graceful-stop", "2m"];
    flags.extend(["--weight", &ONLY_REGISTRATIONS]);
    let (summary, _) = run(&["--latency", &format!("newAccount={}", in_turn.join(","))], &flags);
    let timing = &endpoint(&summary, "newAccount")["service_time_ns"];
    assert!(timing["n"].as_u64() >= Some(1000), "{timing}");
    for (key, share) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
        let truth = latencies[(share * latencies.len() as f64).ceil() as usize - 1];
        let reported = ms(&timing[key]);
        println!("{key}: {reported:.1} ms reported, {truth} ms delay");
        // No answer comes before its latency has passed; the histogram's three digits round by up to 0.1 %.
        assert!(
            reported >= truth * 0.999 && reported <= truth * 1.01 + 1.0,
            "{key}: {reported} of {truth} ms"
        );
    }
}
