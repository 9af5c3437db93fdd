//! What it costs to bring records to the disk within a second: the same load with and without, twice each in turn.
//!
//! cargo run --profile dist -p wec-log --example durability [FOLDER]

#![expect(clippy::disallowed_methods, reason = "it measures itself, outside any runtime")]

use std::path::Path;
use std::time::{Duration, Instant};

use wec_log::{Log, LogFormat, LogOptions};
use wec_record::{ChainResult, Phases, Record, RequestResult, RunHeader};

const REQUESTS: u64 = 4;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = Path::new(&folder).join(format!("durability-{}", std::process::id()));
    println!("format       synced  load           requests/s  longest flush  fdatasync");
    for format in [LogFormat::Json, LogFormat::BinaryZstd] {
        for _ in 0..2 {
            for synced in [true, false] {
                full_speed(&folder, format, synced);
                steady(&folder, format, synced);
            }
        }
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn open(folder: &Path, format: LogFormat, synced: bool) -> Log {
    let header = RunHeader {
        version: 1,
        run: "run".to_owned(),
        session: "default".to_owned(),
        program: "wec".to_owned(),
        target: "http://ca.test".to_owned(),
        started_unix_ns: 1,
        stamp: wec_record::Stamp::default(),
    };
    let _ = std::fs::remove_dir_all(folder);
    let options = LogOptions { format, ..LogOptions::default() };
    let mut log = Log::open(&folder.join("log"), &header, &options, |_| {}).expect("a log");
    if !synced {
        log.leave_to_the_system();
    }
    log
}

/// As fast as one thread can.
fn full_speed(folder: &Path, format: LogFormat, synced: bool) {
    let mut log = open(folder, format, synced);
    let (mut longest, began) = (Duration::ZERO, Instant::now());
    let mut seq = 0;
    while began.elapsed() < Duration::from_secs(5) {
        let records: Vec<_> = (seq..seq + 256).map(chain).collect();
        seq += 256;
        log.take(&records);
        longest = longest.max(flush(&mut log));
    }
    print(&log, synced, "full speed", (seq * REQUESTS) as f64 / began.elapsed().as_secs_f64(), longest);
}

/// 20,000 requests a second, flushed five times a second.
fn steady(folder: &Path, format: LogFormat, synced: bool) {
    let mut log = open(folder, format, synced);
    let (mut longest, mut busy) = (Duration::ZERO, Duration::ZERO);
    let mut seq = 0;
    for _ in 0..25 {
        let began = Instant::now();
        let records: Vec<_> = (seq..seq + 1_000).map(chain).collect();
        seq += 1_000;
        log.take(&records);
        longest = longest.max(flush(&mut log));
        busy += began.elapsed();
        std::thread::sleep(Duration::from_millis(200).saturating_sub(began.elapsed()));
    }
    let load = format!("steady {:.1} %", 100.0 * busy.as_secs_f64() / 5.0);
    print(&log, synced, &load, (seq * REQUESTS) as f64 / 5.0, longest);
}

fn flush(log: &mut Log) -> Duration {
    let began = Instant::now();
    log.flush();
    began.elapsed()
}

fn print(log: &Log, synced: bool, load: &str, rate: f64, longest: Duration) {
    let name = log.format().to_string();
    println!("{name:<12} {synced:<7} {load:<14} {rate:>10.0} {longest:>14.1?} {:>10}", log.synchronised());
}

fn chain(seq: u64) -> Record {
    let started = 1_000_000 * seq;
    let mut done = started;
    let noise = |place: u64| seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(place as u32 * 7) % 10_000;
    let requests = (0..REQUESTS)
        .map(|place| {
            let (due, before) = (done + noise(place), done);
            let sent = due + 30_000 + noise(place + 3);
            done = due + 7_000_000 + 100 * noise(place + 5);
            RequestResult {
                uri: "/order/{id}".into(),
                took: done - due,
                successful: true,
                endpoint: "order".into(),
                method: "POST".into(),
                status: 200,
                bytes_sent: 521,
                bytes_received: 318,
                due,
                sent,
                done,
                reused: true,
                address: "127.0.0.1:39931".into(),
                nonce_age: sent - before,
                phases: Phases { first_byte: done - sent - 3_000, ..Phases::default() },
                ..RequestResult::default()
            }
        })
        .collect();
    let result = ChainResult {
        seq,
        successful: true,
        took: done - started,
        due: started,
        started,
        done,
        requests,
        ..ChainResult::default()
    };
    Record::Chain { node: "r1".to_owned(), origin_unix_ns: 1, result }
}
