//! The memory and the time of a fleet that is driven, without a CA: each attempt is served at once.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;
use wec_fleet::{Cohorts, FleetSettings, LiveFleet, Outcome, text, time};
use wec_startup::Stop;

use super::process::{mib, peak_of_self};

/// Options of `wec bench fleet`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Certificates, each with a client of its own
    #[arg(long, value_name = "N", default_value = "10M")]
    certificates: String,
    /// Their lifetime
    #[arg(long, value_name = "TIME", default_value = "3d")]
    lifetime: String,
    /// Time of the fleet's clock; after a cycle of all classes each member is in a state of its own
    #[arg(long, value_name = "TIME", default_value = "3d", value_parser = time::duration)]
    length: i32,
}

pub(crate) async fn run(options: Options, stop: &Stop) -> anyhow::Result<()> {
    let settings = FleetSettings {
        certificates: options.certificates,
        lifetime: options.lifetime,
        length: time::duration_text(options.length),
        ..FleetSettings::default()
    };
    let scenario = settings.read().map_err(|wrong| anyhow!("{wrong}"))?;
    let stop = stop.clone();
    let length = options.length;
    tokio::task::spawn_blocking(move || {
        let before = peak_of_self()?;
        let started = Instant::now();
        let (members, lifetime) = (scenario.certificates, scenario.lifetime);
        let mut fleet = LiveFleet::of(Cohorts::new(scenario));
        let at_start = (started.elapsed(), peak_of_self()?, fleet.groups());
        println!(
            "{} members with certificates of {}, driven for {}",
            text::count(members),
            time::duration_text(lifetime),
            time::duration_text(length)
        );
        println!("{:<24} {:>12} {:>12} {:>12}", "", "at the start", "at the end", "unit");
        let (started, mut attempts, mut slowest) = (Instant::now(), 0_u64, Duration::ZERO);
        let mut tries = Vec::new();
        for _ in 0..length {
            if stop.finish.is_cancelled() {
                break;
            }
            let second = Instant::now();
            fleet.step(|member| tries.push(member));
            attempts += tries.len() as u64;
            tries.drain(..).for_each(|member| fleet.ended(member, Outcome::Issued));
            slowest = slowest.max(second.elapsed());
        }
        let took = started.elapsed();
        let mebibytes = |resident: u64| format!("{:.0}", mib(resident.saturating_sub(before)));
        let rows = [
            ("highest memory", mebibytes(at_start.1), mebibytes(peak_of_self()?), "MiB"),
            ("different states", text::count(at_start.2 as u64), text::count(fleet.groups() as u64), ""),
            ("time", format!("{:.1}", at_start.0.as_secs_f64()), format!("{:.1}", took.as_secs_f64()), "s"),
            ("attempts", "0".to_owned(), text::count(attempts), ""),
            (
                "time of an attempt",
                String::new(),
                format!("{:.2}", took.as_secs_f64() * 1e6 / attempts.max(1) as f64),
                "µs",
            ),
            ("slowest second", String::new(), format!("{:.0}", slowest.as_secs_f64() * 1e3), "ms"),
        ];
        for (name, at_start, at_end, unit) in rows {
            println!("{name:<24} {at_start:>12} {at_end:>12} {unit:>12}");
        }
        Ok(())
    })
    .await?
}
