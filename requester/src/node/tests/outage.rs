//! What workers do while the CA refuses.

use super::*;

/// Registrations by eight workers without retries of a request.
fn plan(on_failure: &str, run_time: &str) -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("workers", "8")
        .with("weights", Weights::only(Chain::Registration).to_string())
        .with("on_failure", on_failure)
        .with("max_retries", "0")
        .with("state", "sqlite::memory:")
        .with("threads", "1")
        .with("run_time", run_time);
    plan.resolve(None).unwrap()
}

#[test]
fn few_chains_run_in_an_outage_unless_workers_hammer() {
    paused(async {
        // The waits are at least 50, 100, … ms, so the eighth begins more than 5 s after the first. Without them each worker
        // runs a chain every 100 ms.
        for (status, on_failure, expected) in
            [(500, "back-off", 8..=64), (429, "back-off", 8..=64), (500, "hammer", 380..=400)]
        {
            let (ca, board) = (Ca::new(true), Board::local());
            ca.refuses_with(status);
            let run = Run::start("a", plan(on_failure, "5s"), Fake::new(&ca, &board));
            let list = Arc::clone(&run.list);
            run.end().await;
            let results = list.results.borrow();
            assert!(results.iter().all(|result| !result.successful));
            assert!(expected.contains(&results.len()), "{status}, {on_failure}: {} chains", results.len());
        }
    });
}

#[test]
fn workers_begin_again_when_the_ca_accepts() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        ca.refuses_with(403);
        let run = Run::start("a", plan("back-off", "1h"), Fake::new(&ca, &board));
        sleep(Duration::from_secs(60)).await;
        let refused = run.results(1).await;
        assert!(run.list.results.borrow().iter().all(|result| !result.successful));
        assert!(refused < 800, "{refused}: without back-off there are 4800 requests");
        ca.refuses_with(0);
        run.until(|result| result.successful).await;
        run.stop.finish.cancel();
        run.end().await;
    });
}
