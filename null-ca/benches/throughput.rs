//! Requests that one CPU-second of the CA answers over TLS keep-alive, so that a benchmark of a client shows
//! whether the CA was the limit. CPU is that of the serving threads alone, as Linux accounts for it; the
//! client's threads share the process and are not counted.
//!
//! `cargo bench -p wec-null-ca`; without `--bench` (as under `cargo test`) a smoke run.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/null_ca/client/mod.rs"]
mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use client::{Client, finalization, new_order};
use http::Method;
use rcgen::KeyPair;
use tokio::task::JoinSet;
use wec_null_ca::{Config, NullCa};

/// Connections, each with one request under way.
const CONNECTIONS: u64 = 32;

#[derive(Clone, Copy)]
enum Load {
    NewNonce,
    /// POST-as-GET of an order: signature, nonce and a small answer.
    ReadOrder,
    NewOrder,
    /// The seven signed requests of an issuance.
    Issuance,
}

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 20_000 } else { 64 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:<44}{:>10}{:>14}{:>16}",
        "over TLS 1.3, 32 connections", "requests", "CPU µs each", "per CPU-second"
    );
    for (name, load, verify_signatures, requests) in [
        ("newNonce HEAD", Load::NewNonce, true, rounds),
        ("order POST-as-GET, verification off", Load::ReadOrder, false, rounds),
        ("order POST-as-GET, verification on", Load::ReadOrder, true, rounds),
        ("newOrder, verification off", Load::NewOrder, false, rounds),
        ("issuance of 7 POSTs, verification off", Load::Issuance, false, rounds / 8),
        ("issuance of 7 POSTs, verification on", Load::Issuance, true, rounds / 8),
    ] {
        let (done, cpu_ns) = runtime.block_on(measure(load, verify_signatures, requests));
        let each = cpu_ns as f64 / done as f64 / 1e3;
        println!("{name:<44}{done:>10}{each:>14.1}{:>16.0}", 1e6 / each);
    }
}

/// How many were done, and the nanoseconds of CPU that the CA took for them.
async fn measure(load: Load, verify_signatures: bool, requests: u64) -> (u64, u64) {
    let ca = NullCa::start(Config { verify_signatures, ..Config::default() }).unwrap();
    let key = Arc::new(KeyPair::generate().unwrap());
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::register(&ca).await;
        let order = client.order(&["a.bench.test"]).await.0;
        clients.push((client, order));
    }
    let remaining = Arc::new(AtomicU64::new(requests));
    let before = cpu_of_ca();
    let mut running = JoinSet::new();
    for (mut client, order) in clients {
        let (remaining, key) = (remaining.clone(), key.clone());
        running.spawn(async move {
            let take = |left: u64| left.checked_sub(1);
            while remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                run_once(load, &mut client, &order, &key).await;
            }
        });
    }
    running.join_all().await;
    let cpu = cpu_of_ca() - before;
    ca.stop().await;
    (requests, cpu)
}

async fn run_once(load: Load, client: &mut Client, order: &str, key: &KeyPair) {
    let names = ["a.bench.test"];
    match load {
        Load::NewNonce => {
            client.send(Method::HEAD, "/new-nonce", None, String::new()).await.unwrap();
        }
        Load::ReadOrder => assert_eq!(client.post_as_get(order).await.status, 200),
        Load::NewOrder => {
            assert_eq!(client.post("/new-order", &new_order(&names)).await.status, 201);
        }
        Load::Issuance => {
            let (path, order) = client.order(&names).await;
            let finalize = client.path(&order["finalize"]);
            client.post(&finalize, &finalization(&names, key)).await;
            let order = client.post_as_get(&path).await.json();
            let certificate = client.path(&order["certificate"]);
            assert_eq!(client.post_as_get(&certificate).await.status, 200);
        }
    }
}

/// Nanoseconds of CPU that this process's serving threads have used.
fn cpu_of_ca() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux accounts for threads in /proc");
    let mut total = 0;
    for task in tasks {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap();
        if name.starts_with("null-ca-") {
            let schedstat = std::fs::read_to_string(task.join("schedstat")).unwrap();
            total += schedstat.split_whitespace().next().unwrap().parse::<u64>().unwrap();
        }
    }
    total
}
