//! Results into analytics of the same process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use wec_acme::Clock;
use wec_record::{ChainResult, LoadSample, Record, StateCounts};

use super::intake::{BATCH, COLLECT_EVERY, Entry, Intake};
use super::{Health, Sink};

/// Delivers records without waiting; those that do not fit come back.
type Deliver = Box<dyn Fn(Vec<Record>) -> Result<(), Vec<Record>> + Send>;

/// Hands results to analytics of the same process, in batches.
#[derive(Debug)]
pub struct LocalSink {
    intake: Arc<Intake>,
    told: Arc<Mutex<Told>>,
    stop: CancellationToken,
    pump: Mutex<Option<JoinHandle<()>>>,
}

/// What became of results that have left the intake.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    delivered: u64,
    held: u64,
    lost: u64,
}

impl LocalSink {
    /// Starts the pump on the current runtime. `node` is the node's id; `deliver` is analytics' entrance.
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
            seq: 0,
            untold: 0,
            held: Vec::new(),
        };
        Self { intake, told, stop, pump: Mutex::new(Some(tokio::spawn(pump.run()))) }
    }

    /// Delivers what is left, for at most so long; after it nothing more is taken.
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
    fn push(&self, result: ChainResult) {
        self.intake.push(Entry::Chain(result));
    }

    fn push_state(&self, at_unix_ns: u64, counts: StateCounts) {
        self.intake.push(Entry::State { at_unix_ns, counts });
    }

    fn push_load(&self, at_unix_ns: u64, load: LoadSample) {
        self.intake.push(Entry::Load { at_unix_ns, load });
    }

    fn health(&self) -> Health {
        let (pushed, waiting, dropped) = self.intake.counts();
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Health {
            pushed,
            delivered: told.delivered,
            queued: waiting + told.held,
            spooled: 0,
            lost: dropped + told.lost,
            trouble: (told.held > 0).then(|| "analytics is behind".to_owned()),
        }
    }
}

struct Pump {
    intake: Arc<Intake>,
    told: Arc<Mutex<Told>>,
    stop: CancellationToken,
    node: String,
    clock: Clock,
    deliver: Deliver,
    /// Number of the last record made.
    seq: u64,
    /// Dropped results that no record tells of yet.
    untold: u64,
    /// A batch that analytics had no room for. While there is one nothing is collected.
    held: Vec<Record>,
}

impl Pump {
    async fn run(mut self) {
        let mut look = interval(COLLECT_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            tokio::select! {
                _ = look.tick() => {}
                () = self.intake.filled(), if self.held.is_empty() => {}
                () = self.stop.cancelled() => {}
            }
            self.pump();
        }
        while !self.pump() {
            look.tick().await;
        }
    }

    /// Delivers what waits; false when some of it had to be held.
    fn pump(&mut self) -> bool {
        if self.held.is_empty() {
            self.held = self.records();
        }
        while !self.held.is_empty() {
            let rest = self.held.split_off(self.held.len().min(BATCH));
            let batch = std::mem::replace(&mut self.held, rest);
            let results = results_in(&batch);
            match (self.deliver)(batch) {
                Ok(()) => self.tell(|told| told.delivered += results),
                Err(mut batch) => {
                    batch.append(&mut self.held);
                    self.held = batch;
                    break;
                }
            }
        }
        let held = results_in(&self.held);
        self.tell(|told| told.held = held);
        self.held.is_empty()
    }

    fn records(&mut self) -> Vec<Record> {
        let (entries, dropped) = self.intake.collect();
        self.untold += dropped;
        self.tell(|told| told.lost += dropped);
        let origin_unix_ns = self.clock.origin_unix_ns();
        let mut records = Vec::with_capacity(entries.len() + 1);
        for entry in entries {
            self.seq += 1;
            let (node, seq) = (self.node.clone(), self.seq);
            records.push(match entry {
                Entry::Chain(result) => {
                    Record::Chain { node, origin_unix_ns, result: ChainResult { seq, ..result } }
                }
                Entry::State { at_unix_ns, counts } => Record::State { node, seq, at_unix_ns, counts },
                Entry::Load { at_unix_ns, load } => Record::Load { node, seq, at_unix_ns, load },
            });
        }
        if self.untold > 0 {
            self.seq += 1;
            records.push(Record::Lost {
                node: self.node.clone(),
                seq: self.seq,
                at_unix_ns: self.clock.unix_now_ns(),
                count: std::mem::take(&mut self.untold),
                why: "the queue was full".to_owned(),
            });
        }
        records
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn results_in(records: &[Record]) -> u64 {
    records.iter().filter(|record| matches!(record, Record::Chain { .. })).count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn numbers_every_record_without_gaps_and_delivers_all() {
        let (send, received) = std::sync::mpsc::channel();
        let sink = LocalSink::start("r1", Clock::start(), move |records| {
            send.send(records).expect("the test still listens");
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
    async fn holds_what_analytics_has_no_room_for_and_tells_what_was_dropped() {
        let (send, received) = std::sync::mpsc::channel();
        let open = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&open);
        let sink = LocalSink::start("r1", Clock::start(), move |records| {
            if gate.load(Ordering::Relaxed) {
                send.send(records).expect("the test still listens");
                return Ok(());
            }
            Err(records)
        });
        sink.push(ChainResult::default());
        tokio::time::sleep(COLLECT_EVERY * 2).await;
        // One is held by the pump, 2^16 wait, ten have no room.
        for _ in 0..(1 << 16) + 10 {
            sink.push(ChainResult::default());
        }
        let health = sink.health();
        assert_eq!((health.pushed, health.queued, health.lost), ((1 << 16) + 11, (1 << 16) + 1, 10));
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
