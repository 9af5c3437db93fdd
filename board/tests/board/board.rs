//! The board's contract, tested over all boards: in memory, in a file, and in a real etcd.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::time::Duration;

use tokio::sync::{broadcast, watch};
use wec_board::{
    Board, BoardError, By, Change, ChangeTo, EtcdOptions, FileOptions, Follows, Limited, Membership, NodeId,
    NodeInfo, NodeKind, NodeState, RunRef, Session, SessionState, Strength, Versioned, Wants,
};
use wec_record::{Mark, MarkValue};
use wec_testbed::etcd::Etcd;

/// No test waits longer for an event than this.
const BOUND: Duration = Duration::from_secs(120);

/// Where several processes share a board.
pub(crate) enum World {
    Local(Board),
    File(tempfile::TempDir),
    Etcd(Box<Etcd>),
}

impl World {
    pub(crate) fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn etcd() -> Self {
        Self::Etcd(Box::new(Etcd::start().await.unwrap()))
    }

    /// The board as a further process opens it.
    pub(crate) async fn board(&self) -> Board {
        match self {
            Self::Local(board) => board.clone(),
            Self::File(folder) => {
                Board::file(FileOptions::new(folder.path().join("board.db"))).await.unwrap()
            }
            Self::Etcd(etcd) => Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap(),
        }
    }
}

/// Makes each specification a test over all boards.
macro_rules! over_all_boards {
    ($($name:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test] async fn $name() { super::$name(super::World::Local(wec_board::Board::local())).await; })*
        }
        mod file {
            $(#[tokio::test] async fn $name() { super::$name(super::World::file()).await; })*
        }
        mod etcd {
            $(#[tokio::test] async fn $name() { super::$name(super::World::etcd().await).await; })*
        }
    };
}
pub(crate) use over_all_boards;

over_all_boards!(
    a_node_is_seen_by_all_until_it_leaves,
    a_node_leaves_when_its_membership_is_dropped,
    two_live_nodes_cannot_have_one_id,
    a_session_can_be_awaited_before_it_exists,
    opening_a_session_takes_the_one_that_is_there,
    putting_a_session_replaces_it,
    a_change_is_visible_at_once_to_the_process_that_made_it,
    every_change_is_reported_once_with_who_and_from_and_to,
    setting_the_same_value_is_no_change,
    the_journal_has_every_change_of_every_run,
    concurrent_changes_are_all_made_one_after_the_other,
    changes_wanted_together_are_made_by_one_write_or_not_at_all,
    concurrent_groups_of_changes_are_not_mixed,
    a_changed_node_state_is_seen_by_all,
    nodes_that_join_a_session_at_once_make_one_run,
    a_run_begins_once_and_the_last_node_ends_it,
    no_node_joins_a_session_after_it_was_stopped,
    spec_and_status_do_not_overwrite_each_other,
    each_iteration_is_taken_exactly_once,
    shares_are_decided_once_and_followed_by_all,
    of_several_decisions_at_once_one_is_made,
    a_reserved_place_counts_for_the_quorum_while_its_node_is_away,
    a_missing_session_cannot_be_changed,
);

fn requester(id: &str, workers: u32) -> NodeInfo {
    let node = NodeId { id: id.to_owned(), name: "host".to_owned(), stats: None };
    let strength = Strength { workers, ..Strength::UNMEASURED };
    NodeInfo { strength, ..NodeInfo::new(&node, NodeKind::Requester, NodeState::Running) }
}

/// The nodes without what their memberships add.
fn unregistered(nodes: &[NodeInfo]) -> Vec<NodeInfo> {
    nodes.iter().map(|node| NodeInfo { follows: Follows::default(), ..node.clone() }).collect()
}

/// Waits until the watched value is as wanted.
async fn until<T: Clone>(shown: &mut watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) -> T {
    tokio::time::timeout(BOUND, shown.wait_for(wanted)).await.expect("in time").unwrap().clone()
}

async fn until_nodes(board: &Board, ids: &[&str]) {
    until(&mut board.nodes(), |nodes| nodes.iter().map(|node| node.id.as_str()).eq(ids.iter().copied()))
        .await;
}

async fn until_workers(board: &Board, id: &str, workers: u32) {
    until(&mut board.session(id), |session| {
        session.as_ref().is_some_and(|session| session.value.workers() == workers)
    })
    .await;
}

