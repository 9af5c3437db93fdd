//! The record of validation hits: the newest in a ring, all of them in one bounded stream.
//!
//! The reader of the stream decides what happens to them (sent to analytics, written to a log).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use wec_clock::{Clock, reading};
use wec_record::{ChallengeType, ValidationHit, Verdict};

/// How many hits [`Hits::recent`] keeps.
const RECENT: usize = 1024;

/// Every validation that arrived at one challenge server.
#[derive(Debug)]
pub struct Hits {
    clock: Clock,
    lost: Arc<AtomicU64>,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    recent: VecDeque<ValidationHit>,
    counts: HitCounts,
    stream: Option<mpsc::Sender<ValidationHit>>,
}

/// Number of hits by type and verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitCounts([[u64; Verdict::ALL.len()]; ChallengeType::ALL.len()]);

impl HitCounts {
    /// Hits of one type with one verdict.
    pub fn of(&self, challenge: ChallengeType, verdict: Verdict) -> u64 {
        self.0[challenge as usize][verdict as usize]
    }

    /// Hits of every type with this verdict.
    pub fn with(&self, verdict: Verdict) -> u64 {
        self.0.iter().map(|row| row[verdict as usize]).sum()
    }

    /// All hits.
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }
}

impl Hits {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, lost: Arc::default(), record: Mutex::default() }
    }

    /// Every hit from now on, in order. Up to `capacity` may be unread; further ones are dropped and counted.
    ///
    /// There is one stream: a second call ends the first.
    pub fn stream(&self, capacity: usize) -> HitStream {
        let (sender, receiver) = mpsc::channel(capacity);
        self.record().stream = Some(sender);
        HitStream { receiver, lost: Arc::clone(&self.lost) }
    }

    /// The newest hits, oldest first.
    pub fn recent(&self) -> Vec<ValidationHit> {
        self.record().recent.iter().cloned().collect()
    }

    /// Number of hits since the start.
    pub fn counts(&self) -> HitCounts {
        self.record().counts
    }

    /// Notes the arrival of a possible validation.
    pub(crate) fn arrival(&self, challenge: ChallengeType, source: SocketAddr) -> Arrival {
        Arrival { at: Instant::now(), challenge, source }
    }

    /// The wall clock, since the Unix epoch.
    pub(crate) fn unix_now(&self) -> Duration {
        Duration::from_nanos(self.clock.unix_ns(Instant::now()))
    }

    pub(crate) fn add(&self, arrival: Arrival, name: String, verdict: Verdict, answer: String) {
        let mut hit = ValidationHit {
            seq: 0,
            at_unix_ns: self.clock.unix_ns(arrival.at),
            challenge: arrival.challenge,
            name,
            source: arrival.source.to_string(),
            verdict,
            answer: shortened(answer),
            // 2^64 ns are 584 years.
            took: reading(u64::try_from(arrival.at.elapsed().as_nanos()).unwrap_or(u64::MAX)),
        };
        let mut record = self.record();
        record.counts.0[arrival.challenge as usize][verdict as usize] += 1;
        hit.seq = record.counts.total();
        if let Some(stream) = &record.stream
            && stream.try_send(hit.clone()).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        if record.recent.len() == RECENT {
            record.recent.pop_front();
        }
        record.recent.push_back(hit);
    }

    /// Ends the stream when nothing can arrive any more.
    pub(crate) fn close(&self) {
        self.record().stream = None;
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // A panic between two of its fields leaves at most one hit uncounted.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver of [`Hits::stream`].
#[derive(Debug)]
pub struct HitStream {
    receiver: mpsc::Receiver<ValidationHit>,
    lost: Arc<AtomicU64>,
}

impl HitStream {
    /// The next hit; none when the server has ended and all were read.
    pub async fn recv(&mut self) -> Option<ValidationHit> {
        self.receiver.recv().await
    }

    /// Appends up to `limit` hits to `hits` as soon as there is one; 0 means that the stream has ended.
    pub async fn recv_many(&mut self, hits: &mut Vec<ValidationHit>, limit: usize) -> usize {
        self.receiver.recv_many(hits, limit).await
    }

    /// Whether no further hit will come; some may be unread.
    pub fn has_ended(&self) -> bool {
        self.receiver.is_closed()
    }

    /// Number of hits dropped because nobody read them in time, since the last call.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// Time, type and source of a possible validation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    at: Instant,
    challenge: ChallengeType,
    source: SocketAddr,
}

impl Arrival {
    /// The same of another challenge type.
    pub(crate) const fn of(self, challenge: ChallengeType) -> Self {
        Self { challenge, ..self }
    }
}

/// Answers are shown to people: at most one line.
fn shortened(mut answer: String) -> String {
    const LONGEST: usize = 160;
    if answer.len() > LONGEST {
        answer.truncate(answer.floor_char_boundary(LONGEST));
        answer.push('…');
    }
    answer
}

/// The beginning of a value that was served. It distinguishes two values of a name; all of a random value would be most
/// of the log of a hit.
pub(crate) fn beginning(value: &str) -> String {
    const LENGTH: usize = 6;
    match value.char_indices().nth(LENGTH) {
        Some((end, _)) if value.len() > 2 * LENGTH => format!("{}…", &value[..end]),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(hits: &Hits, name: &str) {
        let arrival = hits.arrival(ChallengeType::Http01, "192.0.2.1:5000".parse().unwrap());
        hits.add(arrival, name.into(), Verdict::Answered, "x".repeat(500));
    }

    #[tokio::test]
    async fn numbers_hits_without_gaps_and_counts_what_the_stream_could_not_take() {
        let hits = Hits::new(Clock::start());
        let mut stream = hits.stream(2);
        for name in ["a", "b", "c", "d", "e"] {
            add(&hits, name);
        }
        let mut read = Vec::new();
        assert_eq!(stream.recv_many(&mut read, 10).await, 2);
        assert_eq!(stream.take_lost(), 3);
        assert_eq!(stream.take_lost(), 0, "counted once");
        add(&hits, "f");
        hits.close();
        assert_eq!(stream.recv().await.map(|hit| hit.seq), Some(6));
        assert_eq!(stream.recv().await, None, "ends with the server");
        assert_eq!(hits.recent().iter().map(|hit| hit.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(hits.counts().of(ChallengeType::Http01, Verdict::Answered), 6);
    }

    #[test]
    fn long_values_have_only_their_beginning() {
        for (value, shown) in
            [("", ""), ("abcdefghijkl", "abcdefghijkl"), ("abcdefghijklm", "abcdef…"), ("ééééééé", "éééééé…")]
        {
            assert_eq!(beginning(value), shown);
        }
    }

    #[tokio::test]
    async fn keeps_a_bounded_number_of_shortened_hits() {
        let hits = Hits::new(Clock::start());
        for _ in 0..RECENT + 5 {
            add(&hits, "a");
        }
        let recent = hits.recent();
        assert_eq!(recent.len(), RECENT);
        assert_eq!(recent[0].seq, 6);
        assert!(recent[0].answer.len() < 170);
        assert!(recent.windows(2).all(|pair| pair[0].at_unix_ns <= pair[1].at_unix_ns));
    }
}
