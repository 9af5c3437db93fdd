//! The API that load generators report their runs to, and the writer of their points into InfluxDB.
//!
//! A load generator registers its run, may send live figures, and commits the result. During the run
//! its job writes a point every 15 s. Only this process has the database's credentials.
//!
//! The path of a point: HTTP request ([`api`]) → [`payload`] → [`Jobs`] (pure: what to write, and when) →
//! [`Writer`] (bounded, with retries) → [`Influx`]. A recorded run is written again without the first step.
//!
//! Our own runs use the same API as clients: see [`RunReporter`].

mod api;
mod client;
mod influx;
mod job;
mod job_file;
mod options;
mod payload;
mod point;
mod recorded;
mod reporter;
mod service;
mod shared;
mod webhook;
mod writer;

pub use client::{ClientError, ConsumerClient, RunStart};
pub use influx::{Influx, Login, WriteError};
pub use job::{Job, JobEnd, JobError, Jobs, Times};
pub use job_file::{JobFile, JobFileError};
pub use options::{ClientOptions, ConsumerListener, InfluxOptions, Options, parse_interval, run};
pub use payload::{Moment, Registration, Report, Wrong};
pub use point::{FieldValue, Point};
pub use recorded::RecordedPoints;
pub use reporter::{RunReport, RunReporter};
pub use service::{Config, Consumer, StartError};
pub use webhook::notify;
pub use writer::{Writer, WriterCounts};
