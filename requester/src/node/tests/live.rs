//! What changes a run from outside while it is under way: weights, limits, its rate, a threshold that ends it, and the
//! death of another node.

use wec_board::{Limited, RunRef, Wants};
use wec_figures::aggregate::Aggregate;
use wec_record::{Mark, MarkBy, Record, RunHeader, Stamp};

use super::fake::ENDLESS;
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

/// The run's time is endless, because time goes on while workers that may make nothing ask again.
#[test]
fn a_limit_that_is_set_during_a_run_holds_and_can_be_raised_and_removed() {
    const WORKERS: usize = 2;
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let fake = Fake::new(&ca, &board);
        let mut opened = fake.opened.subscribe();
        let mut plan = plan("2", None);
        plan.scenarios[0].run_time = ENDLESS;
        let mut run = Run::start("a", plan, fake);
        let workload = run.begun().await;
        let state = opened.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        let limit = async |registrations: Option<u64>| {
            let change = ChangeTo::Limit(Limited::Registrations, registrations);
            board.change("default", Change::new(By::Page, change)).await.unwrap();
        };
        let mut before = run.results(5).await;
        for more in [10, 25] {
            let most = before + more;
            limit(Some(most as u64)).await;
            run.results(most).await;
            let idle = workload.idle();
            sleep(Duration::from_secs(60)).await;
            before = run.list.results.borrow().len();
            // Chains that ran when the limit was set had no need of a right.
            assert!((most..=most + WORKERS).contains(&before), "limit {most}, {before} made");
            assert!(workload.idle() > idle, "the workers find nothing to do");
            assert!(!state.available().may_register);
        }
        limit(None).await;
        run.results(before + 30).await;
        assert!(run.list.results.borrow().iter().all(|result| result.successful));
        run.stop.finish.cancel();
        let list = Arc::clone(&run.list);
        let ended = run.end().await;
        ended.state.unwrap();
        assert_eq!(
            (ended.iterations, *ca.0.asked.borrow()),
            (list.results.borrow().len() as u64, ended.iterations)
        );
    });
}

/// Registrations at even distances.
fn rated(rate: &str) -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("rate", rate)
        .with("spacing", "even")
        .with("weights", Weights::only(Chain::Registration).to_string())
        .with("state", "sqlite::memory:")
        .with("threads", "1")
        .with("run_time", "1h");
    plan.resolve(None).unwrap()
}

#[test]
fn a_changed_rate_holds_from_the_next_arrival_on() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = Run::start("a", rated("20/s"), Fake::new(&ca, &board));
        run.results(20).await;
        for rate in [40.0, 10.0] {
            board.change("default", Change::new(By::Page, ChangeTo::Rate(rate))).await.unwrap();
            let before = run.list.results.borrow().len();
            run.results(before + 40).await;
        }
        board.change("default", Change::new(By::Page, ChangeTo::Rate(0.0))).await.unwrap();
        // Running chains end.
        sleep(Duration::from_secs(1)).await;
        let before = run.list.results.borrow().len();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(run.list.results.borrow().len(), before, "nothing starts at the rate zero");
        board.change("default", Change::new(By::Page, ChangeTo::Rate(20.0))).await.unwrap();
        run.results(before + 20).await;
        run.stop.finish.cancel();
        let list = Arc::clone(&run.list);
        let ended = run.end().await;
        let mut dues: Vec<_> = list.results.borrow().iter().map(|result| result.due).collect();
        dues.sort_unstable();
        assert_eq!(ended.iterations, dues.len() as u64, "each due iteration has a result");
        let gaps: Vec<_> = dues.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
        let mut rest = gaps.as_slice();
        for ms in [50, 25, 100, 50] {
            let even = rest.iter().take_while(|gap| gap.abs_diff(ms) <= 1).count();
            assert!(even >= 15, "{ms} ms: {even} of {rest:?}");
            // One gap has the change.
            rest = rest.get(even + 1..).unwrap_or_default();
        }
        assert!(rest.is_empty(), "{gaps:?}");
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
        ca.refuses_with(403);
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
