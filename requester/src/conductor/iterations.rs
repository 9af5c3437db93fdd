//! A fixed number of iterations: this node takes its part from the board as it is used up, and gives back what it does not run.

use tokio::time::{sleep, timeout};
use wec_board::Wants;

use super::{AGAIN, Conductor, SETTLE};
use crate::executor::Quota;

/// Iterations that a node takes at once, at most, for each of its workers: what is missing when it dies.
const TAKE: u64 = 8;

impl Conductor {
    /// Takes iterations from the board as they are used up, until none are left that this or another node could run.
    pub(super) async fn provide(&self, quota: &Quota) {
        let (run, name) = (&self.run, &*self.scenario.name);
        let iterations = self.scenario.load.iterations().unwrap_or_default();
        let (mut had, mut told) = (0, false);
        loop {
            // A node without a worker looks from time to time: it must know the end, too.
            let low = timeout(AGAIN, quota.runs_low()).await.is_ok();
            if !low && quota.mark() > 0 {
                continue;
            }
            // Without a worker for them they are for others: those would wait for them until the run time is over.
            if quota.mark() == 0 && quota.free() > 0 {
                had -= quota.take_back();
                if let Err(error) = self.board.keep_iterations(run, name, &self.node, had).await {
                    tracing::debug!(%error, "iterations are not given back");
                }
            }
            let nodes = self.board.nodes().borrow().clone();
            let among = self.board.shares(&run.session).borrow().nodes.len() as u64;
            let most = if low { TAKE * quota.mark() } else { 0 };
            let wants = Wants { node: &self.node, had, used: quota.used(), among, most };
            let pool = match self.board.take_iterations(run, name, iterations, wants).await {
                Ok(pool) => pool,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "no more iterations can be taken while the board is away");
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
            // What others hold may come back when they leave before they are done with it.
            let lives = |node: &str| node != self.node && nodes.iter().any(|one| one.id == node);
            if pool.left == 0 && !pool.held().any(|(node, _)| lives(node)) {
                return quota.close();
            }
            sleep(AGAIN).await;
        }
    }

    /// Tells the board what this node has not run, for others to take, and people what nobody will. Gives how many no node has
    /// taken.
    pub(super) async fn settle(&self, quota: &Quota) -> Option<u64> {
        let settled = self.board.settle_iterations(&self.run, &self.scenario.name, &self.node, quota.used());
        let pool = match timeout(SETTLE, settled).await {
            Ok(Ok(pool)) => pool,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the board does not know what was not run here");
                return None;
            }
            Err(_) => {
                tracing::warn!("the board was not told in time what was not run here");
                return None;
            }
        };
        let nodes = self.board.nodes().borrow().clone();
        let dead = pool.held().filter(|(id, _)| !nodes.iter().any(|node| node.id == *id));
        let dead: Vec<_> = dead.map(|(id, count)| format!("{count} with {id}")).collect();
        if !dead.is_empty() {
            tracing::warn!(
                scenario = self.scenario.name,
                "iterations that nodes took which are gone may not have been run: {}",
                dead.join(", ")
            );
        }
        Some(pool.left)
    }
}
