//! `RunLog`: the log and the other consumers of one run, and the highest record number of each sender.
//!
//! The log is authoritative: a run that is opened again reads it and has the same state as before.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::consume::RecordConsumer;
use wec_board::Session;
use wec_log::{Log, judge};
use wec_proto::results as wire;
use wec_record::wire::{chain_from_wire, hit_from_wire, load_from_wire, state_from_wire};
use wec_record::{Mark, MarkBy, MarkValue, MarkWhat, NoSuchRecord, Record, RunHeader, UnknownRecord};
use wec_startup::is_plain_name;

use super::gaps::GapWatch;
use super::{ConsumerOptions, LiveRun, shown_path};
use crate::Aggregate;
use crate::ingest::{Answer, Answered, RefusedBatch};
use crate::log::LogError;
use crate::views::Health;

/// Number of processes that may send to one run.
const MAX_SENDERS: usize = 100_000;

pub(crate) struct RunLog {
    log: Log,
    run: Arc<LiveRun>,
    consumers: Vec<Box<dyn RecordConsumer>>,
    gaps_of_target: GapWatch,
    /// Highest number of each sender in the log; records up to it are duplicates.
    senders: HashMap<String, u64>,
    /// Acknowledgements that wait for the log, ordered by its length.
    acks: VecDeque<PendingAck>,
    duplicates: u64,
    gaps: u64,
    /// Records of this process that were left out because they could not be read back.
    refused: u64,
}

struct PendingAck {
    end: u64,
    through_seq: u64,
    to: Arc<Answer>,
}

impl RunLog {
    /// Opens the run's log at `path`, whether or not it exists. A new log begins with `header`.
    pub(crate) fn open(
        path: &Path,
        header: &RunHeader,
        options: &ConsumerOptions,
        run: Arc<LiveRun>,
    ) -> Result<Self, LogError> {
        let mut consumers = options.consumers(&run);
        let mut senders = HashMap::<String, u64>::new();
        let mut gaps_of_target = GapWatch::default();
        let mut known = 0;
        let log = Log::open(path, header, &options.log, |record| {
            known += 1;
            if let Some((sender, seq)) = record.origin() {
                match senders.get_mut(sender) {
                    Some(through) => *through = seq.max(*through),
                    None => drop(senders.insert(sender.to_owned(), seq)),
                }
            }
            consumers.iter_mut().for_each(|consumer| consumer.known(&record));
            // What ended before is marked already.
            gaps_of_target.read(std::slice::from_ref(&record));
        })?;
        // A new log has its header.
        if known == 1
            && let Some(header) = run.figures().lock().header()
        {
            run.begin_log(path, header, log.next_start());
        }
        let mut opened = Self {
            log,
            run,
            consumers,
            gaps_of_target,
            senders,
            acks: VecDeque::new(),
            duplicates: 0,
            gaps: 0,
            refused: 0,
        };
        opened.log.flush();
        Ok(opened)
    }

    /// Processes records of this process.
    pub(crate) fn accept(&mut self, mut records: Vec<Record>) {
        records.retain(|record| {
            let judged = judge(record);
            if let Err(why) = &judged {
                if self.refused == 0 {
                    tracing::error!("left out a record of this process: {why}");
                }
                self.refused += 1;
            }
            judged.is_ok()
        });
        self.take(&records);
    }

    /// The log comes first: every counted record is in it, unless the disk refuses it.
    fn take(&mut self, records: &[Record]) {
        let start = self.log.next_start();
        self.log.take(records);
        self.run.logged(records, start, self.log.next_start());
        self.consumers.iter_mut().for_each(|consumer| consumer.take(records));
        let gaps = self.gaps_of_target.read(records);
        self.mark_gaps(gaps);
    }

    fn mark_gaps(&mut self, marks: Vec<Mark>) {
        if !marks.is_empty() {
            self.accept(marks.into_iter().map(Record::Mark).collect());
        }
    }

