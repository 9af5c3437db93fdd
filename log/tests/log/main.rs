//! The log's formats, its writer, and its readers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod checks;
mod common;
mod cost;
mod described;
mod documented;
mod formats;
mod hostile;
mod made;
mod writer;
