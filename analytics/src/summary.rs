//! The summary that a person reads in a terminal at the end of a run.

use std::collections::BTreeSet;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table, TableComponent};
use wec_record::FailureClass;
use wec_record::threshold::Unit;

use crate::snapshot::{FailureFigures, FailureScope, GeneratorFigures, Snapshot, ThresholdResult, Timing};

/// The tables of a run, per chain and per endpoint, and what is missing from them. Ends with a newline.
pub fn summary_table(snapshot: &Snapshot) -> String {
    let mut text = format!(
        "{} in {}, {} HTTP requests ({}/s), {} failed\n\n",
        counted(snapshot.chains.values().map(|chain| chain.count).sum(), "iteration", "iterations"),
        duration(snapshot.elapsed_ns),
        snapshot.requests,
        rate(snapshot.rps),
        snapshot.requests_failed,
    );
    text.push_str(&limited(&snapshot.generator));
    let mut chains = table(&["chain"]);
    for (chain, figures) in &snapshot.chains {
        row(
            &mut chains,
            vec![chain.name().to_owned()],
            (figures.count, figures.failed, figures.rps),
            &figures.response_time_ns,
        );
    }
    // The URI is for telling endpoints of one name apart; without need it would make lines longer than terminals.
    let names: BTreeSet<&str> = snapshot.endpoints.iter().map(|figures| figures.endpoint.as_str()).collect();
    let apart = names.len() < snapshot.endpoints.len();
    let mut endpoints = table(if apart { &["endpoint", "request"] } else { &["endpoint"] });
    for figures in &snapshot.endpoints {
        let mut names = vec![figures.endpoint.clone()];
        if apart {
            names.push(format!("{} {}", figures.method, figures.uri).trim().to_owned());
        }
        row(&mut endpoints, names, (figures.count, figures.failed, figures.rps), &figures.response_time_ns);
    }
    push_thresholds(&mut text, &snapshot.thresholds);
    push_table(&mut text, &chains);
    if !snapshot.endpoints.is_empty() {
        push_table(&mut text, &endpoints);
    }
    text.push_str(
        "Times are response times, due to done, of the N that succeeded. A percentile needs 10 samples in its tail.\n",
    );
    let nonces = &snapshot.nonces;
    if let Some(share) = nonces.rejected_share {
        text.push_str(&format!(
            "Nonces: {} fetched, {} refused by the CA ({:.1} % of POSTs).\n",
            nonces.fetched,
            nonces.rejected,
            100.0 * share
        ));
    }
    // Refused nonces have their line; here they would hide what went wrong.
    let told = |failure: &&FailureFigures| {
        !(failure.scope == FailureScope::Request && failure.class == Some(FailureClass::BadNonce))
    };
    for failure in snapshot.failures.iter().filter(told).take(10) {
        let class = failure.class.map_or("unclassified", |class| class.name());
        let status = if failure.status == 0 { String::new() } else { format!(" {}", failure.status) };
        let problem =
            if failure.problem.is_empty() { String::new() } else { format!(" {}", failure.problem) };
        text.push_str(&format!(
            "{} × {} {class}{status}{problem}: {}\n",
            failure.count, failure.name, failure.example
        ));
    }
    text.push_str(&generator(&snapshot.generator));
    let state = snapshot.state;
    text.push_str(&format!(
        "State: {} registrations, {} authorizations ready, {} certificates, {} revoked\n",
        state.registrations, state.authorizations, state.certificates, state.revoked
    ));
    let missing = &snapshot.missing;
    for (count, what) in [
        (missing.lost_results, "results were lost by senders whose queue and spool were full"),
        (missing.unknown_chains, "results name no known chain and are in no chain's row"),
        (missing.clamped_times, "times above one hour were counted as one hour"),
        (missing.other_endpoints, "requests are in the row `other`: too many endpoints"),
    ] {
        if count > 0 {
            text.push_str(&format!("Attention: {count} {what}\n"));
        }
    }
    text
}

/// Loud, and before anything that it puts in doubt; empty for a run in which the load tester kept up.
fn limited(generator: &GeneratorFigures) -> String {
    if !generator.limited {
        return String::new();
    }
    let mut text = format!(
        "*** GENERATOR-LIMITED for {}: the load tester itself, and not the CA alone, decided what is below ***\n",
        duration(generator.limited_ns)
    );
    for limit in generator.limits.iter().take(5) {
        text.push_str(&format!("  - {}\n", limit.reason));
    }
    if generator.limits.len() > 5 {
        text.push_str(&format!("  - and {} more\n", generator.limits.len() - 5));
    }
    text.push('\n');
    text
}

