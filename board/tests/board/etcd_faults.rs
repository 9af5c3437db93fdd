//! etcd that is unreachable, restarted, compacted, without its data, or no etcd at all.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wec_board::{Board, BoardError, BoardUrl, By, Change, Connection, EtcdOptions, Session};
use wec_record::MarkValue;
use wec_testbed::etcd::Etcd;

use crate::common::{BOUND, a_dead_node_vanishes, requester, until};

fn options(etcd: &Etcd) -> EtcdOptions {
    EtcdOptions { lease: Duration::from_secs(2), ..EtcdOptions::new([etcd.endpoint()]) }
}

async fn until_lost(board: &Board) {
    until(board.connection(), |now| matches!(now, Connection::Lost { .. })).await;
}

async fn until_connected(board: &Board) {
    until(board.connection(), |now| *now == Connection::Connected).await;
}

async fn until_workers(board: &Board, id: &str, workers: u32) {
    until(board.session(id), |now| now.as_ref().is_some_and(|now| now.value.workers() == workers)).await;
}

/// A relay between a board and an etcd, whose connections a test can cut.
struct Cable {
    address: SocketAddr,
    to: SocketAddr,
    carrying: Option<tokio::task::JoinHandle<()>>,
}

impl Cable {
    async fn to(to: SocketAddr) -> Self {
        let mut cable = Self { address: wec_testbed::free_address(), to, carrying: None };
        cable.mend().await;
        cable
    }

    fn carry(&mut self, listener: TcpListener) {
        let to = self.to;
        self.carrying = Some(tokio::spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                streams.spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }));
    }

    async fn cut(&mut self) {
        let carrying = self.carrying.take().unwrap();
        carrying.abort();
        let _ = carrying.await;
    }

    async fn mend(&mut self) {
        self.carry(TcpListener::bind(self.address).await.unwrap());
    }

    fn options(&self) -> EtcdOptions {
        EtcdOptions::new([format!("http://{}", self.address)])
    }
}

#[tokio::test]
async fn a_dead_node_disappears_when_its_lease_ends() {
    let etcd = Etcd::start().await.unwrap();
    let options = options(&etcd);
    a_dead_node_vanishes(move || Board::etcd(options.clone())).await;
}

#[tokio::test]
async fn keeps_the_last_known_state_while_etcd_is_away_and_follows_again_afterwards() {
    let mut etcd = Etcd::start().await.unwrap();
    let board = Board::etcd(options(&etcd)).await.unwrap();
    let node = board.join(requester("a")).await.unwrap();
    board.put_session(Session::running("s", 50)).await.unwrap();
    until(board.nodes(), |nodes| nodes.len() == 1).await;

    etcd.kill().unwrap();
    until_lost(&board).await;
    assert_eq!(board.session("s").borrow().as_ref().unwrap().value.workers(), 50);
    assert_eq!(board.nodes().borrow().len(), 1);
    let error = board.change("s", Change::workers(By::Page, 60)).await.unwrap_err();
    assert!(matches!(error, BoardError::Unreachable { .. }), "{error}");

    etcd.restart().await.unwrap();
    until_connected(&board).await;
    board.change("s", Change::workers(By::Page, 60)).await.unwrap();
    let other = Board::etcd(options(&etcd)).await.unwrap();
    until_workers(&other, "s", 60).await;
    until(other.nodes(), |nodes| nodes.len() == 1).await;
    node.leave().await;
}

#[tokio::test]
async fn learns_every_change_that_was_made_while_it_was_cut_off() {
    let etcd = Etcd::start().await.unwrap();
    let mut cable = Cable::to(etcd.address()).await;
    let far = Board::etcd(cable.options()).await.unwrap();
    let near = Board::etcd(options(&etcd)).await.unwrap();
    near.put_session(Session::running("s", 0)).await.unwrap();
    until_workers(&far, "s", 0).await;
    let mut changes = far.changes();

    cable.cut().await;
    until_lost(&far).await;
    for workers in 1..=5 {
        near.change("s", Change::workers(By::Api, workers)).await.unwrap();
    }
    cable.mend().await;
    for workers in 1..=5 {
        let changed = tokio::time::timeout(BOUND, changes.recv()).await.expect("in time").unwrap();
        assert_eq!(
            (changed.mark.from, changed.mark.to),
            (MarkValue::Workers(workers - 1), MarkValue::Workers(workers))
        );
    }
    until_workers(&far, "s", 5).await;
}

#[tokio::test]
async fn learns_the_state_and_the_last_change_when_etcd_has_compacted_the_others_away() {
    let etcd = Etcd::start().await.unwrap();
    let mut cable = Cable::to(etcd.address()).await;
    let far = Board::etcd(cable.options()).await.unwrap();
    let near = Board::etcd(options(&etcd)).await.unwrap();
    near.put_session(Session::running("s", 0)).await.unwrap();
    let gone = near.join(requester("gone")).await.unwrap();
    until_workers(&far, "s", 0).await;
    until(far.nodes(), |nodes| nodes.len() == 1).await;
    let mut changes = far.changes();

    cable.cut().await;
    until_lost(&far).await;
    gone.leave().await;
    let mut last = 0;
    for workers in 1..=5 {
        last = near.change("s", Change::workers(By::Api, workers)).await.unwrap().version;
    }
    etcd.compact(last).await.unwrap();
    cable.mend().await;
    let changed = tokio::time::timeout(BOUND, changes.recv()).await.expect("in time").unwrap();
    assert_eq!((changed.mark.from, changed.mark.to), (MarkValue::Workers(4), MarkValue::Workers(5)));
    until_workers(&far, "s", 5).await;
    until(far.nodes(), Vec::is_empty).await;

    // It then follows further changes.
    until_connected(&far).await;
    near.change("s", Change::workers(By::Page, 6)).await.unwrap();
    assert_eq!(
        tokio::time::timeout(BOUND, changes.recv()).await.expect("in time").unwrap().mark.to,
        MarkValue::Workers(6)
    );
}

