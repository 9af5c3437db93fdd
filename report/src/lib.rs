//! Reports of a run's figures after the run.
//!
//! `wec-log` reads the log, and `wec-figures` counts it. Here the figures become one HTML file ([`html`]),
//! rows by what distinguishes them ([`by`]), CSV ([`csv`]) and HdrHistogram's percentile text ([`hdr`]).
//! [`compare`] compares the runs of two sides, and [`baseline`] stores what a comparison needs of a run.
//! [`reconcile`] compares a log with the CA's own list of certificates.

pub mod baseline;
pub mod by;
pub mod compare;
mod csv;
mod hdr;
pub mod html;
pub mod reconcile;

pub use self::csv::csv;
pub use self::hdr::hdr;
