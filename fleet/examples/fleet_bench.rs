//! Time and memory of a simulation by cohorts: `cargo run --profile dist -p wec-fleet --example fleet_bench -- 400M 365d`.
//! Prints what docs/benchmarks.md has. Linux only: it reads `/proc`.

use std::time::Instant;

use wec_fleet::{Cohorts, FleetSettings, Outlook, Recorder};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let certificates = arguments.next().unwrap_or_else(|| "400M".to_owned());
    let length = arguments.next().unwrap_or_else(|| "365d".to_owned());
    let settings = FleetSettings {
        certificates,
        length,
        ca_rate: arguments.next(),
        events: arguments.collect(),
        ..FleetSettings::default()
    };
    let scenario = match settings.read() {
        Ok(scenario) => scenario,
        Err(wrong) => {
            eprintln!("{wrong}");
            std::process::exit(2);
        }
    };
    // A measurement needs the machine's clock; simulations have their own.
    #[allow(clippy::disallowed_methods)]
    let begun = Instant::now();
    let mut cohorts = Cohorts::new(scenario.clone());
    println!("{} groups at the start after {:.1} s", cohorts.groups(), begun.elapsed().as_secs_f64());
    let mut recorder = Recorder::new(&scenario, 300);
    let mut most = 0;
    for second in 0..scenario.length {
        recorder.record(cohorts.step());
        if second % 86_400 == 0 {
            most = most.max(cohorts.groups());
        }
    }
    let Outlook { total, demand, balanced, .. } = recorder.outlook();
    println!(
        "{} orders, {} issued, worst second {}, balanced: {balanced}; at most {most} groups",
        total.orders, total.issued, demand.peak_second.orders
    );
    println!("{:.1} s in all, at most {} of memory", begun.elapsed().as_secs_f64(), peak_memory());
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "?".to_owned(), |size| size.trim().to_owned())
}
