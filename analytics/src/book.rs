//! A book: one run's log, its aggregate, and how far each sender's records are in them.
//!
//! The log is the truth: a book that is opened again reads it, and knows then what it knew before.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wec_board::Session;
use wec_proto::results as wire;
use wec_record::wire::{chain_from_wire, hit_from_wire, load_from_wire, state_from_wire};
use wec_record::{Record, RunHeader};

use crate::Aggregate;
use crate::log::{Log, LogError};

/// Processes that may ever send to one run.
const MAX_SENDERS: usize = 100_000;

pub(crate) struct Book {
    log: Log,
    aggregate: Arc<Mutex<Aggregate>>,
    /// Highest number of each sender that is in the log; what is at or below it came already.
    senders: HashMap<String, u64>,
    /// Acknowledgements that wait for the log, in order of its length.
    acks: VecDeque<PendingAck>,
    pub(crate) duplicates: u64,
    pub(crate) gaps: u64,
    /// Records that are in the figures but not in the log.
    pub(crate) failed: u64,
}

struct PendingAck {
    end: u64,
    through_seq: u64,
    to: Arc<Answer>,
}

/// Where a stream's acknowledgements go; only the latest matters.
pub(crate) type Answer = watch::Sender<Answered>;

/// What a stream has been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Nothing yet.
    #[default]
    Nothing,
    /// Everything up to this number is in the log.
    Through(u64),
    /// A batch was not taken; the stream is over.
    Refused(Refusal),
    /// The token was missing or wrong; the stream is over.
    Unauthenticated,
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Try again later.
    #[error("{0}")]
    NotNow(String),
    /// The sender is at fault; trying again would end the same.
    #[error("{0}")]
    Never(String),
}

impl Book {
    /// Opens the run's log at `path`, new or as an earlier process left it. `header` is written when it is new.
    pub(crate) fn open(path: &Path, header: &RunHeader) -> Result<Self, LogError> {
        let mut aggregate = Aggregate::default();
        let mut senders = HashMap::<String, u64>::new();
        let mut empty = true;
        let log = Log::open(path, |record| {
            empty = false;
            if let Some((sender, seq)) = record.origin() {
                match senders.get_mut(sender) {
                    Some(through) => *through = seq.max(*through),
                    None => drop(senders.insert(sender.to_owned(), seq)),
                }
            }
            aggregate.record(&record);
        })?;
        if !empty && aggregate.header().is_none_or(|found| found.run != header.run) {
            let found = aggregate.header().map(|found| found.run.clone()).unwrap_or_default();
            return Err(LogError::OtherRun { path: path.into(), found, wanted: header.run.clone() });
        }
        let mut book = Self {
            log,
            aggregate: Arc::new(Mutex::new(aggregate)),
            senders,
            acks: VecDeque::new(),
            duplicates: 0,
            gaps: 0,
            failed: 0,
        };
        if empty {
            book.accept(&Record::Header(header.clone()));
            book.log.flush();
        }
        Ok(book)
    }

    /// Logs and counts a record of this process.
    pub(crate) fn accept(&mut self, record: &Record) {
        self.failed += u64::from(!self.log.append(record));
        self.aggregate().record(record);
    }

    /// Logs and counts what is new in a batch; `answer` hears when it is in the log.
    pub(crate) fn accept_batch(&mut self, batch: wire::Batch, answer: Arc<Answer>) -> Result<(), Refusal> {
        if self.log.is_full() {
            return Err(Refusal::NotNow(self.log.error().unwrap_or("the log is behind").to_owned()));
        }
        let wire::Batch { sender, run, origin_unix_ns, first_seq, entries, .. } = batch;
        let through = self.through(&sender)?;
        let last_seq = first_seq
            .checked_add(entries.len() as u64)
            .and_then(|next| next.checked_sub(1))
            .filter(|_| first_seq > 0)
            .ok_or_else(|| Refusal::Never(format!("first_seq {first_seq} is not a number from 1 on")))?;
        // Who serves every run may have begun to count in an earlier one.
        let goes_on = through > 0 || !run.is_empty();
        if first_seq > through + 1 && goes_on {
            self.gaps += first_seq - through - 1;
            tracing::warn!(sender, "records {} to {} never came", through + 1, first_seq - 1);
        }
        {
            let mut aggregate = self.aggregate.lock().unwrap_or_else(PoisonError::into_inner);
            for (seq, entry) in (first_seq..).zip(entries) {
                if seq <= through {
                    self.duplicates += 1;
                } else if let Some(record) = record_of(entry, &sender, origin_unix_ns, seq) {
                    self.failed += u64::from(!self.log.append(&record));
                    aggregate.record(&record);
                }
            }
        }
        if last_seq > through {
            self.senders.insert(sender, last_seq);
        }
        self.acks.push_back(PendingAck {
            end: self.log.end(),
            through_seq: last_seq.max(through),
            to: answer,
        });
        Ok(())
    }

