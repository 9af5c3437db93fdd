//! What the tests of boards share.

use std::time::Duration;

use tokio::sync::watch;
use wec_board::{Board, BoardError, NodeId, NodeInfo, NodeKind, NodeState, Strength};

/// Far longer than any wait here takes.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

pub(crate) fn requester(id: &str) -> NodeInfo {
    let node = NodeId { id: id.to_owned(), name: "host".to_owned(), stats: None };
    let strength = Strength { workers: 1, ..Strength::UNMEASURED };
    NodeInfo { strength, ..NodeInfo::new(&node, NodeKind::Requester, NodeState::Running) }
}

pub(crate) async fn until<T>(mut shown: watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) {
    tokio::time::timeout(BOUND, shown.wait_for(wanted)).await.expect("in time").unwrap();
}

/// A dead process's node disappears when its lease ends; a live one stays. `open` opens the board of both.
pub(crate) async fn a_dead_node_vanishes<Opening>(open: impl Fn() -> Opening + Clone + Send + 'static)
where
    Opening: Future<Output = Result<Board, BoardError>>,
{
    let board = open().await.unwrap();
    let alive = board.join(requester("alive")).await.unwrap();

    let (seen, dies) = tokio::sync::oneshot::channel();
    let dead = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let membership = runtime.block_on(async {
            let membership = open().await.unwrap().join(requester("dead")).await.unwrap();
            dies.await.unwrap();
            membership
        });
        // The process dies: none of its tasks runs any more, and its lease is not ended.
        drop(runtime);
        drop(membership);
    });

    let ids = |nodes: &Vec<NodeInfo>| nodes.iter().map(|node| node.id.clone()).collect::<Vec<_>>();
    until(board.nodes(), |nodes| ids(nodes) == ["alive", "dead"]).await;
    seen.send(()).unwrap();
    // The live node is still there after more than the time of a lease.
    until(board.nodes(), |nodes| ids(nodes) == ["alive"]).await;
    dead.join().unwrap();
    alive.leave().await;
    board.close().await;
}
