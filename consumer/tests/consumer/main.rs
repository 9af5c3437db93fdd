//! The consumer against clients, a fake database, and the real ones.

mod api;
mod common;
mod locust;
mod real_influx;
mod writer;