    fn through(&self, sender: &str) -> Result<u64, Refusal> {
        match self.senders.get(sender) {
            Some(through) => Ok(*through),
            None if sender.is_empty() || sender.len() > 128 => {
                Err(Refusal::Never(format!("{:?} is no sender's id", sender.get(..128).unwrap_or(sender))))
            }
            None if self.senders.len() >= MAX_SENDERS => {
                Err(Refusal::Never(format!("the run has had {MAX_SENDERS} senders already")))
            }
            None => Ok(0),
        }
    }

    pub(crate) fn lacks_target(&self) -> bool {
        self.aggregate().workers_target().is_none()
    }

    /// Notes the session's target where the log does not have it yet: at the start of a run, and after a restart
    /// during which it was changed.
    pub(crate) fn note_target(&mut self, session: &Session) {
        let header = self.aggregate().header().cloned();
        let Some(header) = header.filter(|header| header.session == session.id) else { return };
        for (scenario, target) in &session.scenarios {
            let known = self.aggregate().workers_target_of(scenario);
            if known == Some(target.workers) {
                continue;
            }
            let mut changes = session.last_changes.iter();
            let change = changes.find(|change| change.what == "workers" && change.scenario == *scenario);
            // A change that came with the run's start has a mark of its own, which follows.
            let (change, to) = match (known, change) {
                (None, Some(change)) => (None, change.from.clone()),
                (_, change) => (change, target.workers.to_string()),
            };
            self.accept(&Record::Mark {
                at_unix_ns: change.map_or(header.started_unix_ns, |change| change.at_unix_ns),
                by: change.map_or("cli", |change| change.by.name()).to_owned(),
                scenario: scenario.clone(),
                what: "workers".to_owned(),
                from: known.unwrap_or(0).to_string(),
                to,
            });
        }
    }

    /// Writes what is pending and acknowledges what that covers.
    pub(crate) fn flush(&mut self) {
        self.log.flush();
        while self.acks.front().is_some_and(|ack| ack.end <= self.log.written()) {
            let ack = self.acks.pop_front().expect("looked at");
            // A refusal is a stream's last word.
            ack.to.send_if_modified(|answered| {
                let open = matches!(answered, Answered::Nothing | Answered::Through(_));
                if open {
                    *answered = Answered::Through(ack.through_seq);
                }
                open
            });
        }
    }

    /// Flushes and waits for the disk.
    pub(crate) fn close(&mut self) {
        self.flush();
        self.log.sync();
        // What is pending still has been refused by the disk for good.
        let refused = self.log.pending();
        if refused > 0 {
            tracing::error!("{refused} bytes of the log {} could not be written", self.log.path().display());
        }
    }

    pub(crate) fn wants_flush(&self) -> bool {
        !self.acks.is_empty() || self.log.pending() >= 1 << 18
    }

    pub(crate) fn is_started_after(&self, other: &Self) -> bool {
        let started = |book: &Self| book.aggregate().header().map(|header| header.started_unix_ns);
        started(self) > started(other)
    }

    pub(crate) const fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn senders(&self) -> usize {
        self.senders.len()
    }

    pub(crate) fn shared(&self) -> Arc<Mutex<Aggregate>> {
        self.aggregate.clone()
    }

    fn aggregate(&self) -> MutexGuard<'_, Aggregate> {
        self.aggregate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None for an entry that this version does not know.
fn record_of(entry: wire::Entry, sender: &str, origin_unix_ns: u64, seq: u64) -> Option<Record> {
    let node = sender.to_owned();
    Some(match entry.entry? {
        wire::entry::Entry::Chain(result) => {
            Record::Chain { node, origin_unix_ns, result: chain_from_wire(result, seq) }
        }
        wire::entry::Entry::Hit(hit) => Record::Hit { node, hit: hit_from_wire(hit, seq)? },
        wire::entry::Entry::State(counts) => {
            Record::State { node, seq, at_unix_ns: counts.at_unix_ns, counts: state_from_wire(counts) }
        }
        wire::entry::Entry::Load(load) => {
            Record::Load { node, seq, at_unix_ns: load.at_unix_ns, load: load_from_wire(load) }
        }
        wire::entry::Entry::Lost(lost) => {
            Record::Lost { node, seq, at_unix_ns: lost.at_unix_ns, count: lost.count, why: lost.why }
        }
    })
}
