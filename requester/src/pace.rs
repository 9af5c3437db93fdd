//! When work is due: pure functions of active time, without a clock and without waiting.
//!
//! A schedule is a [`Ramp`]: a number per second (or of workers) at each moment. Its integral is the number
//! due by then, and the inverse of the integral is the due time of the n-th. So due times are always computed
//! from a run's start and not from the last wake-up, and delays do not add up to a drift.

mod arrivals;
mod bound;
mod budget;
mod fit;
mod ramp;
mod turns;

pub use arrivals::{Arrivals, Spacing};
pub use bound::StartBound;
pub use budget::{Charge, RequestBudget};
pub use fit::Fit;
pub use ramp::Ramp;
pub use turns::Turns;
