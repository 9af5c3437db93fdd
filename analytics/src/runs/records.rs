//! `Records`: the records of a log as a stream. A thread reads ahead of the consumer, up to a bound.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread;

use tokio::sync::mpsc;
use wec_record::Record;

use crate::log::{LogError, read_by_time, read_logs};

/// Records that pass from the thread to the consumer at once.
const BATCH: usize = 256;
/// Batches that are read ahead: some megabytes of records.
const AHEAD: usize = 8;

/// The records of the logs of one run, in the order of the log; those of several logs, merged by their times.
#[derive(Debug)]
pub(super) struct Records {
    batches: mpsc::Receiver<Batch>,
    /// The rest of the latest batch.
    waiting: VecDeque<Record>,
}

/// A piece of a log, or why the log cannot be read further.
type Batch = Result<Vec<Record>, LogError>;

impl Records {
    /// Starts to read. The thread ends when all is read, or some time after the stream is dropped.
    pub(super) fn open(logs: Vec<PathBuf>) -> std::io::Result<Self> {
        let (to, batches) = mpsc::channel(AHEAD);
        thread::Builder::new().name("wec-replay".to_owned()).spawn(move || read(&logs, &to))?;
        Ok(Self { batches, waiting: VecDeque::new() })
    }

    /// The next record, which stays the next one. None at the end.
    ///
    /// # Errors
    /// When the log cannot be read further; the next call returns none.
    pub(super) async fn peek(&mut self) -> Result<Option<&Record>, LogError> {
        while self.waiting.is_empty() {
            match self.batches.recv().await {
                Some(batch) => self.waiting = batch?.into(),
                None => return Ok(None),
            }
        }
        Ok(self.waiting.front())
    }

    /// The records that have been read and are due: the first ones up to the first that is not.
    pub(super) fn take_while<'a>(
        &'a mut self,
        mut due: impl FnMut(&Record) -> bool + 'a,
    ) -> impl Iterator<Item = Record> + 'a {
        std::iter::from_fn(move || self.waiting.pop_front_if(|record| due(record)))
    }
}

fn read(logs: &[PathBuf], to: &mpsc::Sender<Batch>) {
    let mut batch = Vec::with_capacity(BATCH);
    let each = |record: &Record| {
        // Nobody waits for the rest of a log whose stream was dropped.
        if to.is_closed() {
            return;
        }
        batch.push(record.clone());
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            let _ = to.blocking_send(Ok(full));
        }
    };
    let read = match logs {
        [_] => read_logs(logs, each).map(drop),
        several => read_by_time(several, each),
    };
    let _ = to.blocking_send(Ok(batch));
    if let Err(error) = read {
        let _ = to.blocking_send(Err(error));
    }
}
