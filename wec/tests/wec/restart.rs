//! Runs that share a state, one after the other or concurrently.

use std::collections::HashMap;
use std::process::Stdio;

use serde_json::{Value, json};
use wec_record::Chain;

use crate::common::{ONLY_REGISTRATIONS, Run, only};

fn nothing_failed(summary: &Value) {
    for chain in Chain::ALL {
        assert_eq!(crate::common::chain(summary, chain.name()).1, 0, "{chain}: {}", summary["failures"]);
    }
}

#[test]
fn a_run_continues_with_the_state_of_a_killed_one() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let with = |more: &[&'static str]| {
        let mut args = vec!["run", "--headless", "--workers", "10", "--http01-listen", "127.0.0.1:0"];
        args.extend(ca.target());
        args.extend(more);
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let args = with(&["--log-dir", "killed"]);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut killed =
        crate::common::wec(folder.path(), &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    crate::common::until("the run is under way", || {
        crate::common::chains_in(&folder.path().join("killed")) > 200
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let logged = crate::common::chains_in(&folder.path().join("killed")) as u64;

    let args = with(&["--iterations", "300", "--json", "summary.json"]);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let output = crate::common::run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", crate::common::said(&output));
    let summary = crate::common::summary(folder.path());
    // Objects that the killed run was using or had not written cause no failures.
    nothing_failed(&summary);
    let registered_now = crate::common::chain(&summary, "registration").0;
    let stored = summary["state"]["registrations"].as_u64().unwrap();
    assert!(stored > registered_now, "the objects of the killed run's {logged} chains were not found");

    let counted = ca.stop();
    let made = counted["accounts"].as_u64().unwrap();
    assert!(stored <= made, "{stored} of {made}");
}

#[test]
fn a_run_whose_limits_were_reached_before_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &[]);
    let only = &*ONLY_REGISTRATIONS;
    let run = |more: &[&str]| {
        let mut args = vec!["run", "--headless", "--workers", "1", "--weight", only];
        args.extend(["--http01-listen", "127.0.0.1:0"]);
        args.extend(more);
        args.extend(ca.target());
        crate::common::run(folder.path(), &args)
    };
    let first = run(&["--iterations", "5", "--limit-registrations", "5"]);
    assert_eq!(first.status.code(), Some(0), "{}", crate::common::said(&first));
    let second = run(&["--iterations", "5", "--limit-registrations", "5"]);
    assert_eq!(second.status.code(), Some(1), "{}", crate::common::said(&second));
    let said = crate::common::said(&second);
    assert!(said.contains("the limit of 5 registrations was reached before this run"), "{said}");
    assert!(said.contains("raise --limit-registrations, or name another state with --state"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path().join("results")).unwrap().count(), 1, "it left a log");
    let third = run(&["--iterations", "2", "--limit-registrations", "7"]);
    assert_eq!(third.status.code(), Some(0), "{}", crate::common::said(&third));
}

#[test]
fn two_runs_together_keep_a_hard_limit_and_report_that_it_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--latency", "50ms"]);
    // A run that started after the limit is reached would end at once, so both start before they may make anything.
    let nothing = &only(Chain::Revoke);
    let runs = ["one", "other"].map(|name| {
        let json = format!("{name}.json");
        let mut args = vec!["run", "--workers", "10", "--run-time", "10m"];
        args.extend(["--listen", "127.0.0.1:0", "--http01-listen", "127.0.0.1:0"]);
        args.extend(["--log-dir", name, "--json", &json]);
        args.extend(["--limit-registrations", "5", "--limit-authorizations", "30"]);
        args.extend(["--limit-certificates", "20", "--weight", nothing]);
        args.extend(ca.target());
        Run::of(folder.path(), &args)
    });
    let everything: HashMap<_, _> = Chain::usual().map(|chain| (chain.name(), 1)).collect();
    let everything = json!({ "weights": everything }).to_string();
    for run in &runs {
        crate::common::until("the session is there, and takes the weights", || {
            run.http("PATCH /api/v1/sessions/current/scenarios/default", &everything).0 == 200
        });
    }
    crate::common::until("all that the limits allow is made", || {
        let logs = ["one", "other"].map(|name| crate::common::log_so_far(&folder.path().join(name)));
        let ended = |chain| {
            let results = logs.iter().flat_map(|log| crate::common::results(log));
            results.filter(|result| result.chain == Some(chain)).count()
        };
        let certified = ended(Chain::Certificate) + ended(Chain::Refresh);
        ended(Chain::Registration) >= 5 && ended(Chain::Authorization) >= 30 && certified >= 20
    });
    for mut run in runs {
        run.until_says("idle: limits and weights allow nothing more");
        crate::common::signal(&run.child, "-INT");
        assert_eq!(run.child.wait().unwrap().code(), Some(105));
    }
    let mut made = [0; Chain::ALL.len()];
    for name in ["one.json", "other.json"] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let summary: Value = serde_json::from_str(&text).unwrap();
        nothing_failed(&summary);
        for (made, chain) in made.iter_mut().zip(Chain::ALL) {
            *made += crate::common::chain(&summary, chain.name()).0;
        }
    }
    let made = |chain: Chain| made[chain.index()];
    assert_eq!((made(Chain::Registration), made(Chain::Authorization)), (5, 30));
    assert_eq!(made(Chain::Certificate) + made(Chain::Refresh), 20);
    let counted = ca.stop();
    assert_eq!(counted["accounts"], 5);
    assert_eq!(counted["certificates"], 20);
    assert_eq!(counted["revocations"], made(Chain::Revoke));
}
