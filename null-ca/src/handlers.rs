//! The handlers of signed requests, by endpoint. `service.rs` authenticates requests before.

mod accounts;
mod certificates;
mod orders;
