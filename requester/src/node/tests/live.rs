//! What changes a run from outside while it is under way: weights, a threshold that ends it, and the death of another
//! node.

use wec_board::{RunRef, Wants};
use wec_figures::aggregate::Aggregate;
use wec_record::{Mark, MarkBy, Record, RunHeader, Stamp};

use super::*;

#[test]
fn a_change_of_weights_decides_which_chains_begin() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = Run::start("a", plan("2", None), Fake::new(&ca, &board));
        run.results(5).await;
        assert!(run.list.results.borrow().iter().all(|result| result.chain == Some(Chain::Registration)));
        let weights = [("registration".to_owned(), 0.0), ("authorization".to_owned(), 1.0)];
        board.change("default", Change::new(By::Page, ChangeTo::Weights(weights.into()))).await.unwrap();
        run.until_new(authorized).await;
        // Each worker may have been within a chain of before the change.
        let before = run.list.results.borrow().len() + 2;
        run.results(before + 30).await;
        let others = |result: &&ChainResult| result.chain != Some(Chain::Authorization);
        assert_eq!(run.list.results.borrow().iter().skip(before).filter(others).count(), 0);
        run.stop.finish.cancel();
        run.end().await;
    });
}

/// Judges the results as analytics does, and stops the session when a threshold demands it. Returns that threshold.
async fn judge(plan: wec_record::Plan, list: Arc<List>, board: Board) -> String {
    const ORIGIN: u64 = 1_800_000_000_000_000_000;
    let stamp = Stamp { plan: Some(Box::new(plan)), ..Stamp::default() };
    let text = || String::from("r");
    let (version, started_unix_ns) = (wec_record::FORMAT_VERSION, ORIGIN);
    let (run, session, program, target) = (text(), "default".to_owned(), text(), text());
    let header = RunHeader { version, run, session, program, target, started_unix_ns, stamp };
    let mut aggregate = Aggregate::default();
    aggregate.record(&Record::Header(header));
    let mut counted = 0;
    loop {
        let new = list.results.borrow()[counted..].to_vec();
        counted += new.len();
        for result in new {
            aggregate.record(&Record::Chain { node: "a".to_owned(), origin_unix_ns: ORIGIN, result });
        }
        if let Some(threshold) = aggregate.wants_end() {
            board.change("default", Change::state(By::Threshold, SessionState::Stopped)).await.unwrap();
            return threshold.to_string();
        }
        sleep(Duration::from_millis(250)).await;
    }
}

#[test]
fn a_threshold_that_aborts_ends_the_run_which_is_drained_and_delivered() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let thresholds = ["chain.registration{failed} < 20% abort".parse().unwrap()];
        let plan = Plan { thresholds: thresholds.into(), ..plan("2", None) };
        let run = Run::start("a", plan.clone(), Fake::new(&ca, &board));
        let list = Arc::clone(&run.list);
        let judging = tokio::task::spawn_local(judge((&plan).into(), Arc::clone(&list), board.clone()));
        run.results(20).await;
        assert!(!judging.is_finished(), "nothing has failed yet");
        ca.0.refuses.store(true, Ordering::Relaxed);
        assert_eq!(judging.await.unwrap(), "chain.registration{failed} < 20% abort");
        let ended = run.end().await;
        ended.state.unwrap();
        let results = list.results.borrow();
        assert_eq!((ended.iterations, ended.health.delivered), (results.len() as u64, results.len() as u64));
        assert!(results.iter().any(|result| !result.successful));
        assert_eq!((nodes(&board), state(&board)), (0, SessionState::Stopped));
        let changes = board.session("default").borrow().as_ref().unwrap().value.spec.last_changes.clone();
        let by_threshold = |mark: &Mark| mark.by == MarkBy::Threshold && mark.new_state().is_some();
        assert!(changes.iter().any(|change| by_threshold(&change.mark)), "{changes:?}");
    });
}

/// What the killed node has taken may have been run, so it is not run again. All that it has not taken goes to the others.
#[test]
fn the_others_run_the_iterations_that_a_killed_node_has_not_taken() {
    const ALL: u64 = 400;
    paused(async {
        let (ca, page) = (Ca::new(true), Board::local());
        let (board, link) = page.linked().await.unwrap();
        let first = Run::start("a", plan("2", Some("400")), Fake::new(&ca, &board));
        let second = Run::start("b", plan("2", Some("400")), Fake::new(&ca, &page));
        first.results(5).await;
        second.results(5).await;
        first.running.abort();
        assert!(first.running.await.unwrap_err().is_cancelled());
        link.cut();
        link.end_leases().await;
        let killed = first.list.results.borrow().len() as u64;
        let list = Arc::clone(&second.list);
        let ended = second.end().await;
        ended.state.unwrap();
        assert_eq!(ended.iterations, list.results.borrow().len() as u64);
        let run = RunRef { session: "default".to_owned(), run: ended.run };
        let reads = Wants { node: "reader", had: 0, used: 0, strength: (0, 1), most: 0 };
        let pool = page.take_iterations(&run, "default", ALL, reads).await.unwrap();
        let taken: u64 = pool.taken.values().sum();
        assert_eq!((pool.left, pool.done, pool.done + taken), (0, ended.iterations, ALL));
        // What its two workers ran when it was killed may have ended.
        let ran = first.list.results.borrow().len() as u64;
        assert!(
            ran <= killed + 2 && ran <= taken && taken < ALL,
            "{killed}, {ran} of {taken}, {}",
            pool.done
        );
        assert_eq!(nodes(&page), 0);
    });
}
