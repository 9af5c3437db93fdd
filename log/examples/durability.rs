//! What it costs to bring records to the disk within a second: the same load with and without, twice each in turn.
//!
//! cargo run --profile dist -p wec-log --example durability [FOLDER]

#![expect(clippy::disallowed_methods, reason = "it measures itself, outside any runtime")]

#[path = "../tests/log/made.rs"]
mod made;

use std::path::Path;
use std::time::{Duration, Instant};

use wec_log::{Log, LogFormat, LogOptions};
use wec_record::RunHeader;

use self::made::chain;

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
        let records: Vec<_> = (seq..seq + 256).map(|seq| chain(seq, REQUESTS)).collect();
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
        let records: Vec<_> = (seq..seq + 1_000).map(|seq| chain(seq, REQUESTS)).collect();
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
