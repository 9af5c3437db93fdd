//! `wec bench`: the cost of the load tester itself. Linux only: it reads `/proc`.
//!
//! Every measurement runs the real binary in separate processes, prints its baseline from the same run, and
//! is bounded in time and count. It makes no assertions.

mod arrivals;
mod fleet;
mod issuance;
mod live;
mod nodes;
pub(crate) mod process;
mod record;
mod soak;
mod workers;

use wec_startup::{Exit, Stop};

/// Options of `wec bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// How many iterations of a constant rate arrive, how late, and with which spacing
    Arrivals(arrivals::Options),
    /// Memory and time of a fleet of certificates that is driven, without a CA
    Fleet(fleet::Options),
    /// Client CPU of an issuance, with state store and result stream, beside the floor
    Issuance(issuance::Options),
    /// How fast a change of the number of workers takes effect, and which resources remain
    Live(live::Options),
    /// How fast node statistics are answered, by the number of nodes
    Nodes(nodes::Options),
    /// How fast results are written to the log, read for a report, and shown in the page
    Record(record::Options),
    /// Reads a log, and prints what that took
    #[command(hide = true)]
    Reading(record::Reading),
    /// Resident memory of many workers that wait for slow validations
    Workers(workers::Options),
    /// Resident memory over many chains, as in a long run
    Soak(soak::Options),
}

pub(crate) async fn bench(options: Options, stop: Stop) -> anyhow::Result<Exit> {
    match options.what {
        What::Arrivals(options) => arrivals::run(options, &stop).await?,
        What::Fleet(options) => fleet::run(options, &stop).await?,
        What::Issuance(options) => issuance::run(options, &stop).await?,
        What::Live(options) => live::run(options, &stop).await?,
        What::Nodes(options) => nodes::run(options, &stop).await?,
        What::Record(options) => record::run(options, &stop).await?,
        What::Reading(options) => record::read(options).await?,
        What::Workers(options) => workers::run(options, &stop).await?,
        What::Soak(options) => soak::run(options, &stop).await?,
    }
    Ok(if stop.by_signal() { Exit::Interrupted } else { Exit::Passed })
}
