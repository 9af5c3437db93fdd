//! Two nodes that share a load.

use super::*;

#[test]
fn the_others_run_the_iterations_that_an_interrupted_node_has_not_started() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let first = Run::start("a", plan("2", Some("400")), Fake::new(&ca, &board));
        let second = Run::start("b", plan("2", Some("400")), Fake::new(&ca, &board));
        first.results(5).await;
        second.results(5).await;
        second.stop.finish.cancel();
        let interrupted = second.end().await;
        interrupted.state.unwrap();
        let rest = first.end().await;
        assert!(interrupted.iterations < 200, "{}", interrupted.iterations);
        assert_eq!(interrupted.iterations + rest.iterations, 400);
        assert_eq!(interrupted.run, rest.run);
    });
}

/// Registrations at even distances, for 16 s without pauses.
fn rated() -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("rate", "40/s")
        .with("spacing", "even")
        .with("weights", Weights::only(Chain::Registration).to_string())
        .with("state", "sqlite::memory:")
        .with("threads", "1")
        .with("run_time", "16s");
    plan.resolve(None).unwrap()
}

#[test]
fn a_rate_is_shared_and_a_pause_stops_all_nodes() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let mut one = Run::start("a", rated(), Fake::new(&ca, &board));
        one.results(40).await;
        let mut two = Run::start("b", rated(), Fake::new(&ca, &board));
        two.results(20).await;
        let workloads = [one.begun().await, two.begun().await];
        board.change("default", Change::state(By::Page, SessionState::Paused)).await.unwrap();
        while workloads.iter().any(|workload| workload.busy() > 0) {
            sleep(LATENCY).await;
        }
        let ended = || [&one, &two].map(|run| run.list.results.borrow().len());
        let before = ended();
        // Longer than the rest of the run.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(ended(), before);
        board.change("default", Change::state(By::Page, SessionState::Running)).await.unwrap();
        let lists = [&one, &two].map(|run| Arc::clone(&run.list));
        let (first, second) = (one.end().await, two.end().await);
        assert_eq!(first.run, second.run);
        let due = lists.map(|list| list.loads.lock().unwrap().last().unwrap().1.scenarios[0].due);
        assert!(due[1] > 200, "{due:?}: each has half of the rate from its start on");
        // With a tolerance for the moment in which one node has seen the other and not vice versa.
        assert!((632..=648).contains(&(due[0] + due[1])), "{due:?}");
        assert_eq!(due, [first.iterations, second.iterations], "each due iteration has ended");
    });
}
