//! `wec fleet`: the load of a fleet of certificates on a CA. [`plan`] simulates it without a CA, [`drive`] drives a
//! window of its time at one; [`observed`] are its figures during the run.

mod drive;
mod observed;
mod plan;
mod settings;

pub(crate) use observed::Observer;
use wec_startup::{Exit, Stop};

/// Options of `wec fleet`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Simulate the fleet against a model of a CA: demand, worst minute, backlog, expired certificates
    Plan(Box<plan::Options>),
    /// Drive a window of the fleet's time at a CA: its clients renew for real
    Drive(Box<drive::Options>),
}

pub(crate) async fn fleet(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    match options.what {
        What::Plan(options) => plan::plan(*options, stop).await,
        What::Drive(options) => drive::drive(*options, stop).await,
    }
}
