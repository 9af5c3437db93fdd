//! The board: which nodes are there, and what load a session wants of them.
//!
//! Every component subscribes to it and reacts; none commands another. A page changes a session here, requesters
//! see it and follow. The rules stand here once ([`Board`]), over a store of keys and values: in one process that is
//! memory ([`Board::local`]), between processes of one machine a file ([`Board::file`]), between machines etcd
//! ([`Board::etcd`]); callers cannot tell, except that the board can be away ([`Board::connection`]): then everybody goes on
//! with what was last seen.
//!
//! Results do not travel here; see `wec-proto`.

mod board;
mod error;
mod keys;
mod kv;
mod membership;
mod node;
mod options;
mod pool;
mod run;
mod session;
mod share;
mod stored;
mod url;
mod view;

pub use board::Board;
pub use error::BoardError;
#[cfg(feature = "test-util")]
pub use kv::link::Link;
pub use membership::Membership;
pub use node::{NodeId, NodeInfo, NodeKind, NodeState};
pub use options::{Connection, EtcdOptions, EtcdTls, EtcdUser, FileOptions};
pub use pool::{Pool, Wants};
pub use run::RunRef;
pub use session::{
    By, Change, ChangeTo, Changed, DEFAULT_SCENARIO, Limited, Limits, Made, Pause, Phase, RunStatus,
    ScenarioStatus, Session, SessionSpec, SessionState, StagePoint, Target, Versioned,
};
pub use share::Shares;
pub use url::BoardUrl;
