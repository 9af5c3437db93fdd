//! Runs virtual users: what a run is asked to do, whom it may load, which chain comes next, and where results go.
//!
//! A run reads in this order: [`plan`] (what was asked), [`guard`] (may it be done), [`run`] (workers that follow the
//! board), [`pace`] (when something is due), [`executor`] (when iterations start), [`picker`] (which chain), [`sink`]
//! (where results go). Whether it keeps up itself is watched by [`saturation`]. Chains live in `wec-chains`,
//! aggregation in `wec-analytics`.

mod calibration;
mod conductor;
mod engine;
mod error;
pub mod executor;
pub mod guard;
pub mod pace;
pub mod picker;
pub mod plan;
mod run;
pub mod saturation;
pub mod scenario;
mod schema;
mod search;
mod seat;
mod service;
pub mod settings;
mod share;
pub mod sink;
mod user;
mod values;

pub use calibration::{calibration_file, keep_calibration, read_calibration};
pub use error::StartError;
pub use executor::Gauges;
pub use plan::{Challenges, Listen, Plan, PlanOptions};
pub use run::{NodeId, Parts, Requester, Workload, preflight};
pub use scenario::{Load, Scenario, Stage};
pub use schema::plan_schema;
pub use search::SearchOptions;
pub use seat::Seat;
pub use service::{
    Delivered, PROGRAM, RemoteOptions, cpus, dns_apart, identify, open_state, remote_challenges, run_remote,
};
