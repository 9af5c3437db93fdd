//! A fixed number of iterations: this node takes them from the board as they are used up, and returns those
//! that it does not run.

use tokio::time::{sleep, timeout};
use wec_board::Wants;

use super::{AGAIN, Conductor, SETTLE};
use crate::executor::Quota;

/// Iterations that a node takes at once for each of its workers, at most; they are lost if it dies.
const TAKE: u64 = 8;

impl Conductor {
    /// Takes iterations from the board as they are used up, until this and the other nodes have none left.
    pub(super) async fn provide(&self, quota: &Quota) {
        let (run, name) = (&self.run, &*self.scenario.name);
        let iterations = self.scenario.load.iterations().unwrap_or_default();
        let (mut had, mut told) = (0, false);
        loop {
            // A node without a worker also checks from time to time, to notice the end.
            let low = timeout(AGAIN, quota.runs_low()).await.is_ok();
            if !low && quota.mark() > 0 {
                continue;
            }
            // Without a worker for them they are returned: other nodes would wait for them until the run time
            // is over.
            if quota.mark() == 0 && quota.free() > 0 {
                had -= quota.take_back();
                if let Err(error) = self.board.keep_iterations(run, name, &self.node, had).await {
                    tracing::debug!(%error, "iterations are not given back");
                }
            }
            let nodes = self.board.nodes().borrow().clone();
            let strength = self.board.shares(&run.session).borrow().workers_strength(&self.node);
            let most = if low { TAKE * quota.mark() } else { 0 };
            let wants = Wants { node: &self.node, had, used: quota.used(), strength, most };
            let pool = match self.board.take_iterations(run, name, iterations, wants).await {
                Ok(pool) => pool,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "no more iterations can be taken while the board cannot be reached");
                    }
                    sleep(AGAIN).await;
                    continue;
                }
            };
            let granted = pool.taken.get(&self.node).map_or(0, |taken| taken.saturating_sub(had));
            had += granted;
            quota.add(granted);
            if granted > 0 {
                continue;
            }
            // Other nodes may return theirs when they leave early.
            let lives = |node: &str| node != self.node && nodes.iter().any(|one| one.id == node);
            if pool.left == 0 && !pool.held().any(|(node, _)| lives(node)) {
                return quota.close();
            }
            sleep(AGAIN).await;
        }
    }

    /// Returns this node's unused iterations to the board, and reports those that no node will run. Returns
    /// how many no node has taken.
    pub(super) async fn settle(&self, quota: &Quota) -> Option<u64> {
        let settled = self.board.settle_iterations(&self.run, &self.scenario.name, &self.node, quota.used());
        let pool = match timeout(SETTLE, settled).await {
            Ok(Ok(pool)) => pool,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot return unused iterations to the board");
                return None;
            }
            Err(_) => {
                tracing::warn!("returning unused iterations to the board took too long");
                return None;
            }
        };
        let nodes = self.board.nodes().borrow().clone();
        let dead = pool.held().filter(|(id, _)| !nodes.iter().any(|node| node.id == *id));
        let dead: Vec<_> = dead.map(|(id, count)| format!("{count} with {id}")).collect();
        if !dead.is_empty() {
            tracing::warn!(
                scenario = self.scenario.name,
                "iterations that nodes took before they were lost may not have been run: {}",
                dead.join(", ")
            );
        }
        Some(pool.left)
    }
}
