//! The log's formats, its writer, and its readers.

mod common;
mod cost;
mod documented;
mod formats;
mod hostile;
mod writer;