/// The next change as "by: from -> to".
async fn next(changes: &mut broadcast::Receiver<wec_board::Changed>) -> String {
    let changed = tokio::time::timeout(BOUND, changes.recv()).await.expect("in time").unwrap();
    shown(&changed)
}

/// A change as "by: what from -> to".
fn shown(changed: &wec_board::Changed) -> String {
    let Mark { by, what, from, to, .. } = &changed.mark;
    format!("{by}: {what} {from} -> {to}")
}

async fn a_node_is_seen_by_all_until_it_leaves(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let b = one.join(requester("b", 7)).await.unwrap();
    let a = other.join(requester("a", 5)).await.unwrap();
    for board in [&one, &other] {
        until_nodes(board, &["a", "b"]).await;
        assert_eq!(unregistered(&board.nodes().borrow()), [requester("a", 5), requester("b", 7)]);
    }
    // A later board sees the present nodes.
    let late = world.board().await;
    until_nodes(&late, &["a", "b"]).await;

    b.leave().await;
    for board in [&one, &other, &late] {
        until_nodes(board, &["a"]).await;
    }
    a.leave().await;
    until_nodes(&late, &[]).await;
}

async fn a_node_leaves_when_its_membership_is_dropped(world: World) {
    let board = world.board().await;
    let membership = board.join(requester("a", 1)).await.unwrap();
    until_nodes(&board, &["a"]).await;
    drop(membership);
    until_nodes(&board, &[]).await;
}

async fn two_live_nodes_cannot_have_one_id(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let held = one.join(requester("a", 1)).await.unwrap();
    let error = other.join(requester("a", 2)).await.unwrap_err();
    assert!(matches!(error, BoardError::NodeTaken(ref id) if id == "a"), "{error}");
    held.leave().await;
    other.join(requester("a", 2)).await.unwrap().leave().await;
}

async fn a_session_can_be_awaited_before_it_exists(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let mut shown = other.session("s");
    assert_eq!(*shown.borrow(), None);
    let put = one.put_session(Session::running("s", 50)).await.unwrap();
    assert_eq!(until(&mut shown, Option::is_some).await, Some(put));
}

async fn opening_a_session_takes_the_one_that_is_there(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let first = one.open_session(Session::running("s", 50)).await.unwrap();
    assert_eq!(first.value.workers(), 50);
    let second = other.open_session(Session::running("s", 99)).await.unwrap();
    assert_eq!(second, first);
}

async fn putting_a_session_replaces_it(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let first = one.put_session(Session::running("s", 50)).await.unwrap();
    let second = other.put_session(Session::running("s", 99)).await.unwrap();
    assert!(second.version > first.version);
    until_workers(&one, "s", 99).await;
}

async fn a_change_is_visible_at_once_to_the_process_that_made_it(world: World) {
    let board = world.board().await;
    board.put_session(Session::running("s", 1)).await.unwrap();
    for workers in 2..12 {
        let changed = board.change("s", Change::workers(By::Cli, workers)).await.unwrap();
        assert_eq!(changed.value.workers(), workers);
        assert_eq!(board.session("s").borrow().as_ref(), Some(&changed));
    }
}

async fn every_change_is_reported_once_with_who_and_from_and_to(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let (mut here, mut there) = (one.changes(), other.changes());
    one.put_session(Session::running("s", 50)).await.unwrap();
    one.change("s", Change::workers(By::Page, 80)).await.unwrap();
    other.change("s", Change::workers(By::Cli, 20)).await.unwrap();
    other.change("s", Change::state(By::Cli, SessionState::Stopped)).await.unwrap();
    one.change("s", Change::workers(By::Api, 0)).await.unwrap();
    for changes in [&mut here, &mut there] {
        assert_eq!(next(changes).await, "page: workers 50 -> 80");
        assert_eq!(next(changes).await, "cli: workers 80 -> 20");
        assert_eq!(next(changes).await, "cli: state running -> stopped");
        assert_eq!(next(changes).await, "api: workers 20 -> 0");
    }
}

async fn journal(board: &Board) -> Vec<String> {
    board.journal("s").await.unwrap().iter().map(shown).collect()
}

