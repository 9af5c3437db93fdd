//! What is made of a run's figures after the run.
//!
//! `wec-analytics` reads the log and counts it. Here the figures become one HTML file ([`html`]).

pub mod html;
