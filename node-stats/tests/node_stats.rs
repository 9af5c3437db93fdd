//! Node statistics over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use wec_board::{Board, NodeId, NodeInfo, NodeKind, NodeState};
use wec_node_stats::{
    Client, Config, LoadOptions, Mode, Reply, Sampler, Scope, Server, ServerOptions, check,
};
use wec_testbed::free_address;

/// Far more than anything here takes.
const BOUND: Duration = Duration::from_secs(60);

async fn server_at(address: SocketAddr, mode: Mode) -> Server {
    Server::start(ServerOptions { listen: address, advertised: None, tls: None }, mode, Sampler::start())
        .await
        .unwrap()
}

async fn server(mode: Mode) -> Server {
    server_at("127.0.0.1:0".parse().unwrap(), mode).await
}

fn config(nodes: &[String], mode: Mode) -> Config {
    Config { nodes: nodes.to_vec(), mode }
}

/// Asks until the reply is as wanted.
async fn until(client: &mut Client, wanted: impl Fn(&Reply) -> bool) -> Reply {
    let asking = async {
        loop {
            let reply = client.ask(Scope::AllNodes).await.unwrap();
            if wanted(&reply) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, asking).await.expect("in time")
}

async fn socket(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(format!("ws://{address}/any/path"), stream).await.unwrap().0
}

async fn said(socket: &mut WebSocketStream<TcpStream>) -> String {
    let message = tokio::time::timeout(BOUND, socket.next()).await.expect("in time");
    message.unwrap().unwrap().into_text().unwrap().to_string()
}

/// A raw HTTP exchange; the status.
async fn status(address: SocketAddr, head: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(BOUND, stream.read_to_string(&mut answer)).await.expect("in time").unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_node_that_is_down_stays_in_the_list_until_it_is_back() {
    for mode in [Mode::Pull, Mode::Push] {
        let (one, away) = (server(mode).await, free_address());
        let nodes = [one.advertised().to_owned(), away.to_string()];
        one.list(&config(&nodes, mode));
        let mut client = Client::connect(one.advertised(), None).await.unwrap();
        let reply = client.ask(Scope::AllNodes).await.unwrap();
        let known: Vec<_> = reply.nodes.keys().cloned().collect();
        assert_eq!(known.len(), 2, "{mode:?}: {reply:?}");
        let down = &reply.nodes[&away.to_string()];
        assert!(down.error.contains("connect"), "{mode:?}: {down:?}");
        assert_eq!((down.cpu_used, down.memory_total, down.disk_total), (0.0, 0, 0));
        let own = &reply.nodes[one.advertised()];
        assert!(own.error.is_empty() && own.memory_total > 0, "{own:?}");

        let other = server_at(away, mode).await;
        // Discovery: it is tried again now.
        let mut discovery = socket(one.address()).await;
        discovery.send(Message::text(r#"{"type":0,"statType":0}"#)).await.unwrap();
        let up = |reply: &Reply| reply.nodes[&away.to_string()].error.is_empty();
        let reply = until(&mut client, up).await;
        assert_eq!(reply.nodes[&away.to_string()].memory_total, own.memory_total, "the same machine");
        other.finish().await;
        let reply = until(&mut client, |reply| !up(reply)).await;
        assert_eq!(reply.nodes[&away.to_string()].memory_total, 0, "{mode:?}");
        one.finish().await;
    }
}

#[tokio::test]
async fn errors_are_answered_and_the_connection_stays() {
    let one = server(Mode::Pull).await;
    let mut socket = socket(one.address()).await;
    for (message, why) in [
        ("{\"type\":", "not JSON"),
        (r#"{"type":9,"statType":0}"#, "unknown type 9"),
        (r#"{"type":2,"statType":4}"#, "unknown statType 4"),
    ] {
        socket.send(Message::text(message)).await.unwrap();
        let reply: Value = serde_json::from_str(&said(&mut socket).await).unwrap();
        assert!(reply["error"].as_str().unwrap().contains(why), "{reply}");
        assert_eq!((&reply["host"], &reply["nodes"]), (&one.advertised().into(), &serde_json::json!({})));
    }
    socket.send(Message::binary(&br#"{"type":1,"statType":0}"#[..])).await.unwrap();
    let reply: Reply = serde_json::from_str(&said(&mut socket).await).unwrap();
    assert_eq!((reply.nodes.len(), reply.error.as_str()), (1, ""));
    // A message that is longer than any request ends the connection.
    socket.send(Message::text("x".repeat(100_000))).await.unwrap();
    let ended = tokio::time::timeout(BOUND, async {
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.is_close(), "{message:?}");
        }
    });
    ended.await.expect("in time");
}

#[tokio::test]
async fn other_requests_than_upgrades_are_refused() {
    let one = server(Mode::Pull).await;
    let address = one.address();
    for (head, expected) in [("GET /", 400), ("GET /demo", 200), ("POST /", 405), ("DELETE /demo", 405)] {
        assert_eq!(status(address, head).await, expected, "{head}");
    }
}

#[tokio::test]
async fn a_subscription_sends_at_once_and_again_until_it_ends() {
    let one = server(Mode::Pull).await;
    let mut socket = socket(one.address()).await;
    socket.send(Message::text(r#"{"type":2,"statType":0,"every":0.1}"#)).await.unwrap();
    for _ in 0..5 {
        let reply: Reply = serde_json::from_str(&said(&mut socket).await).unwrap();
        assert_eq!(reply.nodes.len(), 1);
    }
    socket.send(Message::text(r#"{"type":2,"statType":0,"every":0}"#)).await.unwrap();
    socket.send(Message::text(r#"{"type":7}"#)).await.unwrap();
    // What was sent before the end arrives first; the answer to the last request is the last message.
    while !said(&mut socket).await.contains("unknown type 7") {}
    // Meanwhile another connection gets several messages.
    let mut other = self::socket(one.address()).await;
    other.send(Message::text(r#"{"type":2,"statType":0,"every":0.1}"#)).await.unwrap();
    for _ in 0..5 {
        said(&mut other).await;
    }
    socket.send(Message::text(r#"{"type":8}"#)).await.unwrap();
    let next = said(&mut socket).await;
    assert!(next.contains("unknown type 8"), "{next}");
    // A first interval of an hour: only the message at once.
    socket.send(Message::text(r#"{"type":1,"statType":0,"every":3600}"#)).await.unwrap();
    assert!(said(&mut socket).await.contains(one.advertised()));
}

#[tokio::test]
async fn a_slow_client_gets_the_latest_only() {
    const TICKS: usize = 30;
    let one = server(Mode::Pull).await;
    // Long replies: many nodes that are down.
    let nodes: Vec<_> = (1..=150).map(|number| format!("127.1.1.{number}:9")).collect();
    one.list(&config(&nodes, Mode::Pull));
    let slow = TcpSocket::new_v4().unwrap();
    slow.set_recv_buffer_size(4096).unwrap();
    let stream = slow.connect(one.address()).await.unwrap();
    let (mut slow, _) = client_async(format!("ws://{}/", one.address()), stream).await.unwrap();
    let mut fast = socket(one.address()).await;
    let subscription = r#"{"type":2,"statType":0,"every":0.1}"#;
    slow.send(Message::text(subscription)).await.unwrap();
    fast.send(Message::text(subscription)).await.unwrap();
    for _ in 0..TICKS {
        let reply: Reply = serde_json::from_str(&said(&mut fast).await).unwrap();
        assert_eq!(reply.nodes.len(), nodes.len() + 1);
    }
    slow.send(Message::text(r#"{"type":2,"statType":0,"every":0}"#)).await.unwrap();
    slow.send(Message::text(r#"{"type":7}"#)).await.unwrap();
    let mut replies = 0;
    while !said(&mut slow).await.contains("unknown type 7") {
        replies += 1;
    }
    assert!(
        (1..TICKS / 2).contains(&replies),
        "{replies} of {TICKS} replies waited for a client that did not read"
    );
}

#[tokio::test]
async fn nodes_come_from_the_board() {
    let board = Board::local();
    let (one, other) = (server(Mode::Pull).await, server(Mode::Pull).await);
    let join = async |server: &Server| {
        let address = server.advertised().to_owned();
        let node = NodeId { stats: Some(address), ..NodeId::new("test") };
        server.follow(&board);
        board.join(NodeInfo::new(&node, NodeKind::Requester, NodeState::Running)).await.unwrap()
    };
    let (_one, of_other) = (join(&one).await, join(&other).await);
    let mut client = Client::connect(one.advertised(), None).await.unwrap();
    let both =
        |reply: &Reply| reply.nodes.len() == 2 && reply.nodes.values().all(|node| node.error.is_empty());
    until(&mut client, both).await;
    of_other.leave().await;
    let reply = until(&mut client, |reply| !both(reply)).await;
    let gone = &reply.nodes[other.advertised()];
    assert!(gone.error.contains("left the board") && gone.memory_total == 0, "{gone:?}");
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered_by_all_nodes() {
    for mode in [Mode::Pull, Mode::Push] {
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(server(mode).await);
        }
        let nodes: Vec<_> = servers.iter().map(|server| server.advertised().to_owned()).collect();
        servers.iter().for_each(|server| server.list(&config(&nodes, mode)));
        let mut client = Client::connect(&nodes[1], None).await.unwrap();
        until(&mut client, |reply| reply.nodes.values().all(|node| node.error.is_empty())).await;
        let load = LoadOptions {
            address: nodes[1].clone(),
            concurrent: 20,
            number: 200,
            within: None,
            nodes: Some(3),
            tls: None,
        };
        let checked = check(load.clone()).await.unwrap();
        assert!(checked.is_good() && checked.responses == 200, "{mode:?}: {checked:?}");
        let wrong = check(LoadOptions { nodes: Some(4), ..load }).await.unwrap();
        assert_eq!((wrong.invalid, wrong.missing, wrong.failed), (200, 0, 0), "{mode:?}: {wrong:?}");
    }
}