    /// Processes the new records of a batch; `answer` is set when they are in the log.
    pub(crate) fn accept_batch(
        &mut self,
        batch: wire::Batch,
        answer: Arc<Answer>,
    ) -> Result<(), RefusedBatch> {
        if self.log.is_full() {
            return Err(RefusedBatch::NotNow(self.log.error().unwrap_or("the log is behind").to_owned()));
        }
        let wire::Batch { sender, run, origin_unix_ns, first_seq, entries, .. } = batch;
        let through = self.through(&sender)?;
        let last_seq = first_seq
            .checked_add(entries.len() as u64)
            .and_then(|next| next.checked_sub(1))
            .filter(|_| first_seq > 0)
            .ok_or_else(|| RefusedBatch::Never(format!("first_seq {first_seq} is not a number from 1 on")))?;
        let mut records: Vec<Record> = Vec::with_capacity(entries.len());
        for (seq, entry) in (first_seq..).zip(entries) {
            if seq <= through {
                self.duplicates += 1;
            } else {
                let record = record_of(entry, &sender, origin_unix_ns, seq).map_err(|why| why.to_string());
                let judged = record.and_then(|record| match (judge(&record), &record) {
                    (Ok(()), _) => Ok(record),
                    // The others of the batch are understood.
                    (Err(why), Record::Unknown(_)) => {
                        let at_unix_ns = records.last().and_then(Record::unix_ns).unwrap_or(origin_unix_ns);
                        Ok(Record::Lost { node: sender.clone(), seq, at_unix_ns, count: 1, why })
                    }
                    (Err(why), _) => Err(why),
                });
                let refused = |why| RefusedBatch::Never(format!("record {seq} of {sender:?}: {why}"));
                records.push(judged.map_err(refused)?);
            }
        }
        // A sender that serves several runs may have numbered records of an earlier one.
        let goes_on = through > 0 || !run.is_empty();
        if first_seq > through + 1 && goes_on {
            self.gaps += first_seq - through - 1;
            tracing::warn!(sender, "records {} to {} never arrived", through + 1, first_seq - 1);
        }
        self.take(&records);
        if last_seq > through {
            self.senders.insert(sender, last_seq);
        }
        self.acks.push_back(PendingAck {
            end: self.log.end_offset(),
            through_seq: last_seq.max(through),
            to: answer,
        });
        Ok(())
    }

    fn through(&self, sender: &str) -> Result<u64, RefusedBatch> {
        match self.senders.get(sender) {
            Some(through) => Ok(*through),
            None if !is_plain_name(sender, LONGEST_SENDER) => {
                let shown: String = sender.chars().take(64).collect();
                Err(RefusedBatch::Never(format!(
                    "{shown:?} is not a sender's id, which is a node's name and a number"
                )))
            }
            None if self.senders.len() >= MAX_SENDERS => {
                Err(RefusedBatch::Never(format!("the run has had {MAX_SENDERS} senders already")))
            }
            None => Ok(0),
        }
    }

    pub(crate) fn lacks_target(&self) -> bool {
        self.figures().workers_target().is_none()
    }

    /// The session of the run; none before its header.
    pub(crate) fn session(&self) -> Option<String> {
        self.figures().header().map(|header| header.session.clone())
    }

    /// Writes marks for session targets that are not in the log yet: at the start of a run, and after a
    /// restart during which they were changed.
    pub(crate) fn note_target(&mut self, session: &Session) {
        let header = self.figures().header().cloned();
        let Some(header) = header.filter(|header| header.session == session.spec.id) else { return };
        for (scenario, target) in &session.spec.scenarios {
            let known = self.figures().workers_target_of(scenario);
            if known == Some(target.workers) {
                continue;
            }
            // What was changed before the run began has no mark in its log. A stage begins after it, whatever its clock says.
            let of_run =
                |mark: &&Mark| mark.by == MarkBy::Schedule || mark.at_unix_ns >= header.started_unix_ns;
            let mut changes = session.spec.last_changes.iter().map(|change| &change.mark).filter(of_run);
            let change = changes.find(|mark| mark.what == MarkWhat::Workers && mark.scenario == *scenario);
            // A change at the run's start has its own mark, which follows.
            let (change, to) = match (known, change) {
                (None, Some(change)) => (None, change.from.clone()),
                (_, change) => (change, MarkValue::Workers(target.workers)),
            };
            self.accept(vec![Record::Mark(Mark {
                at_unix_ns: change.map_or(header.started_unix_ns, |change| change.at_unix_ns),
                by: change.map_or(MarkBy::Cli, |change| change.by.clone()),
                who: change.map_or_else(String::new, |change| change.who.clone()),
                scenario: scenario.clone(),
                from: MarkValue::Workers(known.unwrap_or(0)),
                to,
                what: MarkWhat::Workers,
            })]);
        }
    }

