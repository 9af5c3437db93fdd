//! The runtimes of virtual users: one thread each, with an executor for every scenario.
//!
//! Runtimes share nothing that every request uses: each has its own ACME client, connections and nonces. This
//! measured 15 to 30 % cheaper than one runtime over all threads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::alarm::use_timer_of_runtime;
use crate::error::StartError;
use wec_startup::Stop;

use crate::executor::{BoxFuture, Start, Workforce};
use crate::saturation::Watch;

/// Creates the workforces of one runtime, on that runtime, given its place: one for each scenario, in their
/// order.
pub(crate) type WorkforceFactory =
    Arc<dyn Fn(u32) -> BoxFuture<'static, Result<Vec<Arc<dyn Workforce>>, StartError>> + Send + Sync>;

/// The scenarios to run: names and executors.
pub(crate) struct ScenarioSet {
    pub(crate) scenarios: Vec<(String, Start)>,
    /// Receives the names of scenarios whose last iteration has ended.
    pub(crate) ended: watch::Sender<BTreeSet<String>>,
}

/// The runtimes of the virtual users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtimes {
    /// This many, each on its own thread.
    Threads(u32),
    /// The current runtime, also if its time is paused.
    Current,
}

impl Runtimes {
    /// Their number.
    pub const fn count(self) -> u32 {
        match self {
            Self::Threads(threads) => threads,
            Self::Current => 1,
        }
    }
}

/// Running runtimes.
pub(crate) struct Engine {
    threads: Vec<thread::JoinHandle<()>>,
    /// On the current runtime.
    task: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the runtimes and returns once each has its workforces.
    ///
    /// # Errors
    /// When a thread or a runtime cannot be started, or a workforce cannot be created; threads already
    /// started end.
    pub(crate) async fn start(
        runtimes: Runtimes,
        scenarios: ScenarioSet,
        workforces: WorkforceFactory,
        watch: &Watch,
        stop: &Stop,
    ) -> Result<Self, StartError> {
        let running = Arc::new(Running::new(scenarios, runtimes.count()));
        match runtimes {
            Runtimes::Threads(threads) => Self::on_threads(threads, &running, &workforces, watch, stop).await,
            Runtimes::Current => {
                use_timer_of_runtime();
                let (watched, workforces) = (watch.probe(0), workforces(0).await?);
                let task = tokio::spawn(async move {
                    let _watched = watched;
                    running.run_all(workforces, (0, 1)).await;
                });
                Ok(Self { threads: Vec::new(), task: Some(task) })
            }
        }
    }

    async fn on_threads(
        threads: u32,
        running: &Arc<Running>,
        workforces: &WorkforceFactory,
        watch: &Watch,
        stop: &Stop,
    ) -> Result<Self, StartError> {
        let mut engine = Self { threads: Vec::new(), task: None };
        let mut ready = Vec::new();
        for place in 0..threads {
            let (tell, told) = oneshot::channel();
            ready.push(told);
            let (workforces, running, watch) = (Arc::clone(workforces), Arc::clone(running), watch.clone());
            let body = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(async move {
                    let _watched = watch.probe(place);
                    match workforces(place).await {
                        Ok(workforces) => {
                            let _ = tell.send(Ok(()));
                            running.run_all(workforces, (place, threads)).await;
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
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the workers of a runtime ended by a panic");
        }
    }
}

/// Shared by the runtimes.
struct Running {
    set: ScenarioSet,
    /// Number of runtimes on which each scenario is still running.
    on: Vec<AtomicUsize>,
}

impl Running {
    fn new(set: ScenarioSet, runtimes: u32) -> Self {
        let on = set.scenarios.iter().map(|_| AtomicUsize::new(runtimes as usize)).collect();
        Self { set, on }
    }

    /// Runs every scenario's executor on this runtime until the last of them has ended.
    async fn run_all(&self, workforces: Vec<Arc<dyn Workforce>>, place: (u32, u32)) {
        let mut executors = JoinSet::new();
        let mut parts = std::collections::HashMap::new();
        for (index, ((_, executor), workforce)) in self.set.scenarios.iter().zip(workforces).enumerate() {
            parts.insert(executors.spawn(executor(workforce, place)).id(), index);
        }
        while let Some(ended) = executors.join_next_with_id().await {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => {
                    tracing::error!(%error, "an executor ended by a panic; its share of the load is missing");
                    error.id()
                }
            };
            let Some(index) = parts.remove(&id) else { continue };
            if self.on[index].fetch_sub(1, Ordering::AcqRel) == 1 {
                let name = self.set.scenarios[index].0.clone();
                self.set.ended.send_if_modified(|ended| ended.insert(name));
            }
        }
    }
}