/// One line with the figures by which it was judged; empty where nothing was measured.
fn generator(generator: &GeneratorFigures) -> String {
    let lag = &generator.lag_ns;
    if lag.n == 0 {
        return String::new();
    }
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let mut figures = vec![match lag.p99 {
        Some(p99) => format!("lag p99 {} (N {})", duration(p99), lag.n),
        None => format!("lag at most {} (N {})", duration(lag.max.unwrap_or(0)), lag.n),
    }];
    if let Some(cpu) = generator.cpu_share_max {
        figures.push(format!("busiest thread at most {} of a processor", percent(cpu)));
    }
    figures.push(format!("queue of results at most {} full", percent(generator.backlog_share_max)));
    if let Some(share) = generator.dropped_share {
        figures.push(format!(
            "{} of {} due iterations dropped ({:.2} %)",
            generator.dropped,
            generator.due,
            100.0 * share
        ));
    }
    let verdict = if generator.limited { "was limited" } else { "kept up" };
    format!("Load tester {verdict}: {}.\n", figures.join(", "))
}

/// The verdict comes before the figures that explain it: how each threshold did, and which one ended the run.
fn push_thresholds(text: &mut String, thresholds: &[ThresholdResult]) {
    if thresholds.is_empty() {
        return;
    }
    let width = thresholds.iter().map(|result| result.expression.chars().count()).max().unwrap_or(0);
    for result in thresholds {
        let (verdict, expression) = (verdict_of(result), &result.expression);
        text.push_str(&format!("{verdict:<9}  {expression:<width$}  {}\n", found(result)));
    }
    for result in thresholds.iter().filter(|result| result.aborted) {
        text.push_str(&format!("The run was cut short by {}\n", result.expression));
    }
    text.push('\n');
}

/// One threshold in a line: `FAILED chain.certificate{p(99)} < 2s: 2.31 s, N 4200`.
pub fn threshold_line(result: &ThresholdResult) -> String {
    format!("{} {}: {}", verdict_of(result), result.expression, found(result))
}

const fn verdict_of(result: &ThresholdResult) -> &'static str {
    match result.passed {
        Some(true) => "passed",
        Some(false) => "FAILED",
        None => "UNDECIDED",
    }
}

fn found(result: &ThresholdResult) -> String {
    let Some(value) = result.value else {
        return match result.windows {
            Some(_) => "no full window had enough samples".to_owned(),
            None if result.unit == Unit::Share && result.expression.starts_with("rate{") => {
                "no target was set".to_owned()
            }
            None => format!("too few samples: N {}", result.n),
        };
    };
    let value = match result.unit {
        Unit::Ns => duration(value as u64),
        // A share near its limit must not be rounded onto it.
        Unit::Share => format!("{} %", (value * 1e6).round() / 1e4),
        Unit::Count => format!("{value}"),
        Unit::PerSecond => format!("{value}/s"),
    };
    match (result.windows, result.windows_failed) {
        (Some(windows), Some(failed)) => {
            format!(
                "worst {value}, N {}; {failed} of {} failed",
                result.n,
                counted(windows, "window", "windows")
            )
        }
        _ if result.unit == Unit::Count => value,
        _ => format!("{value}, N {}", result.n),
    }
}

fn table(names: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─');
    let figures =
        ["count", "failed", "per s", "N", "mean", "std error", "p50", "p90", "p95", "p99", "p99.9", "max"];
    table.set_header(names.iter().copied().chain(figures));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        if index >= names.len() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn push_table(text: &mut String, table: &Table) {
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
}

fn row(table: &mut Table, names: Vec<String>, (count, failed, rps): (u64, u64, f64), timing: &Timing) {
    let figures = [count.to_string(), failed.to_string(), rate(rps), timing.n.to_string()];
    let times = [
        timing.mean,
        timing.std_error,
        timing.p50,
        timing.p90,
        timing.p95,
        timing.p99,
        timing.p99_9,
        timing.max,
    ];
    let times = times.map(|time| time.map_or_else(|| "–".to_owned(), duration));
    table.add_row(names.into_iter().chain(figures).chain(times).map(Cell::new));
}

/// Three digits and a unit: `1.23 ms`.
pub fn duration(ns: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let &(unit, size) = UNITS.iter().rev().find(|(_, size)| ns >= *size).unwrap_or(&UNITS[0]);
    let value = ns as f64 / size as f64;
    match value {
        _ if size == 1 => format!("{ns} ns"),
        ..9.995 => format!("{value:.2} {unit}"),
        ..99.95 => format!("{value:.1} {unit}"),
        ..999.5 => format!("{value:.0} {unit}"),
        // Rounding would write 1000: the next unit says 1.00; seconds have none.
        _ if unit == "s" => format!("{value:.0} s"),
        _ => duration(size * 1_000),
    }
}

fn rate(per_second: f64) -> String {
    if per_second < 9.995 { format!("{per_second:.2}") } else { format!("{per_second:.1}") }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (1_234_567, "1.23 ms"),
            (9_994_999, "9.99 ms"),
            (9_995_000, "10.0 ms"),
            (12_345_678, "12.3 ms"),
            (99_949_999, "99.9 ms"),
            (99_950_000, "100 ms"),
            (999_499_999, "999 ms"),
            (999_500_000, "1.00 s"),
            (60_000_000_000, "60.0 s"),
            (3_600_000_000_000, "3600 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }
}
