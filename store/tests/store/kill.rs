//! Processes that share a database and are killed: what they reported is stored, what they had claimed is released,
//! and nothing is claimed twice.
//!
//! The processes are this test binary, run again with the test [`a_process_under_load`] and a database in the
//! environment. They print each step before they do it (`!`) and after it is reported to the state (`=`).

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use wec_store::{Counts, Limits, Object, State, StateOptions};

use crate::common::{Database, authorize, certificate, over_both_backends, register};

over_both_backends!(
    what_was_reported_250_ms_before_a_kill_is_stored_and_claims_are_freed,
    hard_limits_hold_over_processes_that_are_killed,
);

const DATABASE: &str = "WEC_TEST_STATE";
const LIMIT: &str = "WEC_TEST_LIMIT";

fn options() -> StateOptions {
    let limit = std::env::var(LIMIT).ok().and_then(|limit| limit.parse().ok());
    let limits = Limits { authorizations: limit, ..Limits::default() };
    StateOptions {
        limits,
        claim_batch: 16,
        pool: 32,
        owner_lease: Duration::from_secs(2),
        ..Default::default()
    }
}

/// The code of the processes, not a test. It does nothing unless the environment requests it.
#[tokio::test]
async fn a_process_under_load() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    let state = State::open(&url, crate::common::CA, options()).await.unwrap();
    let say = |line: String| {
        // One write for each line: the parent stamps lines as they arrive.
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\n~{line}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let registration = register(&state).await;
    let mut flushes = 0;
    loop {
        if state.health().flushes > flushes {
            flushes = state.health().flushes;
            say(format!("= flush {flushes}"));
        }
        for _ in 0..3 {
            if let Some(reservation) = state.reserve(Object::Order) {
                let order = crate::common::order(&state.unique_name("wec.test"));
                say(format!("! order {}", order.url));
                state.add_order(reservation, &registration, &order, "", None).await;
                say(format!("= order {}", order.url));
            }
        }
        for _ in 0..2 {
            // There is none while this process is fenced, after the machine stalled it for most of a lease.
            let Some(reservation) = state.reserve(Object::Certificate) else { continue };
            let Some(order) = state.claim_order() else { continue };
            say(format!("= claim {} {}", order.url, order.suspect));
            let (url, new) = (order.url.clone(), certificate(&order.names));
            let serial = new.serial.clone();
            say(format!("! issue {url} {serial}"));
            state.order_issued(order, reservation, new).await;
            say(format!("= issue {url} {serial}"));
        }
        if let Some(certificate) = state.claim_certificate() {
            let serial = certificate.serial.clone();
            say(format!("= claim {serial} {}", certificate.suspect));
            say(format!("! revoke {serial}"));
            state.certificate_revoked(certificate, 0).await;
            say(format!("= revoke {serial}"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The lines of a process, and when each arrived.
type Said = Arc<Mutex<Vec<(Instant, String)>>>;

struct Process {
    child: Child,
    said: Said,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    fn start(database: &Database, limit: Option<u64>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "kill::a_process_under_load", "--nocapture", "--test-threads=1"])
            .env(DATABASE, &database.url)
            .stdout(Stdio::piped());
        if let Some(limit) = limit {
            command.env(LIMIT, limit.to_string());
        }
        let mut child = command.spawn().unwrap();
        let said = Said::default();
        let (lines, log) = (BufReader::new(child.stdout.take().unwrap()).lines(), said.clone());
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(line) = line.strip_prefix('~') {
                    log.lock().unwrap().push((Instant::now(), line.to_owned()));
                }
            }
        });
        Self { child, said, reader: Some(reader) }
    }

    async fn has_said(&self, lines: usize) {
        crate::common::until("the process works", async || self.said.lock().unwrap().len() >= lines).await;
    }

    /// Waits for flushes, which show how fast the database writes.
    async fn has_flushed(&self, times: usize) {
        let flushes = async || {
            let said = self.said.lock().unwrap();
            said.iter().filter(|(_, line)| line.starts_with("= flush")).count() >= times
        };
        crate::common::until("the process flushes", flushes).await;
    }

    /// Sends SIGKILL; returns the output and the time at which the process had ended.
    fn kill(&mut self) -> (Vec<(Instant, String)>, Instant) {
        let killed = Instant::now();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (std::mem::take(&mut self.said.lock().unwrap()), killed)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last step of an object that is certainly stored (reported early enough), and the last that may be (begun).
#[derive(Default)]
struct Fate {
    certain: HashSet<&'static str>,
    possible: HashSet<&'static str>,
}

async fn what_was_reported_250_ms_before_a_kill_is_stored_and_claims_are_freed(database: &Database) {
    let mut first = Process::start(database, None);
    let mut second = Process::start(database, None);
    first.has_said(2000).await;
    second.has_said(2000).await;
    first.has_flushed(3).await;
    let mut logs = vec![first.kill()];
    // The other process continues and takes over the claims.
    let lines = second.said.lock().unwrap().len();
    second.has_said(lines + 3000).await;
    second.has_flushed(3).await;
    logs.push(second.kill());

    let mut fates: HashMap<String, Fate> = HashMap::new();
    let mut claims: Vec<(Instant, String, bool)> = Vec::new();
    for (log, killed) in &logs {
        // A flush comes every 100 ms. A machine that stalls the process or the database delays it, so the longest
        // delays are subtracted.
        let longest = |times: Vec<Instant>| times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        let stall = longest(log.iter().map(|(when, _)| *when).chain([*killed]).collect());
        let flushes = log.iter().filter(|(_, line)| line.starts_with("= flush")).map(|(when, _)| *when);
        let slow = longest(flushes.chain([*killed]).collect()).saturating_sub(Duration::from_millis(100));
        let early = *killed - Duration::from_millis(250) - stall - slow;
        for (when, line) in log {
            let words: Vec<&str> = line.split(' ').collect();
            let reported = words[0] == "=" && *when < early;
            let mut note = |object: &str, what: &'static str| {
                let fate = fates.entry(object.to_owned()).or_default();
                fate.possible.insert(what);
                if reported {
                    fate.certain.insert(what);
                }
            };
            match words[1] {
                "order" => note(words[2], "order"),
                "issue" => {
                    note(words[2], "end");
                    note(words[3], "certificate");
                }
                "revoke" => note(words[2], "end"),
                "flush" => {}
                "claim" => claims.push((*when, words[2].to_owned(), words[3] == "true")),
                other => panic!("{other}"),
            }
        }
    }

    claims.sort_by_key(|claim| claim.0);
    let mut seen = HashSet::new();
    for (_, object, suspect) in &claims {
        assert!(seen.insert(object) || *suspect, "{object} was claimed twice and was not suspect");
    }

    let state = State::open(&database.url, crate::common::CA, options()).await.unwrap();
    let mut found = HashSet::new();
    crate::common::until("all that is stored was claimed", async || {
        while let Some(order) = state.claim_order() {
            assert!(found.insert(order.url.clone()), "{} is stored twice", order.url);
            state.order_failed(order, "seen").await;
        }
        while let Some(certificate) = state.claim_certificate() {
            assert!(found.insert(certificate.serial.clone()), "{} is stored twice", certificate.serial);
            state.certificate_gone(certificate, "seen").await;
        }
        let Counts { authorizations, certificates, .. } = state.counts();
        (authorizations, certificates) == (0, 0)
    })
    .await;
    let (mut usable, mut ended) = (0, 0);
    for (object, fate) in &fates {
        let made = fate.certain.contains("order") || fate.certain.contains("certificate");
        if made && !fate.possible.contains("end") {
            assert!(found.contains(object), "{object} was reported and is lost");
            usable += 1;
        }
        if fate.certain.contains("end") {
            assert!(!found.contains(object), "the end of {object} was reported and is lost");
            ended += 1;
        }
    }
    assert!(usable > 100 && ended > 100, "{usable} usable, {ended} ended");
    for object in &found {
        assert!(fates.contains_key(object), "{object} was never made");
    }
    state.close().await.unwrap();
}

async fn hard_limits_hold_over_processes_that_are_killed(database: &Database) {
    let mut processes = [Process::start(database, Some(400)), Process::start(database, Some(400))];
    for process in &mut processes {
        process.has_said(150).await;
        process.kill();
    }
    // Reservations that dead processes have not used are available again.
    let limits = Limits { authorizations: Some(400), ..Limits::default() };
    let state = database.open_with(StateOptions { limits, ..crate::common::patient() }).await;
    let registration = register(&state).await;
    crate::common::until("the limit is reached", async || {
        while state.available().may_authorize {
            authorize(&state, &registration).await;
        }
        state.flush().await.unwrap();
        database.authorizations_made().await >= 400
    })
    .await;
    assert_eq!(database.authorizations_made().await, 400);
    assert!(state.reserve(Object::Order).is_none());
    state.close().await.unwrap();
}
