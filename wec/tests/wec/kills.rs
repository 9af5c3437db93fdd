//! Requesters and analytics are killed at random moments: each result is in the logs once, and results that are in no
//! log were still in the memory of a killed requester.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use wec_record::Record;

use crate::common::{self, NullCa, ONLY_REGISTRATIONS, Running};

/// The number of kills; `make soak` sets a hundred.
const KILLS: &str = "WEC_KILLS";
/// Repeats a campaign; without it the seed is random, and printed.
const SEED: &str = "WEC_KILLS_SEED";
/// Workers of a requester.
const WORKERS: u64 = 4;
/// Registrations started in a second.
const RATE: u64 = 80;
/// Results that a killed requester loses on average, at most: one per worker in flight, and a quarter of a second of
/// results in memory. It sends them within 50 ms; the rest is for a busy machine.
const LOST: u64 = WORKERS + RATE / 4;

/// The exit code of a run that a signal ended.
const INTERRUPTED: i32 = 105;

/// A requester with a CA of its own, so that the CA's counts are the requester's.
struct Life {
    name: String,
    ca: NullCa,
    requester: Running,
}

impl Life {
    fn start(folder: &Path, number: usize, results: &str) -> Self {
        let name = format!("r{number}");
        let own = folder.join(&name);
        std::fs::create_dir(&own).unwrap();
        let ca = NullCa::start(&own, &[]);
        let (workers, rate) = (WORKERS.to_string(), format!("{RATE}/s"));
        let spool = folder.join("spool").display().to_string();
        let mut args = vec!["requester", "--node", &name, "--analytics", results, "--spool", &spool];
        args.extend(["--http01-listen", "127.0.0.1:0", "--weight", &ONLY_REGISTRATIONS]);
        args.extend(["--rate", &rate, "--workers", &workers, "--run-time", "1h"]);
        args.extend(ca.target());
        let said = std::fs::File::create(own.join("said")).unwrap();
        let child = common::wec(&own, &args).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        Self { name, ca, requester: Running(Some(child)) }
    }

    /// Ends the CA; returns the requester's name and the accounts that the CA made for it.
    fn counted(self) -> (String, u64) {
        let counts = self.ca.stop();
        (self.name, counts["accounts"].as_u64().unwrap())
    }
}

fn analytics(folder: &Path, grpc: &str) -> Running {
    let args = ["analytics", "--listen", "127.0.0.1:0", "--grpc-listen", grpc];
    let said = std::fs::File::options().create(true).append(true).open(folder.join("said")).unwrap();
    let mut child = common::wec(folder, &args).stdout(Stdio::piped()).stderr(said).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    Running(Some(child))
}

/// The numbers of the chain results in the logs, by the requester's name, as often as they are in the files.
fn logged(folder: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut nodes = BTreeMap::<_, Vec<u64>>::new();
    for record in common::log_so_far(&folder.join("results")) {
        if let Record::Chain { node, result, .. } = record {
            // A sender's id is the name and a random part.
            let name = node.split('-').next().unwrap();
            nodes.entry(name.to_owned()).or_default().push(result.seq);
        }
    }
    nodes
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "no runtime waits here; the moment of a kill is random on purpose"
)]
fn killed_at_random_each_result_is_logged_once_and_only_what_was_in_flight_is_missing() {
    let kills: u64 = setting(KILLS).unwrap_or(4);
    let seed: u64 = setting(SEED).unwrap_or_else(rand::random);
    println!("{SEED}={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);

    let folder = tempfile::tempdir().unwrap();
    let folder: PathBuf = folder.path().to_owned();
    let grpc = common::free();
    let results = format!("http://{grpc}");
    let mut service = analytics(&folder, &grpc);
    let mut lives = 0;
    let mut life = Life::start(&folder, lives, &results);
    let mut known = Vec::new();
    let mut killed = 0;
    for _ in 0..kills {
        let name = life.name.clone();
        common::until("the requester works", || logged(&folder).contains_key(&name));
        std::thread::sleep(Duration::from_millis(random.random_range(0..1_000)));
        let victims = random.random_range(0..3);
        if victims != 0 {
            drop(std::mem::replace(&mut service, Running(None)));
        }
        if victims != 1 {
            killed += 1;
            drop(std::mem::replace(&mut life.requester, Running(None)));
            lives += 1;
            let next = Life::start(&folder, lives, &results);
            known.push(std::mem::replace(&mut life, next).counted());
        }
        if victims != 0 {
            service = analytics(&folder, &grpc);
        }
    }
    let name = life.name.clone();
    common::until("the last requester works", || logged(&folder).contains_key(&name));
    // It ends only when its results are delivered, and with them what the killed ones left.
    let ended = std::mem::replace(&mut life.requester, Running(None)).interrupt();
    let said = std::fs::read_to_string(folder.join(&name).join("said")).unwrap();
    assert_eq!(ended.status.code(), Some(INTERRUPTED), "{said}");
    let last = life.counted();
    let since = Instant::now();
    let spool = folder.join("spool");
    common::until("the spool is empty", || std::fs::read_dir(&spool).is_ok_and(|left| left.count() == 0));
    println!("the spool was empty {:?} after the end", since.elapsed());
    drop(service);

    let logs = logged(&folder);
    let mut lost = 0;
    for (name, made) in &known {
        let numbers = logs.get(name).map_or(&[][..], Vec::as_slice);
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "{name} logged twice");
        let logged = numbers.len() as u64;
        println!("{name}: the CA made {made} accounts, {logged} are logged");
        assert!(logged <= *made, "{name}: {logged} logged, and the CA made only {made}");
        lost += made - logged;
    }
    let (name, made) = last;
    println!("{name}: the CA made {made} accounts, and it was not killed");
    assert_eq!(logs[&name].len() as u64, made, "{name} was not killed");
    assert!(lost <= killed * LOST, "{killed} killed requesters lost {lost}; expected at most {LOST} each");
    println!("{killed} requesters were killed and lost {lost} results");
}
