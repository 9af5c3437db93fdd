//! The threads that virtual users live on: one single-threaded runtime each, with an executor of every scenario.
//!
//! A runtime shares nothing with the others that is touched for every request: ACME client, connections and nonces are
//! its own. That measured 15 to 30 % cheaper than one runtime over all threads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::error::StartError;
use wec_startup::Stop;

use crate::executor::{BoxFuture, Workforce};
use crate::saturation::Watch;

/// Makes the workforces of one runtime, on that runtime, given its place: one for each scenario, in their order.
pub(crate) type Recruit =
    Arc<dyn Fn(u32) -> BoxFuture<'static, Result<Vec<Arc<dyn Workforce>>, StartError>> + Send + Sync>;

/// How a scenario's executor starts on a runtime: with whom, and at which place of how many.
pub(crate) type Executor =
    Box<dyn Fn(Arc<dyn Workforce>, (u32, u32)) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is run: each scenario's name and executor.
pub(crate) struct Programme {
    pub(crate) scenarios: Vec<(String, Executor)>,
    /// Where the names of those are put whose last iteration has ended.
    pub(crate) ended: watch::Sender<BTreeSet<String>>,
}

/// Running threads.
pub(crate) struct Engine {
    threads: Vec<thread::JoinHandle<()>>,
}

impl Engine {
    /// Starts `threads` runtimes and returns once each has its workforces.
    ///
    /// # Errors
    /// When a thread or a runtime cannot be had, or a workforce cannot be made; the threads already started end.
    pub(crate) async fn start(
        threads: u32,
        programme: Programme,
        recruit: Recruit,
        watch: &Watch,
        stop: &Stop,
    ) -> Result<Self, StartError> {
        let mut engine = Self { threads: Vec::new() };
        let stage = Arc::new(Stage::new(programme, threads));
        let mut ready = Vec::new();
        for place in 0..threads {
            let (tell, told) = oneshot::channel();
            ready.push(told);
            let (recruit, stage, watch) = (Arc::clone(&recruit), Arc::clone(&stage), watch.clone());
            let body = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(async move {
                    let _watched = watch.sit(place);
                    match recruit(place).await {
                        Ok(workforces) => {
                            let _ = tell.send(Ok(()));
                            stage.play(workforces, (place, threads)).await;
                        }
                        Err(error) => drop(tell.send(Err(error))),
                    }
                }),
                Err(error) => drop(tell.send(Err(StartError::Thread(error)))),
            };
            let thread = thread::Builder::new().name(format!("workers-{place}")).spawn(body);
            engine.threads.push(thread.map_err(StartError::Thread)?);
        }
        for told in ready {
            let started =
                told.await.unwrap_or_else(|_| Err(StartError::Thread(std::io::Error::other("it panicked"))));
            if let Err(error) = started {
                stop.finish.cancel();
                engine.join().await;
                return Err(error);
            }
        }
        Ok(engine)
    }

    /// Waits until the last worker of the last runtime has ended.
    pub(crate) async fn join(self) {
        for thread in self.threads {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("a worker thread ended by a panic");
            }
        }
    }
}

/// What the runtimes have in common.
struct Stage {
    programme: Programme,
    /// On how many runtimes each scenario still runs.
    playing: Vec<AtomicUsize>,
}

impl Stage {
    fn new(programme: Programme, threads: u32) -> Self {
        let playing = programme.scenarios.iter().map(|_| AtomicUsize::new(threads as usize)).collect();
        Self { programme, playing }
    }

    /// Runs every scenario's executor on this runtime until the last of them has ended.
    async fn play(&self, workforces: Vec<Arc<dyn Workforce>>, place: (u32, u32)) {
        let mut playing = JoinSet::new();
        let mut parts = std::collections::HashMap::new();
        for (index, ((_, executor), workforce)) in self.programme.scenarios.iter().zip(workforces).enumerate()
        {
            parts.insert(playing.spawn(executor(workforce, place)).id(), index);
        }
        while let Some(ended) = playing.join_next_with_id().await {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => {
                    tracing::error!(%error, "an executor ended by a panic; its share of the load is missing");
                    error.id()
                }
            };
            let Some(index) = parts.remove(&id) else { continue };
            if self.playing[index].fetch_sub(1, Ordering::AcqRel) == 1 {
                let name = self.programme.scenarios[index].0.clone();
                self.programme.ended.send_if_modified(|ended| ended.insert(name));
            }
        }
    }
}
