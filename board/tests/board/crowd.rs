//! A thousand nodes on one board, by a paused clock: the number of writes grows with the nodes, not faster.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::time::Duration;

use tokio::task::JoinSet;
use wec_board::{Board, LoadUnit, Membership, NodeInfo, Session};

use crate::common::requester;

/// Joins, follows its shares as a requester does, and decides when it is its turn.
async fn join(board: &Board, number: u32, tasks: &mut JoinSet<()>) -> Membership {
    let id = format!("n{number:04}");
    let member = board.join(NodeInfo { session: "s".to_owned(), ..requester(&id) }).await.unwrap();
    let (entry, right, mut shares) = (member.entry(), member.right(), board.shares("s"));
    let (deciding, own) = (board.clone(), id.clone());
    tasks.spawn(async move { deciding.keep_shares("s", &own).await });
    tasks.spawn(async move {
        loop {
            let registration = right.standing().borrow().registration;
            let awaited = {
                let shares = shares.borrow_and_update();
                let awaited = shares.share(&id, registration).filter(|share| shares.awaits(share));
                awaited.map(|_| shares.epoch)
            };
            if let Some(epoch) = awaited {
                entry.acknowledge(registration, epoch);
            }
            if shares.changed().await.is_err() {
                return;
            }
        }
    });
    member
}

/// Number of writes to the board so far: each has a version of its own.
async fn writes(board: &Board) -> u64 {
    board.put_session(Session::running("count", rand::random_range(1..1_000_000))).await.unwrap().version
}

/// Waits until all nodes have their final parts.
async fn settled(board: &Board, nodes: usize) {
    let mut shares = board.shares("s");
    let settled = shares.wait_for(|shares| {
        shares.nodes.len() == nodes && shares.nodes.values().all(|share| share.limit.is_none())
    });
    settled.await.unwrap();
    // Those whose turn is later see that there is nothing to decide.
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Prints how long a round takes a node, by the processor: it reads the board, decides, and computes its part.
#[expect(clippy::disallowed_methods, reason = "measured and printed; the runtime's own time is paused")]
async fn print_a_round(board: &Board, nodes: u32) {
    let rounds = 5;
    let began = std::time::Instant::now();
    let mut part = 0.0;
    for _ in 0..rounds {
        let shares = board.decide_shares("s").await.unwrap();
        part = shares.rate("n0000", LoadUnit::Chains, 5_000.0);
    }
    let took = began.elapsed() / rounds;
    let bytes = serde_json::to_vec(&*board.shares("s").borrow()).unwrap().len();
    assert!(part > 0.0);
    println!("{nodes} nodes: a round takes a node {took:?}; the shares are {bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn the_writes_of_a_change_grow_with_the_number_of_nodes_and_there_are_none_without_one() {
    for nodes in [100_u32, 1_000] {
        let (board, mut tasks) = (Board::local(), JoinSet::new());
        let mut members = Vec::new();
        for number in 0..nodes {
            members.push(join(&board, number, &mut tasks).await);
        }
        settled(&board, nodes as usize).await;
        print_a_round(&board, nodes).await;

        let before = writes(&board).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(
            writes(&board).await - before,
            1,
            "{nodes} nodes: nothing is written while nothing changes"
        );

        let before = writes(&board).await;
        let last = join(&board, nodes, &mut tasks).await;
        settled(&board, nodes as usize + 1).await;
        let joined = writes(&board).await - before;
        // Its entry, two decisions, and an acknowledgement of each of the others.
        println!("{nodes} nodes: {joined} writes for one that joins");
        assert!(joined <= u64::from(nodes) + 10, "{nodes} nodes: {joined} writes for one that joins");

        let before = writes(&board).await;
        last.leave().await;
        settled(&board, nodes as usize).await;
        let left = writes(&board).await - before;
        println!("{nodes} nodes: {left} writes for one that leaves");
        assert!(left <= 10, "{nodes} nodes: {left} writes for one that leaves");
        tasks.shutdown().await;
    }
}
