//! The board's time, and how far a node's clock is ahead of it. A board has no clock that nodes could read, so the
//! first live member of a session is its reference.
//!
//! A node writes what time it has; the reference writes when it saw that and when it answered, and the node
//! reads the answer:
//!
//! | | clock | |
//! | --- | --- | --- |
//! | asked | the node's | before its write |
//! | received, answered | the reference's | after the watch, before its write |
//! | read | the node's | after the watch |
//!
//! As in NTP the node is ahead by ((asked − received) + (read − answered)) / 2. It cannot be wrong by more than half of
//! the round trip (read − asked) − (answered − received), because the time of each direction is at least zero. Of the
//! last measurements the one with the shortest round trip counts.
//!
//! When the reference leaves, the next member takes its place at once with its own measured offset, so the board's
//! time goes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use wec_clock::Clock;

use crate::answers::{Answers, Asked};
use crate::keys;
use crate::kv::{KeyEvent, Pair, Watcher, Write};
use crate::{Board, BoardError, ClockOffset, Connection, Entry, Membership, NodeInfo, SendRight, Session};

/// Interval of measurements.
const EVERY: Duration = Duration::from_secs(10);
/// Interval of the first few.
const SOON: Duration = Duration::from_millis(200);
/// Number of measurements that are compared.
const COMPARED: usize = 8;
/// Longest wait for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// The reference answers what was asked within this time by one write.
const GATHER: Duration = Duration::from_millis(20);
/// How long an answer stays on the board.
const KEPT: Duration = Duration::from_secs(5);
/// A clock that is off by more is warned about.
const WARNED: u64 = 100_000_000;
/// A change of the offset by less is not written.
const SHOWN: u64 = 1_000_000;

/// Measures a node's clock, and answers others, until it is dropped.
#[derive(Debug)]
pub struct ClockKeeper {
    offset: watch::Receiver<Option<ClockOffset>>,
    _task: AbortOnDropHandle<()>,
}

impl ClockKeeper {
    /// The offset of the clock that was given, now and after each measurement; none before the first.
    pub fn offset(&self) -> watch::Receiver<Option<ClockOffset>> {
        self.offset.clone()
    }
}

impl Board {
    /// Measures how far this clock of a member of a session is ahead of the board's time, and shows that in its
    /// entry.
    pub fn keep_clock(&self, session: &str, member: &Membership, clock: Clock) -> ClockKeeper {
        let (tell, offset) = watch::channel(None);
        let (entry, right, node) = (member.entry(), member.right(), member.node().id);
        let (board, session) = (self.clone(), Some(session.to_owned()));
        let keeper = Keeper { board, session, node, entry, right, clock, tell };
        ClockKeeper { offset, _task: AbortOnDropHandle::new(tokio::spawn(keeper.keep())) }
    }

    /// The same for a node that serves all sessions: the board's time is that of the first session, by id, that has
    /// live nodes.
    pub fn keep_clock_of_all(&self, member: &Membership, clock: Clock) -> ClockKeeper {
        let (tell, offset) = watch::channel(None);
        let (entry, right, node) = (member.entry(), member.right(), member.node().id);
        let keeper = Keeper { board: self.clone(), session: None, node, entry, right, clock, tell };
        ClockKeeper { offset, _task: AbortOnDropHandle::new(tokio::spawn(keeper.keep())) }
    }
}

struct Keeper {
    board: Board,
    /// Its session; none for a node that serves all.
    session: Option<String>,
    node: String,
    entry: Entry,
    right: SendRight,
    clock: Clock,
    tell: watch::Sender<Option<ClockOffset>>,
}

/// The last measurements of a node.
struct Measured {
    /// The session against which they were made.
    of: Option<String>,
    last: VecDeque<ClockOffset>,
    /// The number of the last question.
    round: u64,
    warned: bool,
}

