//! What only a running service shows, as the JSON of the web API: runs, sessions, nodes, its own condition.
//!
//! The figures of a run are in `wec-figures`.

mod live;
mod plans;
mod replay;
mod runs;
pub(crate) mod schema;
mod sessions;

pub use self::live::{CapacityStep, CapacityView, Health, Live, NodeView, StepOutcome};
pub use self::plans::{AgentView, Agents, PartView, PlanView};
pub use self::replay::{ReadingView, ReplayState, ReplayView, RunSource};
pub use self::runs::{RunEnd, RunEntry, Runs};
pub use self::sessions::{Joining, LimitsView, ScenarioView, SessionEntry, SessionView, Sessions, ValueView};
