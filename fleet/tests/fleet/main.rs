//! The simulators and their classes through the crate's public items.

mod classes;
mod simulators;
