//! What each endpoint does with a signed request. Who may call it is checked before, in `service.rs`.

mod accounts;
mod certificates;
mod orders;
