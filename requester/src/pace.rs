//! When work is due: pure functions of active time, without a clock and without waiting.
//!
//! A schedule is a [`Ramp`]: so many per second (or so many workers) at each moment. Its integral says how many were due
//! by then, and the inverse of that says when the n-th is due. What is due is therefore always computed from a run's
//! beginning and never from the last wake-up: no delay anywhere adds up to a drift.

mod arrivals;
mod budget;
mod fit;
mod ramp;
mod turns;

pub use arrivals::{Arrivals, Spacing};
pub use budget::{Charge, RequestBudget};
pub use fit::Fit;
pub use ramp::Ramp;
pub use turns::Turns;