async fn the_journal_has_every_change_of_every_run(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    assert_eq!(journal(&one).await, [""; 0]);
    one.put_session(Session::running("s", 5)).await.unwrap();
    one.put_session(Session::running("s-2", 5)).await.unwrap();
    one.change("s", Change::workers(By::Page, 80)).await.unwrap();
    one.change("s", Change::workers(By::Page, 80)).await.unwrap();
    one.change("s-2", Change::workers(By::Page, 81)).await.unwrap();
    other.change_all("s", &together(7), |_| Ok::<_, BoardError>(())).await.unwrap();
    // Another run of the same session.
    let node = other.join(requester("a", 1)).await.unwrap();
    other.join_or_create(&Session::running("s", 1).of_run("r"), "a").await.unwrap();
    other.done(&RunRef::new("s", "r"), "a", By::Schedule).await.unwrap();
    let expected = [
        "page: workers 5 -> 80",
        "api: workers 80 -> 7",
        "api: limits certificates=none -> certificates=7",
        "schedule: state running -> stopped",
    ];
    for board in [&one, &other] {
        assert_eq!(journal(board).await, expected);
    }
    node.leave().await;
}

#[tokio::test]
async fn a_journal_keeps_the_last_thousand_changes() {
    let board = Board::local();
    board.put_session(Session::running("s", 0)).await.unwrap();
    for workers in 1..=1_005 {
        board.change("s", Change::workers(By::Api, workers)).await.unwrap();
    }
    let kept = journal(&board).await;
    assert_eq!((kept.len(), kept[0].as_str()), (1_000, "api: workers 5 -> 6"));
}

async fn setting_the_same_value_is_no_change(world: World) {
    let board = world.board().await;
    let mut changes = board.changes();
    let put = board.put_session(Session::running("s", 50)).await.unwrap();
    assert_eq!(board.change("s", Change::workers(By::Page, 50)).await.unwrap(), put);
    board.change("s", Change::workers(By::Page, 51)).await.unwrap();
    assert_eq!(next(&mut changes).await, "page: workers 50 -> 51");
}

async fn concurrent_changes_are_all_made_one_after_the_other(world: World) {
    let boards = [world.board().await, world.board().await, world.board().await];
    let mut changes = boards[0].changes();
    boards[0].put_session(Session::running("s", 0)).await.unwrap();
    let made: Vec<_> = (1..=12u32)
        .map(|workers| {
            let board = boards[workers as usize % 3].clone();
            tokio::spawn(async move { board.change("s", Change::workers(By::Api, workers)).await.unwrap() })
        })
        .collect();
    for change in made {
        change.await.unwrap();
    }
    // Each change starts from the value of the one before: no change was made to an outdated state.
    let mut at = MarkValue::Workers(0);
    let mut seen = Vec::new();
    for _ in 0..12 {
        let changed = tokio::time::timeout(BOUND, changes.recv()).await.expect("in time").unwrap();
        assert_eq!(changed.mark.from, at);
        let MarkValue::Workers(to) = changed.mark.to else { panic!("{changed:?}") };
        at = MarkValue::Workers(to);
        seen.push(to);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=12).collect::<Vec<_>>());
}

fn together(workers: u32) -> [Change; 2] {
    let limit = ChangeTo::Limit(Limited::Certificates, Some(workers.into()));
    [Change::workers(By::Api, workers), Change::new(By::Api, limit)]
}

async fn changes_wanted_together_are_made_by_one_write_or_not_at_all(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let mut changes = other.changes();
    let put = one.put_session(Session::running("s", 5)).await.unwrap();
    let refused = one.change_all("s", &together(7), |_| Err(BoardError::NoSession("refused".into()))).await;
    assert!(matches!(refused, Err(BoardError::NoSession(ref why)) if why == "refused"));
    let [workers, _] = together(7);
    let impossible = [workers, Change::new(By::Api, ChangeTo::Rate(2.0))];
    let refused = one.change_all("s", &impossible, |_| Ok::<_, BoardError>(())).await;
    assert!(matches!(refused, Err(BoardError::NoRate { .. })), "{refused:?}");
    assert_eq!(one.session("s").borrow().clone(), Some(put));

    let made = one.change_all("s", &together(7), |_| Ok::<_, BoardError>(())).await.unwrap();
    assert_eq!(made.changes.len(), 2);
    let shown = until(&mut other.session("s"), |shown| {
        shown.as_ref().is_some_and(|shown| shown.version >= made.session.version)
    })
    .await;
    assert_eq!(shown, Some(made.session), "no process sees only one of them");
    assert_eq!(next(&mut changes).await, "api: workers 5 -> 7");
    assert_eq!(next(&mut changes).await, "api: limits certificates=none -> certificates=7");
}