impl Keeper {
    async fn keep(self) {
        let mut measured =
            Measured { of: None, last: VecDeque::new(), round: rand::random::<u32>().into(), warned: false };
        let reference = loop {
            let Some(session) = self.session_now() else {
                sleep(SOON).await;
                continue;
            };
            tokio::select! {
                biased;
                // At once: until the next reference answers, nodes that join do not know the time.
                () = self.becomes_reference(&session) => break session,
                () = self.measure_once(&session, &mut measured) => {}
            }
        };
        // The board's time goes on as this node knows it.
        let ahead_ns = self.tell.borrow().map_or(0, |offset| offset.ahead_ns);
        let own = self.tell.borrow().unwrap_or(ClockOffset { ahead_ns: 0, within_ns: 0 });
        self.show(own);
        if let Err(error) = self.answer(&reference, ahead_ns).await {
            tracing::warn!(%error, "this node cannot answer other nodes' questions for the time");
        }
    }

    /// Measures, shows the best of the last measurements, and waits until the next one is due.
    async fn measure_once(&self, session: &str, measured: &mut Measured) {
        let Measured { of, last, round, warned } = measured;
        if of.as_deref() != Some(session) {
            last.clear();
            *of = Some(session.to_owned());
        }
        *round += 1;
        match self.measure(session, *round).await {
            Ok(Some(offset)) => {
                last.push_back(offset);
                if last.len() > COMPARED {
                    last.pop_front();
                }
            }
            Ok(None) => tracing::debug!("no node has answered the question for the time"),
            Err(error) => tracing::debug!(%error, "cannot measure the board's time"),
        }
        let best = last.iter().min_by_key(|offset| offset.within_ns).copied();
        if let Some(best) = best {
            self.show(best);
            // An offset that may as well be none is not reported.
            let least = best.ahead_ns.unsigned_abs().saturating_sub(best.within_ns);
            if least > WARNED && !std::mem::replace(warned, true) {
                tracing::warn!(
                    "this machine's clock is {:.3} s {} the board's time (within {:.3} s): this is corrected for in \
                     the session; set the clock (NTP)",
                    best.ahead_ns.unsigned_abs() as f64 / 1e9,
                    if best.ahead_ns > 0 { "ahead of" } else { "behind" },
                    best.within_ns as f64 / 1e9
                );
            }
        }
        sleep(if last.len() < COMPARED / 2 { SOON } else { EVERY }).await;
    }

    fn show(&self, offset: ClockOffset) {
        let shown = self.tell.send_replace(Some(offset));
        // A write for each measurement would wake all nodes.
        if shown.is_none_or(|shown| shown.ahead_ns.abs_diff(offset.ahead_ns) > SHOWN) {
            self.entry.set_clock(offset);
        }
    }

    /// Waits until this node is the first live member of the session.
    async fn becomes_reference(&self, session: &str) {
        let (mut nodes, mut shown) = (self.board.nodes(), self.board.session(session));
        while !self.is_reference(session) {
            // Both senders are in the board.
            tokio::select! {
                _ = nodes.changed() => {}
                _ = shown.changed() => {}
            }
        }
    }

    fn is_reference(&self, session: &str) -> bool {
        let session = self.board.session(session);
        let session = session.borrow();
        let nodes = self.board.nodes();
        let nodes = nodes.borrow();
        session.as_ref().and_then(|session| reference(&session.value, &nodes)) == Some(&self.node)
    }

    /// Its session, or the first one with live nodes.
    fn session_now(&self) -> Option<String> {
        if self.session.is_some() {
            return self.session.clone();
        }
        let nodes = self.board.nodes().borrow().clone();
        let sessions = self.board.sessions();
        let lives = sessions.into_iter().find(|session| reference(&session.value, &nodes).is_some());
        lives.map(|session| session.value.spec.id)
    }

    /// Asks once. None without an answer.
    async fn measure(&self, session: &str, round: u64) -> Result<Option<ClockOffset>, BoardError> {
        let mut answers = self.board.answers();
        let asked = self.clock.unix_now_ns();
        let question = Write::put(keys::clock_of(session, &self.node), None, keys::json(&Asked { round }));
        let write = Write { lease: Some(self.right.standing().borrow().registration), ..question };
        self.board.write_clock(write).await?;
        let answered = answers.wait_for(|answers| {
            let of_session = answers.get(session);
            of_session.is_some_and(|answers| {
                answers.nodes.get(&self.node).is_some_and(|(known, _)| *known == round)
            })
        });
        let Ok(Ok(answers)) = timeout(ANSWERED_WITHIN, answered).await else { return Ok(None) };
        let read = self.clock.unix_now_ns();
        let answers = &answers[session];
        Ok(Some(offset(asked, answers.nodes[&self.node].1, answers.answered_unix_ns, read)))
    }

