//! `wec bench`: what the load tester itself costs. Linux only: it reads `/proc`.
//!
//! Every measurement runs the real binary in processes of their own, prints what it compares with from the same
//! run, and is bounded in time and count. Nothing here asserts; the figures are for people.

mod arrivals;
mod issuance;
mod live;
pub(crate) mod process;
mod soak;
mod workers;

use wec_startup::{Exit, Stop};

/// What `wec bench` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How many iterations of a constant rate arrive, how late, and how they lie in time
    Arrivals(arrivals::Options),
    /// Client CPU of an issuance, state store and result stream included, beside the floor
    Issuance(issuance::Options),
    /// How soon a live change of the workers takes effect, and what it leaves behind
    Live(live::Options),
    /// Resident memory with many workers waiting on slow validations
    Workers(workers::Options),
    /// Resident memory over a long run, compressed into many chains
    Soak(soak::Options),
}

pub(crate) async fn bench(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    match options.what {
        What::Arrivals(options) => arrivals::run(options, &stop).await?,
        What::Issuance(options) => issuance::run(options, &stop).await?,
        What::Live(options) => live::run(options, &stop).await?,
        What::Workers(options) => workers::run(options, &stop).await?,
        What::Soak(options) => soak::run(options, &stop).await?,
    }
    Ok(if stop.by_signal() { Exit::Interrupted } else { Exit::Passed })
}