async fn concurrent_groups_of_changes_are_not_mixed(world: World) {
    let boards = [world.board().await, world.board().await];
    let mut changes = boards[0].changes();
    boards[0].put_session(Session::running("s", 0)).await.unwrap();
    let made: Vec<_> = (1..=10u32)
        .map(|workers| {
            let board = boards[workers as usize % 2].clone();
            tokio::spawn(async move {
                board.change_all("s", &together(workers), |_| Ok::<_, BoardError>(())).await.unwrap()
            })
        })
        .collect();
    for made in made {
        let session = made.await.unwrap().session.value;
        assert!(session.spec.limits.certificates.is_some());
    }
    for _ in 0..10 {
        let (workers, limit) = (next(&mut changes).await, next(&mut changes).await);
        let to = |change: &str| change.rsplit(['=', ' ']).next().unwrap().to_owned();
        assert!(workers.contains("workers") && to(&workers) == to(&limit), "{workers}, {limit}");
    }
    let last = boards[1].session("s");
    let session = last.borrow().clone().unwrap().value;
    assert_eq!(Some(u64::from(session.workers())), session.spec.limits.certificates);
}

async fn a_changed_node_state_is_seen_by_all(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let doing = |state| NodeInfo { state, ..requester("a", 50) };
    let mut a = one.join(doing(NodeState::Preparing)).await.unwrap();
    let seen = unregistered(&one.nodes().borrow());
    assert_eq!(seen, [doing(NodeState::Preparing)], "a node sees itself");
    for (state, shares) in
        [(NodeState::Running, true), (NodeState::Finishing, false), (NodeState::Running, true)]
    {
        a.set_state(state);
        for board in [&one, &other] {
            let nodes = until(&mut board.nodes(), |nodes| unregistered(nodes) == [doing(state)]).await;
            assert_eq!(nodes[0].shares_load_of(""), shares);
        }
    }
    a.leave().await;
    until_nodes(&other, &[]).await;
}

async fn nodes_that_join_a_session_at_once_make_one_run(world: World) {
    let boards = [world.board().await, world.board().await, world.board().await];
    // A session whose nodes are gone.
    let mut old = Session::running("s", 1).of_run("old");
    old.status.members = vec!["gone".into()];
    boards[0].put_session(old).await.unwrap();
    let mut seats = Vec::new();
    let mut taken = Vec::new();
    for (board, id) in boards.iter().zip(["a", "b", "c"]) {
        seats.push(board.join(requester(id, 0)).await.unwrap());
        let board = board.clone();
        taken.push(tokio::spawn(async move {
            let wanted = Session::running("s", 9).of_run(format!("of {id}"));
            board.join_or_create(&wanted, id).await.unwrap().value
        }));
    }
    let mut runs = Vec::new();
    for taken in taken {
        runs.push(taken.await.unwrap().status.run);
    }
    assert!(runs[0].starts_with("of ") && runs.iter().all(|run| *run == runs[0]), "{runs:?}");
    let mut session = boards[0].session("s");
    let all = |shown: &Option<Versioned<Session>>| {
        shown.as_ref().is_some_and(|shown| shown.value.status.members.len() == 3)
    };
    let mut members = until(&mut session, all).await.unwrap().value.status.members;
    members.sort();
    assert_eq!(members, ["a", "b", "c"]);
    for seat in seats {
        seat.leave().await;
    }
}

async fn a_run_begins_once_and_the_last_node_ends_it(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let mut changes = other.changes();
    let seats = [one.join(requester("a", 1)).await.unwrap(), other.join(requester("b", 1)).await.unwrap()];
    let wanted = Session::running("s", 1).of_run("r");
    one.join_or_create(&wanted, "a").await.unwrap();
    other.join_or_create(&wanted, "b").await.unwrap();
    let (run, another) = (RunRef::new("s", "r"), RunRef::new("s", "another"));
    assert_eq!(one.begin(&another, 3).await.unwrap().value.status.began_unix_ns, None);
    let (begun, again) = tokio::join!(one.begin(&run, 5), other.begin(&run, 7));
    let (begun, again) =
        (begun.unwrap().value.status.began_unix_ns, again.unwrap().value.status.began_unix_ns);
    assert!(begun == again && [Some(5), Some(7)].contains(&begun), "{begun:?} {again:?}");
    let begun = one.begin(&run, 9).await.unwrap();
    let unchanged = one.end_scenario(&another, "default", "a").await.unwrap();
    assert_eq!(unchanged.value, one.done(&another, "a", By::Schedule).await.unwrap().value);
    assert_eq!(unchanged.value, begun.value, "another run is not touched");
    let first = one.done(&run, "a", By::Schedule).await.unwrap().value;
    assert_eq!(first.spec.state, SessionState::Running);
    let last = other.done(&run, "b", By::Schedule).await.unwrap().value;
    assert_eq!(last.spec.state, SessionState::Stopped);
    assert_eq!(next(&mut changes).await, "schedule: state running -> stopped");
    for seat in seats {
        seat.leave().await;
    }
}

