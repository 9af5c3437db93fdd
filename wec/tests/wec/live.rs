//! A hundred changes of the number of workers during a run lose no results and leak nothing.

use std::collections::HashSet;
use std::fs;

use serde_json::{Value, json};
use wec_record::{Chain, Record};
use wec_store::{State, StateOptions};

use crate::common::{Run, marks};

/// The number of workers; `wec bench live` does the same with 10,000.
const MANY: u64 = 200;

/// Resources of a process.
#[derive(Debug)]
struct Footprint {
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Footprint {
    fn of(run: &Run) -> Self {
        let proc = format!("/proc/{}", run.child.id());
        let status = fs::read_to_string(format!("{proc}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let entries = |folder: &str| fs::read_dir(format!("{proc}/{folder}")).unwrap().count();
        Self {
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: entries("fd"),
            threads: entries("task"),
        }
    }
}

fn count(figures: &Value, key: &str) -> u64 {
    figures[key].as_u64().unwrap_or_else(|| panic!("{key} is no count in {figures}"))
}

/// As with a real CA, workers wait for validations most of the time.
#[test]
fn changing_the_workers_interrupts_loses_and_leaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ca = crate::common::NullCa::start(folder.path(), &["--no-verify", "--validation-delay", "2s"]);
    let state = format!("sqlite://{}", folder.path().join("state.sqlite").display());
    let weights = "registration=100,authorization=1,certificate=1,refresh=0,revoke=0";
    let mut flags = vec!["--workers", "1", "--limit-registrations", "20", "--weight", weights];
    flags.extend(["--state", &state, "--graceful-stop", "10m"]);
    flags.extend(["--poll-timeout", "10m", "--request-timeout", "10m"]);
    let mut run = Run::start(folder.path(), &ca, &flags);
    let busy = |run: &Run| count(&run.snapshot()["scenarios"]["default"], "busy");
    run.until_running(1);
    let mut after = Vec::new();
    for _ in 0..5 {
        run.patch(json!({ "workers": MANY }));
        run.until_running(MANY);
        crate::common::until("all of them are at work", || busy(&run) == MANY);
        run.patch(json!({ "workers": 1 }));
        run.until_running(1);
        after.push(Footprint::of(&run));
    }
    println!("after each time with one worker again: {after:#?}");
    // A hundred changes in less than the time of an iteration.
    for turn in 0..100 {
        let workers = [MANY, 1][turn % 2];
        run.patch(json!({ "workers": workers }));
    }
    run.until_running(1);
    run.told(folder.path(), &["stop"]);
    assert_eq!(run.child.wait().unwrap().code(), Some(0));

    let (summary, log) = (crate::common::summary(folder.path()), crate::common::log(folder.path()));
    let results: Vec<_> = crate::common::results(&log).collect();
    let scenario = &summary["scenarios"]["default"];
    assert_eq!(count(scenario, "started"), count(scenario, "ended") + count(scenario, "idle"), "{scenario}");
    assert_eq!(count(scenario, "ended"), results.len() as u64, "each iteration has one result");
    assert_eq!((count(scenario, "workers"), count(scenario, "busy")), (0, 0), "{scenario}");
    let numbers: HashSet<_> = results.iter().map(|result| result.seq).collect();
    assert_eq!(numbers.len(), results.len(), "a result arrived twice");
    assert!(
        summary["missing"].as_object().unwrap().values().all(|missing| *missing == 0),
        "{}",
        summary["missing"]
    );
    let wrong = results.iter().find(|result| !result.successful);
    assert!(wrong.is_none(), "a chain failed or was interrupted: {wrong:?}");
    let workers: HashSet<_> = results.iter().map(|result| u64::from(result.worker)).collect();
    assert!(workers.len() as u64 == MANY && workers.iter().all(|worker| *worker < MANY), "{workers:?}");
    let alive = log.iter().filter_map(|record| match record {
        Record::Load { load, .. } => Some(load.scenarios[0].workers),
        _ => None,
    });
    assert_eq!(alive.max(), Some(MANY), "more workers than wanted");
    let ups_and_downs =
        marks(folder.path()).into_iter().filter(|(by, what, ..)| by == "api" && what == "workers");
    assert_eq!(ups_and_downs.count(), 110);

    // The CA's counts are equal.
    let counted = ca.stop();
    let made = |chain| results.iter().filter(|result| result.chain == Some(chain)).count() as u64;
    assert_eq!(count(&counted, "accounts"), made(Chain::Registration));
    assert_eq!(count(&counted, "orders"), made(Chain::Authorization));
    assert_eq!(count(&counted, "certificates"), made(Chain::Certificate));
    let ready = made(Chain::Authorization) - made(Chain::Certificate);
    claim_everything(&state, &summary, (ready, made(Chain::Certificate)));

    // The first two rounds fill pools and buffers, which stay. What each further round adds would be a leak.
    // A worker takes about 30 KiB. If half of the workers leaked in each round, memory would grow by more than this.
    let (settled, last) = (&after[1], &after[4]);
    assert!(last.resident_kib < settled.resident_kib + 3 * MANY * 30 / 2, "{after:#?}");
    assert!(last.descriptors <= settled.descriptors + 8, "{after:#?}");
    assert!(last.threads <= settled.threads + 4, "{after:#?}");
}

/// Checks that the next process can claim every ready order and every certificate, and that none is suspect.
fn claim_everything(state: &str, summary: &Value, (orders, certificates): (u64, u64)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let directory = summary["run"]["target"].as_str().unwrap();
        let state = State::open(state, directory, StateOptions::default()).await.unwrap();
        let counts = state.counts();
        assert_eq!((counts.authorizations, counts.certificates), (orders, certificates));
        let (mut claimed_orders, mut claimed_certificates) = (Vec::new(), Vec::new());
        let everything = async {
            while (claimed_orders.len() as u64) < orders || (claimed_certificates.len() as u64) < certificates
            {
                claimed_orders.extend(state.claim_order());
                claimed_certificates.extend(state.claim_certificate());
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(120), everything).await;
        assert!(
            waited.is_ok(),
            "{} of {orders} orders and {} of {certificates} certificates can be claimed",
            claimed_orders.len(),
            claimed_certificates.len()
        );
        assert!(claimed_orders.iter().all(|order| !order.suspect));
        assert!(claimed_certificates.iter().all(|certificate| !certificate.suspect));
        drop((claimed_orders, claimed_certificates));
        state.close().await.unwrap();
    });
}
