//! CPU time of an issuance, beside the floor: `cargo bench -p wec-acme --features bench --bench floor`.

#![allow(missing_docs, reason = "a program without a library")]

use wec_acme::bench::{CannedServer, Cost};

#[expect(clippy::print_stdout, reason = "its output is a table for people")]
fn main() {
    // The least of the rounds is shown, because other load on the machine only adds time. Without --bench, as in
    // cargo test, it only shows that the benchmark runs.
    let measured = std::env::args().any(|arg| arg == "--bench");
    let (rounds, share) = if measured { (5, 1) } else { (1, 50) };
    let server = CannedServer::start().expect("a loopback port");
    println!(
        "client CPU, µs an issuance (7 signed POSTs over TLS 1.3, one P-256 key and CSR); least of {rounds} rounds"
    );
    println!("{:>7} {:>9} {:>9} {:>10} {:>14}", "workers", "floor", "client", "overhead", "issuances/s");
    for (workers, issuances) in [(1, 1_000), (32, 3_000), (256, 3_000)] {
        let issuances = issuances / share;
        // In turn, so that changes of the machine's load affect both.
        let rounds: Vec<(Cost, Cost)> = (0..rounds)
            .map(|_| (server.floor(workers, issuances), server.client(workers, issuances)))
            .collect();
        let least = |cost: fn(&(Cost, Cost)) -> u64| rounds.iter().map(cost).min().unwrap_or(0);
        let (floor, client) = (least(|round| round.0.cpu_ns), least(|round| round.1.cpu_ns));
        let rate = 1e9 / least(|round| round.1.wall_ns).max(1) as f64;
        let micro = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        println!(
            "{workers:>7} {:>9.1} {:>9.1} {:>9.1}% {rate:>14.0}",
            micro(floor),
            micro(client),
            (micro(client) / micro(floor) - 1.0) * 100.0,
        );
    }
}
