//! What `wec model` writes is a plan that `wec run` accepts, and its arrivals are those of the log.

use std::time::Duration;

use wec_model::{Counts, Model, ModelSettings, Paths, Starts, parse};
use wec_record::plan::Load;
use wec_requester::config::PlanOptions;

/// 60 s of the requests of three kinds of clients, with renewals, two names in some orders, and refusals.
fn counts() -> Counts {
    let mut counts = Counts::new(Paths::default(), 100);
    let mut add = |second: u64, method: &str, path: &str, status: u16, agent: &str| {
        let line = format!(
            r#"192.0.2.7 - - [29/Nov/2026:22:58:{second:02} +0000] "{method} {path} HTTP/1.1" {status} 9 "-" "{agent}""#
        );
        let request = parse(line.as_bytes()).ok().flatten().expect("a line of nginx about a request");
        counts.add(&request);
    };
    for second in 0..60 {
        for client in 0..(second % 7) * 3 {
            let agent = ["certbot/2.1", "acme.sh/3", "Customer Ltd"][client as usize % 3];
            add(second, "GET", "/directory", 200, agent);
            add(second, "POST", "/new-account", 201, agent);
            add(second, "POST", "/new-order", 201, agent);
            add(second, "POST", "/challenge/7/0/http-01", 200, agent);
            if client % 4 == 0 {
                add(second, "GET", "/renewal-info/abc", 200, agent);
                add(second, "POST", "/challenge/7/1/http-01", 200, agent);
            }
            add(second, "POST", "/finalize/7", if client % 9 == 0 { 403 } else { 200 }, agent);
            add(second, "POST", "/certificate/7", 200, agent);
        }
        add(second, "POST", "/revoke-cert", if second % 2 == 0 { 200 } else { 429 }, "acme.sh/3");
        add(second, "POST", "/key-change", 200, "lego-cli/4");
        add(second, "POST", "/account/7", 200, "lego-cli/4");
    }
    counts
}

/// Starts up to here.
fn total(stages: &[wec_record::plan::Stage], until: Duration) -> f64 {
    let (mut at, mut rate, mut total) = (Duration::ZERO, 0.0, 0.0);
    for stage in stages {
        let length = stage.duration.0.min(until.saturating_sub(at));
        let part = if stage.duration.0.is_zero() {
            0.0
        } else {
            length.as_secs_f64() / stage.duration.0.as_secs_f64()
        };
        let reached = rate + (stage.target - rate) * part;
        total += (rate + reached) / 2.0 * length.as_secs_f64();
        at += stage.duration.0;
        rate = stage.target;
    }
    total
}

#[test]
fn a_run_accepts_the_file_and_starts_the_chains_of_each_step() {
    let directory = Some("https://127.0.0.1:14000/dir".to_owned());
    let model =
        Model::of(&counts(), ModelSettings { directory, scale: 2.0, ..ModelSettings::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.toml");
    std::fs::write(&file, model.toml()).unwrap();
    let plan = PlanOptions::default().with("config", file.display().to_string()).resolve(None);
    let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}\n{}", model.toml()));
    let plan = wec_record::Plan::from(&plan);

    let (starts, width) = model.starts();
    let begin = Duration::from_secs(model.begin());
    let of_log = plan.scenarios.iter().filter(|scenario| scenario.start_at.0 == begin).count();
    assert_eq!(of_log, starts.len(), "{}", model.toml());
    assert!(starts.len() > 8, "{starts:?}");
    for Starts { client, chain, counts, .. } in starts {
        let own = |scenario: &&wec_record::plan::Scenario| {
            let name = scenario.name.strip_prefix(&format!("{client}-")).unwrap_or("");
            // Two scenarios have the same chain when orders have different numbers of names.
            let Load::ArrivalRate { stages, .. } = &scenario.load else { return false };
            name.starts_with(chain.name())
                && (total(stages, Duration::MAX) - counts.iter().sum::<u64>() as f64).abs() < 0.6
        };
        let scenario =
            plan.scenarios.iter().find(own).unwrap_or_else(|| panic!("{client} {chain}: {}", model.toml()));
        let Load::ArrivalRate { stages, .. } = &scenario.load else {
            unreachable!("it was found by its rate")
        };
        let mut due = 0;
        for (step, count) in (1..).zip(counts) {
            due += count;
            let total = total(stages, Duration::from_secs(step * width)).ceil() as u64;
            assert_eq!(total, due, "{}: step {step}", scenario.name);
        }
    }
}
