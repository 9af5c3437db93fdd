//! Faults and latencies: the rules as written (`rules`), and the plan made from them, which decides about
//! each request (`plan`).

mod plan;
mod rules;

pub(crate) use plan::{Plan, Rules};
pub(crate) use rules::duration;
pub use rules::{
    Fault, FaultRule, Flaw, FlawRule, Latency, LatencyRule, RuleError, ServeRule, Share, Stall, Target,
};
