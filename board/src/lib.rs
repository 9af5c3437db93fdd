//! The board: the live nodes, and the target load of sessions.
//!
//! Every component follows it; components do not send commands to each other. The page changes a session
//! here, and requesters follow it. The rules are in [`Board`], over a key-value store: memory within one
//! process ([`Board::local`]), a file between processes of one machine ([`Board::file`]), etcd between
//! machines ([`Board::etcd`]). Callers do not depend on which one it is, except that the board can be
//! unreachable ([`Board::connection`]): then components continue with the last known state.
//!
//! Results do not use the board; see `wec-proto`.

mod agents;
mod answers;
mod board;
mod error;
mod keys;
mod kv;
mod lease;
mod membership;
mod node;
mod offset;
mod options;
mod pool;
mod quorum;
mod run;
mod session;
mod share;
mod stored;
mod strength;
mod url;
mod view;

pub use agents::info::{AgentInfo, Registration, Selection};
pub use agents::plan::{PlanAction, PlanChange, PlanState, PlanUpdate, SessionPlan, TRANSITIONS};
pub use agents::presence::AgentPresence;
pub use agents::task::{AgentState, AgentTask};
pub use agents::view::{AgentsView, Waiting};
pub use board::Board;
pub use error::BoardError;
#[cfg(feature = "test-util")]
pub use kv::link::Link;
pub use lease::{SendRight, Standing};
pub use membership::{Entry, Membership};
pub use node::{ClockOffset, Follows, NodeId, NodeInfo, NodeKind, NodeState};
pub use offset::ClockKeeper;
pub use options::{Connection, EtcdOptions, EtcdTls, EtcdUser, FileOptions};
pub use pool::{Pool, Wants};
pub use quorum::Quorum;
pub use run::RunRef;
pub use session::{
    Author, By, Change, ChangeTo, Changed, DEFAULT_SCENARIO, Limited, Limits, LiveCommand, LiveKind,
    LiveValue, Made, Pause, Phase, RunStatus, ScenarioStatus, Session, SessionSpec, SessionState, StagePoint,
    Target, Versioned,
};
pub use share::{Held, NodeShare, Parts, Shares};
pub use strength::{LoadUnit, Strength};
pub use url::{BOARD_WITHIN, BoardUrl, wait_for_board};
