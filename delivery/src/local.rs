//! Delivers records to analytics in the same process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use wec_clock::Clock;
use wec_record::{ChainResult, Event, Record};

use crate::intake::{BATCH, Entry, GATHER, Intake};
use crate::numbered::Numbering;
use crate::{Health, Sink};

/// Delivers records without waiting; returns those that do not fit.
type Deliver = Box<dyn Fn(Vec<Record>) -> Result<(), Vec<Record>> + Send>;

/// Delivers records to analytics in the same process, in batches.
#[derive(Debug)]
pub struct LocalSink {
    intake: Arc<Intake>,
    /// What has left the intake.
    told: Arc<Mutex<Health>>,
    stop: CancellationToken,
    pump: Mutex<Option<JoinHandle<()>>>,
}

impl LocalSink {
    /// Starts the pump on the current runtime. `node` is the node's id; `deliver` passes records to analytics.
    pub fn start(
        node: impl Into<String>,
        clock: Clock,
        deliver: impl Fn(Vec<Record>) -> Result<(), Vec<Record>> + Send + 'static,
    ) -> Self {
        let (intake, told, stop) = (Arc::<Intake>::default(), Arc::default(), CancellationToken::new());
        let pump = Pump {
            intake: Arc::clone(&intake),
            told: Arc::clone(&told),
            stop: stop.clone(),
            node: node.into(),
            clock,
            deliver: Box::new(deliver),
            numbering: Numbering::default(),
            held: Vec::new(),
        };
        Self { intake, told, stop, pump: Mutex::new(Some(tokio::spawn(pump.run()))) }
    }

    /// Delivers the rest within this time; after it nothing more is accepted.
    pub async fn finish(&self, within: Duration) -> Health {
        self.stop.cancel();
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut pump) = pump
            && timeout(within, &mut pump).await.is_err()
        {
            pump.abort();
        }
        self.health()
    }
}

impl Drop for LocalSink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Sink for LocalSink {
    fn push_entry(&self, entry: Entry) {
        self.intake.push(entry);
    }

    fn lose(&self, count: u64, why: &str) {
        self.intake.lose(count, why);
    }

    fn health(&self) -> Health {
        self.intake.health(&self.told)
    }
}

struct Pump {
    intake: Arc<Intake>,
    told: Arc<Mutex<Health>>,
    stop: CancellationToken,
    node: String,
    clock: Clock,
    deliver: Deliver,
    numbering: Numbering,
    /// A batch for which analytics had no room. While there is one, nothing is collected.
    held: Vec<Record>,
}

impl Pump {
    async fn run(mut self) {
        while !self.stop.is_cancelled() {
            tokio::select! {
                () = self.intake.gathered(), if self.held.is_empty() => {}
                () = sleep(GATHER), if !self.held.is_empty() => {}
                () = self.stop.cancelled() => {}
            }
            self.pump();
        }
        while !self.pump() {
            sleep(GATHER).await;
        }
    }

    /// Delivers what waits; false if some of it had to be held.
    fn pump(&mut self) -> bool {
        if self.held.is_empty() {
            self.held = self.records();
        }
        while !self.held.is_empty() {
            let rest = self.held.split_off(self.held.len().min(BATCH));
            let batch = std::mem::replace(&mut self.held, rest);
            let counted = counted_in(&batch);
            match (self.deliver)(batch) {
                Ok(()) => self.tell(|told| told.delivered += counted),
                Err(mut batch) => {
                    batch.append(&mut self.held);
                    self.held = batch;
                    break;
                }
            }
        }
        let held = counted_in(&self.held);
        self.tell(|told| {
            told.queued = held;
            told.trouble = (held > 0).then(|| "analytics is behind".to_owned());
        });
        self.held.is_empty()
    }

    fn records(&mut self) -> Vec<Record> {
        let (entries, losses) = self.intake.collect();
        for (count, why) in losses {
            self.numbering.lose(count, &why);
            self.tell(|told| {
                told.lost += count;
                told.lost_why = Some(why);
            });
        }
        let batch = self.numbering.number(entries, self.clock.unix_now_ns());
        let origin_unix_ns = self.clock.origin_unix_ns();
        let record = |(seq, entry)| record(self.node.clone(), origin_unix_ns, seq, entry);
        (batch.first..).zip(batch.entries).map(record).collect()
    }

    fn tell(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn record(node: String, origin_unix_ns: u64, seq: u64, entry: Entry) -> Record {
    match entry {
        Entry::Chain(result) => Record::Chain { node, origin_unix_ns, result: ChainResult { seq, ..result } },
        Entry::State { at_unix_ns, counts } => Record::State { node, seq, at_unix_ns, counts },
        Entry::Load { at_unix_ns, load } => Record::Load { node, seq, at_unix_ns, load },
        Entry::Hit(mut hit) => {
            hit.seq = seq;
            Record::Hit { node, hit }
        }
        Entry::Event(event) => Record::Event(Event { node, seq, ..*event }),
        Entry::Lost { at_unix_ns, count, why } => Record::Lost { node, seq, at_unix_ns, count, why },
    }
}

/// Results and hits.
fn counted_in(records: &[Record]) -> u64 {
    let is_counted = |record: &&Record| matches!(record, Record::Chain { .. } | Record::Hit { .. });
    records.iter().filter(is_counted).count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use wec_record::{LoadSample, StateCounts};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn numbers_every_record_without_gaps_and_delivers_all() {
        let (send, received) = std::sync::mpsc::channel();
        let sink = LocalSink::start("r1", Clock::start(), move |records| {
            send.send(records).expect("the receiver exists");
            Ok(())
        });
        for _ in 0..1_500 {
            sink.push(ChainResult::default());
        }
        sink.push_state(7, StateCounts::default());
        sink.push_load(8, LoadSample::default());
        let health = sink.finish(Duration::from_secs(5)).await;
        assert_eq!(health, Health { pushed: 1_500, delivered: 1_500, ..Health::default() });
        let numbers: Vec<_> =
            received.try_iter().flatten().map(|record| record.origin().map(|(_, seq)| seq)).collect();
        assert_eq!(numbers, (1..=1_502).map(Some).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn holds_records_while_analytics_is_full_and_reports_dropped_ones() {
        let (send, received) = std::sync::mpsc::channel();
        let open = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&open);
        let sink = LocalSink::start("r1", Clock::start(), move |records| {
            if gate.load(Ordering::Relaxed) {
                send.send(records).expect("the receiver exists");
                return Ok(());
            }
            Err(records)
        });
        sink.push(ChainResult::default());
        tokio::time::sleep(GATHER * 2).await;
        // The pump holds one record, 2^16 wait in the queue, and ten have no room.
        for _ in 0..(1 << 16) + 10 {
            sink.push(ChainResult::default());
        }
        let health = sink.health();
        assert_eq!((health.pushed, health.queued, health.lost), ((1 << 16) + 11, (1 << 16) + 1, 10));
        assert_eq!(health.lost_why.as_deref(), Some("the queue in memory was full"));
        assert!(health.trouble.is_some());
        open.store(true, Ordering::Relaxed);
        let health = sink.finish(Duration::from_secs(5)).await;
        assert_eq!((health.delivered, health.queued, health.lost), ((1 << 16) + 1, 0, 10));
        let lost: u64 = received
            .try_iter()
            .flatten()
            .map(|record| if let Record::Lost { count, .. } = record { count } else { 0 })
            .sum();
        assert_eq!(lost, 10);
    }
}
