//! CPU time of the state per issuance: `cargo bench -p wec-store --bench state`.
//!
//! An issuance is `add_order`, `claim_order` and `order_issued`, with everything that the writer task and SQLite's thread
//! do for it. The load is paced, because batches decide the cost: so many issuances in each flush interval.

#![allow(missing_docs, reason = "a program without a library")]

use std::time::Duration;

use wec_acme::{Account, AccountKey, Order, OrderStatus};
use wec_record::Identifier;
use wec_store::{NewCertificate, Object, State, StateOptions};

/// Repetitions; the smallest result counts, because other load on the machine only adds.
const ROUNDS: usize = 5;
/// Issuances a second, each for two seconds. The first is about what Boulder does on a laptop.
const RATES: [u32; 4] = [20, 200, 1000, 4000];

#[expect(clippy::print_stdout, reason = "its output is a table for people")]
fn main() {
    // `cargo test --benches` is only a smoke run.
    let bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, ticks) = if bench { (ROUNDS, 20) } else { (1, 2) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs no more than memory");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut urls = vec![format!("sqlite://{}", dir.path().join("state.db").display())];
    // Only on request, because only the client's part of its cost is ours.
    urls.extend(std::env::var("WEC_BENCH_STATE").ok());
    println!("CPU of this process, µs an issuance; least of {rounds} rounds");
    println!("{:>10} {:>14} {:>12} {:>18}", "", "issuances/s", "µs", "statements each");
    for url in urls {
        for rate in RATES {
            let cost = (0..rounds).map(|_| runtime.block_on(round(&url, rate / 10, ticks)));
            let (nanoseconds, statements) =
                cost.min_by_key(|(nanoseconds, _)| *nanoseconds).expect("at least one round");
            let issuances = f64::from(rate / 10 * ticks);
            println!(
                "{:>10} {rate:>14} {:>12.1} {:>18.3}",
                url.split(':').next().unwrap_or_default(),
                nanoseconds as f64 / 1e3 / issuances,
                statements as f64 / issuances
            );
        }
    }
}

/// CPU nanoseconds and statements of `each` issuances in each of `ticks` tenths of a second.
async fn round(url: &str, each: u32, ticks: u32) -> (u64, u64) {
    let state =
        State::open(url, "https://ca.test/directory", StateOptions::default()).await.expect("a database");
    let key = AccountKey::generate().expect("a key");
    let account = Account { url: "https://ca.test/account/1".into(), key };
    let reservation = state.reserve(Object::Registration).expect("no limit");
    state.add_registration(reservation, &account, &[]).await;
    let registration = state.registration().expect("just added");
    // Chains make these anyway, so they are not the state's cost.
    let mut made: Vec<_> = (0..each * ticks).map(|number| issuance(&state, number)).collect();
    state.flush().await.expect("a database that works");

    let (cpu, statements) = (cpu_ns(), state.health().statements);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..ticks {
        tick.tick().await;
        for _ in 0..each {
            let (order, new) = made.pop().expect("as many as are made");
            let free = |kind| state.reserve(kind).expect("no limit");
            state.add_order(free(Object::Order), &registration, &order, "", None).await;
            let claim = state.claim_order().expect("just added");
            state.order_issued(claim, free(Object::Certificate), new).await;
        }
    }
    state.flush().await.expect("a database that works");
    let cost = (cpu_ns() - cpu, state.health().statements - statements);
    state.close().await.expect("a database that works");
    cost
}

/// Sizes as Boulder's: URLs of its forms, a P-256 leaf, and one issuer's chain for all.
fn issuance(state: &State, number: u32) -> (Order, NewCertificate) {
    let name = state.unique_name("wec.test");
    let url = format!("https://boulder.test/acme/order/123456/{number}");
    let order = Order {
        status: OrderStatus::Ready,
        identifiers: vec![Identifier::of(&name)],
        authorizations: vec![format!("https://boulder.test/acme/authz/123456/{number}")],
        finalize: format!("https://boulder.test/acme/finalize/123456/{number}"),
        certificate: None,
        expires: Some("2099-01-01T00:00:00Z".into()),
        not_after: None,
        replaces: None,
        error: None,
        retry_after: None,
        url,
    };
    let serial = format!("03{:016x}{number:016x}", state.owner());
    let block =
        |line: &str| format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", line.repeat(20));
    let line = format!("{}\n", "A".repeat(64));
    let new = NewCertificate {
        url: "https://ca.test/certificate/1".into(),
        issuer: "0123456789abcdef".into(),
        ari_id: format!("x6zQnV5LB1h0K9hfeEmN5gvl5fM.{serial}"),
        serial,
        names: vec![name],
        leaf_der: vec![0x30; 960],
        pem: (block(&line) + &block(&line)).into_bytes(),
        key_pkcs8: vec![0x30; 138],
        not_before_unix: 1_700_000_000,
        not_after_unix: 4_000_000_000,
    };
    (order, new)
}

/// What all threads have used, by the kernel's account (proc(5), `schedstat`).
fn cpu_ns() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(of_thread).sum()
}
