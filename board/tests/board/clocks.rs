//! The clocks of nodes beside the board's time.

use std::time::Duration;

use wec_board::{Board, NodeId, NodeInfo, NodeKind, NodeState, Session};
use wec_clock::Clock;

use crate::common::requester;

const HOUR_NS: i64 = 3_600_000_000_000;

#[tokio::test(start_paused = true)]
async fn a_challenge_server_measures_its_clock_against_the_first_session_with_live_nodes() {
    let board = Board::local();
    let server = NodeId { id: "c-1".to_owned(), name: "c".to_owned(), stats: None };
    let server = NodeInfo::new(&server, NodeKind::ChallengeServer, NodeState::Serving);
    let server = board.join(server).await.unwrap();
    let clock = Clock::start();
    let keeper = board.keep_clock_of_all(&server, clock.shifted(HOUR_NS));
    let mut offset = keeper.offset();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(*offset.borrow_and_update(), None, "there is no time to compare with");

    let node = board.join(NodeInfo { session: "s".to_owned(), ..requester("a") }).await.unwrap();
    board.join_or_create(&Session::running("s", 1).of_run("r"), "a").await.unwrap();
    let _reference = board.keep_clock("s", &node, clock);
    let measured = offset.wait_for(Option::is_some).await.unwrap().unwrap();
    assert!(measured.ahead_ns.abs_diff(HOUR_NS) <= measured.within_ns, "{measured:?}");
    let shown =
        |id: &str| board.nodes().borrow().iter().find(|node| node.id == id).and_then(|node| node.clock);
    while shown("c-1").is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(shown("c-1"), Some(measured));
}

#[tokio::test(start_paused = true)]
async fn the_next_reference_answers_as_soon_as_the_first_one_has_left() {
    let (board, clock) = (Board::local(), Clock::start());
    let join = async |id: &str, clock: Clock| {
        let member = board.join(NodeInfo { session: "s".to_owned(), ..requester(id) }).await.unwrap();
        board.join_or_create(&Session::running("s", 1).of_run("r"), id).await.unwrap();
        let keeper = board.keep_clock("s", &member, clock);
        (member, keeper)
    };
    let (first, answers) = join("a", clock).await;
    let (_second, keeper) = join("b", clock).await;
    keeper.offset().wait_for(Option::is_some).await.unwrap();
    // By now it measures every 10 s only.
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(answers);
    first.leave().await;

    let (_third, keeper) = join("c", clock.shifted(HOUR_NS)).await;
    let left = tokio::time::Instant::now();
    let measured = keeper.offset().wait_for(Option::is_some).await.unwrap().unwrap();
    assert!(left.elapsed() < Duration::from_secs(1), "after {:?}", left.elapsed());
    assert!(measured.ahead_ns.abs_diff(HOUR_NS) <= measured.within_ns, "{measured:?}");
}