async fn no_node_joins_a_session_after_it_was_stopped(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let seats = [one.join(requester("a", 1)).await.unwrap(), other.join(requester("b", 1)).await.unwrap()];
    for round in 0..10 {
        let wanted = Session::running(format!("s-{round}"), 1).of_run("r");
        one.join_or_create(&wanted, "a").await.unwrap();
        let stop = Change::state(By::Page, SessionState::Stopped);
        let (stopped, joined) =
            tokio::join!(one.change(&wanted.spec.id, stop), other.join_or_create(&wanted, "b"));
        match joined {
            Ok(joined) => assert!(joined.version < stopped.unwrap().version, "joined before it was stopped"),
            Err(error) => assert!(matches!(error, BoardError::Ending(_)), "{error}"),
        }
    }
    for seat in seats {
        seat.leave().await;
    }
}

async fn spec_and_status_do_not_overwrite_each_other(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    one.put_session(Session::running("s", 1).of_run("r")).await.unwrap();
    let run = RunRef::new("s", "r");
    let changing = async {
        for workers in 2..=10 {
            one.change("s", Change::workers(By::Page, workers)).await.unwrap();
        }
    };
    let reporting = async {
        other.begin(&run, 5).await.unwrap();
        for node in 0..9 {
            other.end_scenario(&run, "default", &format!("node-{node}")).await.unwrap();
        }
    };
    tokio::join!(changing, reporting);
    for board in [&one, &other] {
        let all = |shown: &Option<Versioned<Session>>| {
            let Session { spec, status } = &shown.as_ref().unwrap().value;
            let over_on = status.scenarios.get("default").map_or(0, |scenario| scenario.over_on.len());
            (spec.scenarios["default"].workers, over_on) == (10, 9)
        };
        let shown = until(&mut board.session("s"), all).await.unwrap().value;
        assert_eq!(shown.status.began_unix_ns, Some(5));
        assert_eq!(shown.spec.last_changes.len(), 1, "a node's report is not a change");
    }
}

async fn each_iteration_is_taken_exactly_once(world: World) {
    const ALL: u64 = 1_000;
    let (run, name) = (RunRef::new("s", "r"), "default");
    let takers = ["a", "b", "c"].map(|node| (node, world.board()));
    let mut taking = Vec::new();
    for (node, board) in takers {
        let (board, run) = (board.await, run.clone());
        taking.push(tokio::spawn(async move {
            let mut had = 0;
            loop {
                let wants = Wants { node, had, used: had, strength: (1, 3), most: 60 };
                let pool = board.take_iterations(&run, name, ALL, wants).await.unwrap();
                if pool.taken[node] == had {
                    return (board, node, had);
                }
                had = pool.taken[node];
            }
        }));
    }
    let mut ended = Vec::new();
    for taking in taking {
        ended.push(taking.await.unwrap());
    }
    assert_eq!(ended.iter().map(|(.., had)| had).sum::<u64>(), ALL);
    // A node returns ten of its iterations, and another takes them.
    ended.sort_unstable_by_key(|(.., had)| std::cmp::Reverse(*had));
    let (board, node, had) = &ended[0];
    let pool = board.settle_iterations(&run, name, node, had - 10).await.unwrap();
    assert_eq!((pool.left, pool.done), (10, had - 10));
    let (board, node, had) = &ended[1];
    let wants = Wants { node, had: *had, used: *had, strength: (1, 1), most: 60 };
    let pool = board.take_iterations(&run, name, ALL, wants).await.unwrap();
    assert_eq!(
        (pool.left, pool.taken[*node]),
        (5, had + 5),
        "a node gets half of what is left, so that all end at the same time"
    );
    // Another run has its own pool.
    let next = RunRef::new("s", "r2");
    let pool = board.take_iterations(&next, name, 7, Wants { had: 0, used: 0, ..wants }).await.unwrap();
    assert_eq!((pool.left, pool.taken.len()), (3, 1));
}

