//! What this agent has: its place on the board, its challenge server, and what its admin port shows.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Notify, OnceCell};
use wec_acme::Clock;
use wec_board::{AgentPresence, Board, Connection};
use wec_requester::{DeliveryOptions, Plan};
use wec_store::ChallengeWriter;

use super::Consent;
use crate::here::{self, OwnServer};

/// This agent.
pub(super) struct Agent {
    pub(super) board: Board,
    pub(super) presence: AgentPresence,
    pub(super) consent: Consent,
    pub(super) delivery: DeliveryOptions,
    pub(super) clock: Clock,
    /// A part has another state.
    pub(super) changes: Rc<Notify>,
    /// The challenge server of this process, for challenges in memory; all sessions share it.
    pub(super) own: OnceCell<Challenges>,
}

/// A challenge store, and the server of this process that answers from it.
pub(super) type Challenges = (Arc<dyn ChallengeWriter>, Option<OwnServer>);

/// What the admin port shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Status {
    /// The agent's name.
    pub(super) agent: String,
    /// Program and version.
    pub(super) program: String,
    /// `connected`, or why the board cannot be reached.
    pub(super) board: String,
    /// Whether it takes no more sessions.
    pub(super) draining: bool,
    /// The sessions that run here, with their states.
    pub(super) sessions: BTreeMap<String, &'static str>,
}

impl Agent {
    /// The challenge store of a plan.
    ///
    /// # Errors
    /// When it cannot be reached, or an address is in use.
    pub(super) async fn challenges(&self, plan: &Plan) -> anyhow::Result<Arc<dyn ChallengeWriter>> {
        if plan.challenges != wec_requester::Challenges::Memory {
            // Each with the expiry of its plan.
            return Ok(here::challenges(plan, &self.delivery.tls).await?.0);
        }
        Ok(Arc::clone(&self.own.get_or_try_init(|| here::challenges(plan, &self.delivery.tls)).await?.0))
    }

    /// Before the first session.
    pub(super) fn status(&self) -> Status {
        let info = self.presence.info();
        let board = match &*self.board.connection().borrow() {
            Connection::Connected => "connected".to_owned(),
            Connection::Lost { reason } => format!("lost: {reason}"),
        };
        Status {
            agent: info.name,
            program: info.program,
            board,
            draining: info.draining,
            ..Status::default()
        }
    }
}
