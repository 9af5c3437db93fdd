//! Runs virtual users: the plan, the check of the target, the choice of chains, and the delivery of results.
//!
//! Read in this order: [`config`] (flags, environment and file), [`plan`] (the validated plan), [`guard`]
//! (which targets may be loaded), [`run`] (workers that follow the board), [`pace`] (due times), [`executor`]
//! (when iterations start), [`picker`] (the next chain). Results go to `wec-delivery`. [`saturation`]
//! measures whether the load tester itself keeps up. Chains are in `wec-chains`, aggregation in
//! `wec-figures`.

pub mod alarm;
mod ca_watch;
mod calibration;
mod conductor;
pub mod config;
mod descriptors;
mod engine;
mod error;
pub mod executor;
pub mod guard;
mod header;
mod hook;
mod judgement;
mod known_server;
mod membership;
mod node;
mod offer;
pub mod pace;
mod permit;
pub mod picker;
pub mod plan;
mod profiles;
mod run;
pub mod saturation;
pub mod scenario;
mod service;
mod settings;
mod share;
mod stored;
mod user;
mod worker_seconds;

pub use calibration::{calibration_file, keep_calibration, read_calibration};
pub use config::{Flags, PlanOptions, plan_schema, session_schemas};
pub use config::{SecretRef, Secrets, SessionKeys, check_files_of_agent, keys_of_json, plan_for_agent};
pub use descriptors::warning as open_files_warning;
pub use engine::Runtimes;
pub use error::StartError;
pub use executor::{Gauges, Load};
pub use header::{PROGRAM, cpus};
pub use hook::{Hook, HookLog, HookedRun, run_hooks};
pub use known_server::{KnownServer, known_server};
pub use membership::SessionMembership;
pub use node::{Begun, Ended, Node, Surroundings};
pub use plan::{Challenges, Listen, Plan};
pub use run::{Parts, Requester, Workload, connect, preflight};
pub use scenario::Scenario;
pub use service::{
    Delivered, DeliveryOptions, RemoteOptions, RemotePart, dns_apart, remote_challenges, run_on, run_remote,
};
pub use stored::{Opened, open_state};
