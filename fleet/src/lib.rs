//! A fleet: certificates that come due as real clients renew them, in simulated time and without I/O.
//!
//! - [`class`]: the client classes, with their sources: when a client looks, when it renews, what it does
//!   after a failure. [`seat`] has the arithmetic of their times.
//! - [`event`]: what happens to the fleet: outages, revocations, new lifetimes, growth, limits.
//! - [`scenario`]: the fleet, its events and the model of a CA. [`settings`] reads it from text.
//! - [`member`]: the state of one certificate and its changes. [`step`]: one second of the CA's model.
//! - Two simulators of the same scenario: [`naive`] has every member by itself, [`cohorts`] only counts of
//!   members in the same state. Both give a [`Tick`] for each second; tests compare them.
//! - [`outcome`]: what becomes of an attempt. [`live`]: the fleet with a real CA in place of the model.
//! - [`outlook`]: the figures of a simulation. [`text`] writes them for people, [`picture`] draws them.
//!
//! Seconds are counted from the start of the fleet's clock, which is at 00:00:00 UTC. Certificates from
//! before have negative times.

pub mod class;
pub mod cohorts;
pub mod event;
pub mod live;
pub mod member;
pub mod naive;
pub mod outcome;
pub mod outlook;
pub mod picture;
pub mod scenario;
pub mod seat;
pub mod settings;
pub mod step;
pub mod text;
pub mod time;

pub use class::{CLASSES, ClientClass};
pub use cohorts::Cohorts;
pub use event::Event;
pub use live::{Extremes, LiveFleet, Member};
pub use member::State;
pub use naive::Naive;
pub use outcome::Outcome;
pub use outlook::{Outlook, Recorder};
pub use picture::Picture;
pub use scenario::{CaModel, Scenario};
pub use settings::{FleetSettings, WrongSettings};
pub use step::{Flow, Tick};

/// A second on the fleet's clock; 0 is its start.
pub type Second = i32;

/// The highest speed of a fleet that is driven, seconds of its clock in a second: a day.
pub const MAX_SPEED: f64 = 86_400.0;