    /// Writes pending records and acknowledges those that were written.
    pub(crate) fn flush(&mut self) {
        self.log.flush();
        self.consumers.iter_mut().for_each(|consumer| consumer.flush());
        while self.acks.front().is_some_and(|ack| ack.end <= self.log.written()) {
            let ack = self.acks.pop_front().expect("looked at");
            // A refusal is the last answer of a stream.
            ack.to.send_if_modified(|answered| {
                let open = matches!(answered, Answered::Nothing | Answered::Through(_));
                if open {
                    *answered = Answered::Through(ack.through_seq);
                }
                open
            });
        }
    }

    /// Writes the footer and waits for the disk.
    pub(crate) fn close(&mut self) {
        let gaps = self.gaps_of_target.end();
        self.mark_gaps(gaps);
        let outcome = wec_figures::outcome::outcome(&self.figures().snapshot());
        self.log.end(outcome, crate::clock::unix_now_ns());
        self.flush();
        self.log.close();
        // A notice has the condition of the log.
        self.report();
        self.consumers.iter_mut().for_each(|consumer| consumer.close());
    }

    pub(crate) fn wants_flush(&self) -> bool {
        // Many short zstd blocks would make a large log.
        let soon = !self.log.format().is_compressed();
        (soon && !self.acks.is_empty()) || self.log.pending() >= 1 << 18
    }

    /// The longest time that a record should wait for [`Self::flush`].
    pub(crate) const fn flush_within(&self) -> Duration {
        self.log.flush_within()
    }

    /// Whether something waits to be written.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.log.pending() > 0
    }

    pub(crate) fn is_started_after(&self, other: &Self) -> bool {
        let started = |log: &Self| log.figures().header().map(|header| header.started_unix_ns);
        started(self) > started(other)
    }

    /// The run as the API reads it.
    pub(crate) const fn run(&self) -> &Arc<LiveRun> {
        &self.run
    }

    /// Publishes the condition of the log.
    pub(crate) fn report(&self) {
        self.run.report(Health {
            log: shown_path(self.log.path()),
            log_bytes: self.log.bytes(),
            log_failed: self.refused + self.log.failed(),
            log_error: self.log.error().map(str::to_owned),
            duplicates: self.duplicates,
            gaps: self.gaps,
            senders: self.senders.len() as u64,
            ..Health::default()
        });
    }

    fn figures(&self) -> MutexGuard<'_, Aggregate> {
        self.run.figures().lock()
    }
}

/// Maximal length of a sender's id: a node's name and a unique suffix.
const LONGEST_SENDER: usize = 96;

/// What is not understood is kept as an unknown record. If it cannot be kept, its arrival is recorded.
fn record_of(
    entry: wire::Entry,
    sender: &str,
    origin_unix_ns: u64,
    seq: u64,
) -> Result<Record, NoSuchRecord> {
    let node = sender.to_owned();
    let Some(entry) = entry.entry else {
        return UnknownRecord::new("unreadable", sender, seq, "{}").map(Record::Unknown);
    };
    Ok(match entry {
        wire::entry::Entry::Chain(result) => {
            Record::Chain { node, origin_unix_ns, result: chain_from_wire(result, seq) }
        }
        wire::entry::Entry::Hit(hit) => hit_from_wire(hit, node, seq),
        wire::entry::Entry::Json(json) => {
            return Record::from_json(&json.kind, sender, seq, &json.object);
        }
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
