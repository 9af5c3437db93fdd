//! Several nodes share one load while nodes join, leave, are killed, are stopped and are cut off. A CA of our own
//! counts the requests of each second: never more than the target, and the target again when other nodes have taken
//! over.
//!
//! [`faults`] has one test for each fault, [`sends`] is about the requests of chains that have begun, [`partition`] does
//! it with hosts in network namespaces, [`random`] draws faults from a seed, and [`hits`] is about wrong clocks of
//! challenge servers. With `WEC_SHARING=full` they run with the real lease of 10 s, at the worked example's tenth or at
//! `WEC_SHARING_RATE` (`scripts/soak` does that). [`table`] prints what the CA got.

mod cluster;
pub(crate) mod counted;
mod faults;
mod hits;
mod partition;
mod random;
mod sends;
mod table;
