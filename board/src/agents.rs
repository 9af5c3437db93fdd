//! Agents: machines that wait for sessions, and the sessions that are meant for them.
//!
//! | what | where |
//! | --- | --- |
//! | an agent: presence, registration, what it can do | [`info`] |
//! | a session as people plan it, its states and their transitions | [`plan`] |
//! | an agent's part of a session | [`task`] |
//! | all of that as seen by this process | [`view`] |
//! | when a session has ended | [`conclude`] |
//! | the operations on the board | `crate::board::agents`, [`presence`] |
//!
//! No agent gets a message. A session that is started is a value on the board, and each agent that it is meant for
//! takes it by a compare-and-swap under a key of its own. So a restart of any process in between changes nothing.

pub(crate) mod conclude;
pub(crate) mod info;
pub(crate) mod plan;
pub(crate) mod presence;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub(crate) mod view;