#[tokio::test]
async fn a_node_cut_off_for_longer_than_its_lease_comes_back() {
    let etcd = Etcd::start().await.unwrap();
    let mut cable = Cable::to(etcd.address()).await;
    let far = Board::etcd(EtcdOptions { lease: Duration::from_secs(2), ..cable.options() }).await.unwrap();
    let near = Board::etcd(options(&etcd)).await.unwrap();
    let held = far.join(requester("far")).await.unwrap();
    until(near.nodes(), |nodes| nodes.len() == 1).await;
    cable.cut().await;
    until(near.nodes(), Vec::is_empty).await;
    cable.mend().await;
    until(near.nodes(), |nodes| nodes.len() == 1).await;
    held.leave().await;
    until(near.nodes(), Vec::is_empty).await;
}

#[tokio::test]
async fn the_state_of_an_etcd_that_lost_its_data_is_used() {
    let old = Etcd::start().await.unwrap();
    let mut cable = Cable::to(old.address()).await;
    let board = Board::etcd(cable.options()).await.unwrap();
    for workers in 0..9 {
        board.put_session(Session::running("old", workers)).await.unwrap();
    }
    let new = Etcd::start().await.unwrap();
    let other = Board::etcd(options(&new)).await.unwrap();
    other.put_session(Session::running("new", 7)).await.unwrap();

    cable.cut().await;
    cable.to = new.address();
    cable.mend().await;
    until_workers(&board, "new", 7).await;
    assert_eq!(*board.session("old").borrow(), None);
    other.change("new", Change::workers(By::Page, 8)).await.unwrap();
    until_workers(&board, "new", 8).await;
}

#[tokio::test]
async fn uses_whichever_of_several_endpoints_answers() {
    let etcd = Etcd::start().await.unwrap();
    let nobody = format!("http://{}", wec_testbed::free_address());
    let options = EtcdOptions::new([nobody, etcd.endpoint()]);
    let board = Board::etcd(options).await.unwrap();
    board.put_session(Session::running("s", 3)).await.unwrap();
    let other = Board::etcd(EtcdOptions::new([etcd.endpoint()])).await.unwrap();
    until_workers(&other, "s", 3).await;
    other.change("s", Change::workers(By::Page, 4)).await.unwrap();
    until_workers(&board, "s", 4).await;
}

#[tokio::test]
async fn names_the_endpoint_that_does_not_answer_and_the_remedy() {
    let nobody = wec_testbed::free_address();
    let error = Board::etcd(EtcdOptions::new([format!("http://{nobody}")])).await.unwrap_err().to_string();
    assert!(error.contains(&nobody.to_string()), "{error}");
    assert!(error.contains("refused"), "{error}");
    assert!(error.contains("start etcd there, or name the endpoint of a running one"), "{error}");
}

#[tokio::test]
async fn a_service_that_starts_while_etcd_is_restarted_waits_for_it() {
    let mut etcd = Etcd::start().await.unwrap();
    etcd.kill().unwrap();
    let url = BoardUrl::Etcd(options(&etcd));
    let (report, reported) = tokio::sync::oneshot::channel();
    let opening = url.clone().open_within(BOUND, |error| drop(report.send(error.to_string())));
    let restarting = async {
        let reason = reported.await.unwrap();
        etcd.restart().await.unwrap();
        reason
    };
    let (opened, reason) = tokio::join!(opening, restarting);
    opened.unwrap();
    assert!(reason.starts_with("no etcd answers"), "{reason}");
    etcd.kill().unwrap();
    let error = url.open_within(Duration::ZERO, |_| panic!("there is no time to wait")).await.unwrap_err();
    assert!(matches!(error, BoardError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn refuses_wrong_endpoints_with_the_reason() {
    for (endpoint, reason) in [
        ("127.0.0.1:2379", "does not begin with http://"),
        ("ftp://127.0.0.1:2379", "does not begin with http://"),
        ("http://", "is not an etcd endpoint"),
    ] {
        let error = Board::etcd(EtcdOptions::new([endpoint])).await.unwrap_err().to_string();
        assert!(error.contains(endpoint) && error.contains(reason), "{endpoint}: {error}");
    }
    let none = Board::etcd(EtcdOptions::new(Vec::<String>::new())).await.unwrap_err().to_string();
    assert!(none.contains("no endpoint is given"), "{none}");
}

#[tokio::test]
async fn two_prefixes_of_one_etcd_are_separate() {
    let etcd = Etcd::start().await.unwrap();
    let one = Board::etcd(EtcdOptions { prefix: "/one".into(), ..options(&etcd) }).await.unwrap();
    let other = Board::etcd(EtcdOptions { prefix: "/one/two".into(), ..options(&etcd) }).await.unwrap();
    one.put_session(Session::running("s", 1)).await.unwrap();
    other.put_session(Session::running("s", 2)).await.unwrap();
    let one = Board::etcd(EtcdOptions { prefix: "/one/".into(), ..options(&etcd) }).await.unwrap();
    until_workers(&one, "s", 1).await;
}