async fn shares_are_decided_once_and_followed_by_all(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let of = |id, workers| NodeInfo { session: "s".to_owned(), ..requester(id, workers) };
    let keeping = [(one.clone(), "a"), (other.clone(), "b")]
        .map(|(board, node)| tokio::spawn(async move { board.keep_shares("s", node).await }));
    // The parts of 30 workers.
    let shown = async |epoch: u64, parts: &[(&str, u32)]| {
        for board in [&one, &other] {
            let shares = until(&mut board.shares("s"), |shares| shares.epoch == epoch).await;
            let of_all: Vec<_> =
                shares.nodes.keys().map(|id| (id.as_str(), shares.workers(id, 30))).collect();
            assert_eq!(of_all, parts, "epoch {epoch}");
        }
    };
    let registration = |membership: &Membership| membership.right().standing().borrow().registration;
    let a = one.join(of("a", 100)).await.unwrap();
    shown(1, &[("a", 30)]).await;
    let mut b = other.join(NodeInfo { state: NodeState::Preparing, ..of("b", 50) }).await.unwrap();
    until_nodes(&one, &["a", "b"]).await;
    assert_eq!(one.decide_shares("s").await.unwrap().epoch, 1, "a node that becomes ready changes nothing");
    b.set_state(NodeState::Running);
    // The new node gets its part when the other one has acknowledged the smaller one.
    shown(2, &[("a", 20), ("b", 0)]).await;
    assert_eq!(one.decide_shares("s").await.unwrap().epoch, 2);
    a.entry().acknowledge(registration(&a), 2);
    shown(3, &[("a", 20), ("b", 10)]).await;
    let stranger = one.join(requester("c", 9)).await.unwrap();
    assert_eq!(one.decide_shares("s").await.unwrap().epoch, 3, "another session's node changes nothing");
    a.leave().await;
    shown(4, &[("b", 30)]).await;
    b.set_state(NodeState::Finishing);
    shown(5, &[]).await;
    // A later board sees the decided shares.
    let late = world.board().await;
    until(&mut late.shares("s"), |shares| shares.epoch == 5).await;
    for membership in [b, stranger] {
        membership.leave().await;
    }
    for keeping in keeping {
        keeping.abort();
    }
}

async fn a_reserved_place_counts_for_the_quorum_while_its_node_is_away(world: World) {
    let (one, other) = (world.board().await, world.board().await);
    let of = |id: &str, name: &str| NodeInfo {
        session: "s".to_owned(),
        name: name.to_owned(),
        ..requester(id, 1)
    };
    one.put_session(Session::running("s", 5)).await.unwrap();
    let a = one.join(of("a-1", "a")).await.unwrap();
    assert!(one.quorum("s").is_there(), "one node alone");
    for name in ["a", "b", "c"] {
        other.reserve_place(name).await.unwrap();
    }
    until(&mut one.places(), |places| places.len() == 3).await;
    let quorum = one.quorum("s");
    assert_eq!((quorum.live, quorum.known, quorum.needed, quorum.is_there()), (1, 3, 2, false));
    let b = other.join(of("b-1", "b")).await.unwrap();
    until_nodes(&one, &["a-1", "b-1"]).await;
    assert!(one.quorum("s").is_there());
    b.leave().await;
    until_nodes(&one, &["a-1"]).await;
    assert!(!one.quorum("s").is_there());
    for name in ["b", "c", "nobody"] {
        other.remove_place(name).await.unwrap();
    }
    until(&mut one.places(), |places| places.len() == 1).await;
    assert!(one.quorum("s").is_there());
    // A later board knows the places, too.
    assert_eq!(world.board().await.places().borrow().iter().collect::<Vec<_>>(), ["a"]);
    a.leave().await;
}

async fn of_several_decisions_at_once_one_is_made(world: World) {
    let boards = [world.board().await, world.board().await, world.board().await];
    let node = NodeInfo { session: "s".to_owned(), ..requester("a", 5) };
    let a = boards[0].join(node).await.unwrap();
    let decided = boards.clone().map(|board| tokio::spawn(async move { board.decide_shares("s").await }));
    for decided in decided {
        assert_eq!(decided.await.unwrap().unwrap().epoch, 1);
    }
    a.leave().await;
}

async fn a_missing_session_cannot_be_changed(world: World) {
    let error = world.board().await.change("nowhere", Change::workers(By::Page, 1)).await.unwrap_err();
    assert!(matches!(error, BoardError::NoSession(ref id) if id == "nowhere"), "{error}");
}