    /// Answers others in the board's time, which this node's clock is ahead of by so much.
    async fn answer(&self, session: &str, ahead_ns: i64) -> Result<(), BoardError> {
        let (tell, mut asked) = mpsc::channel(1_024);
        let board_now = {
            let clock = self.clock;
            move || clock.unix_now_ns().saturating_add_signed(-ahead_ns)
        };
        let questions = Questions { prefix: keys::clocks_of(session), tell: Mutex::new(tell) };
        self.board.watch_clocks(Arc::new(questions)).await?;
        let mut known: BTreeMap<String, (u64, u64, Instant)> = BTreeMap::new();
        while let Some(question) = asked.recv().await {
            let mut note = |(node, round): (String, u64)| {
                known.insert(node, (round, board_now(), Instant::now()));
            };
            note(question);
            let _ = timeout(GATHER, async {
                while let Some(question) = asked.recv().await {
                    note(question);
                }
            })
            .await;
            known.retain(|_, (.., since)| since.elapsed() < KEPT);
            let nodes = known.iter().map(|(node, (round, at, _))| (node.clone(), (*round, *at))).collect();
            let answers = Answers { answered_unix_ns: board_now(), nodes };
            let write = Write::put(keys::answers(session), None, keys::json(&answers));
            if let Err(error) = self.board.write_clock(write).await {
                tracing::debug!(%error, "cannot answer the question for the time");
            }
        }
        Ok(())
    }
}

/// The node whose clock is the board's time: the first live member of the session.
fn reference<'a>(session: &'a Session, nodes: &[NodeInfo]) -> Option<&'a String> {
    session.status.members.iter().find(|member| nodes.iter().any(|node| node.id == **member))
}

/// How far the node that asked is ahead.
fn offset(asked: u64, received: u64, answered: u64, read: u64) -> ClockOffset {
    let [asked, received, answered, read] = [asked, received, answered, read].map(i128::from);
    let ahead = ((asked - received) + (read - answered)) / 2;
    let within = ((read - asked) - (answered - received)).max(0) / 2;
    ClockOffset {
        ahead_ns: i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX }),
        within_ns: u64::try_from(within).unwrap_or(u64::MAX),
    }
}

/// Passes questions on as they arrive.
#[derive(Debug)]
struct Questions {
    prefix: String,
    tell: Mutex<mpsc::Sender<(String, u64)>>,
}

impl Questions {
    fn pass(&self, pair: &Pair) {
        let Some(node) = pair.key.strip_prefix(&self.prefix) else { return };
        if let Some(Asked { round }) = keys::parse::<Asked>(pair).map(|asked| asked.value) {
            // Who gets no answer asks again.
            let _ =
                self.tell.lock().unwrap_or_else(PoisonError::into_inner).try_send((node.to_owned(), round));
        }
    }
}

impl Watcher for Questions {
    fn show_all(&self, pairs: &[Pair], _missed: Option<u64>) {
        pairs.iter().for_each(|pair| self.pass(pair));
    }

    fn show(&self, events: &[KeyEvent]) {
        for event in events {
            if let KeyEvent::Put(pair) = event {
                self.pass(pair);
            }
        }
    }

    fn set_connection(&self, _connection: Connection) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_within_half_of_the_round_trip() {
        const MS: u64 = 1_000_000;
        // The node is 500 ms ahead; 4 ms to the reference, 30 ms there, 2 ms back.
        let found = offset(10_500 * MS, 10_004 * MS, 10_034 * MS, 10_536 * MS);
        assert_eq!(found, ClockOffset { ahead_ns: 499_000_000, within_ns: 3_000_000 });
        assert!((500_000_000 - found.ahead_ns).unsigned_abs() <= found.within_ns);
        // An hour behind, with the same times there and back: exact.
        let behind = offset(1_000 * MS, 3_601_001 * MS, 3_601_001 * MS, 1_002 * MS);
        assert_eq!(behind, ClockOffset { ahead_ns: -3_600_000_000_000, within_ns: 1_000_000 });
    }
}
