//! The summary that a person reads in a terminal at the end of a run.

use std::collections::BTreeMap;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table, TableComponent};
use wec_record::threshold::Unit;
use wec_record::{Chain, FailureClass, Reach};
use wec_startup::Paper;

use crate::snapshot::{
    ChainFigures, EndpointFigures, FailureFigures, FailureScope, GeneratorFigures, Snapshot, ThresholdResult,
    Timing,
};

/// The tables of a run, per chain and per endpoint, and what is missing from them, for paper of this kind. Ends with a
/// newline.
///
/// On narrow paper the tables leave columns away, the least needed first, and say which.
pub fn summary_table(snapshot: &Snapshot, paper: Paper) -> String {
    let prose = |line: String| paper.wrapped(&line, 4);
    let failed: u64 = snapshot.chains.values().map(|chain| chain.failed).sum();
    let mut text = prose(format!(
        "{} in {}, {failed} failed; {} HTTP requests ({}/s), {} failed\n\n",
        counted(snapshot.chains.values().map(|chain| chain.count).sum(), "iteration", "iterations"),
        duration(snapshot.elapsed_ns),
        snapshot.requests,
        rate(snapshot.rps),
        snapshot.requests_failed,
    ));
    if snapshot.marks.iter().any(|mark| mark.what == "state" && mark.by == "signal") {
        text.push_str(
            &paper.doubtful(&prose("INTERRUPTED: there is no verdict on a part of a run\n\n".to_owned())),
        );
    }
    text.push_str(&limited(&snapshot.generator, paper));
    push_thresholds(&mut text, &snapshot.thresholds, paper);
    push_loads(&mut text, snapshot, paper);

    let chains = Rows { name: "chain", rows: snapshot.chains.iter().map(chain_row).collect() };
    let (endpoints, apart) = endpoint_rows(&snapshot.endpoints);
    let mut columns = Column::of(&chains.rows);
    let mut left_out = Vec::new();
    for column in Column::LEFT_OUT {
        let width = chains.table(&columns).width().max(endpoints.table(&columns).width());
        if paper.columns.is_none_or(|columns| width <= columns) {
            break;
        }
        if let Some(place) = columns.iter().position(|other| *other == column) {
            left_out.push(columns.remove(place).name());
        }
    }
    for rows in [&chains, &endpoints] {
        if !rows.rows.is_empty() {
            rows.table(&columns).push(&mut text, paper);
        }
        if std::ptr::eq(rows, &endpoints) && !apart.is_empty() {
            text.pop();
            text.push_str(&prose(apart.clone()));
            text.push('\n');
        }
    }
    let mut about =
        "Times are response times, due to done, of the N that succeeded. Below each percentile: its 95 % confidence interval.\n\
         A percentile with fewer than 10 samples in its tail is withheld (–)."
            .to_owned();
    if !left_out.is_empty() {
        about.push_str(&format!(" Too wide for here, but in --json: {}.", left_out.join(", ")));
    }
    text.push_str(&prose(about + "\n"));
    push_notes(&mut text, snapshot, prose);
    text
}

/// Nonces, failures, the load tester, what there is now, and what is missing: a line each.
fn push_notes(text: &mut String, snapshot: &Snapshot, prose: impl Fn(String) -> String) {
    let nonces = &snapshot.nonces;
    if let Some(share) = nonces.rejected_share {
        text.push_str(&prose(format!(
            "Nonces: {} fetched, {} refused by the CA ({:.1} % of POSTs).\n",
            nonces.fetched,
            nonces.rejected,
            100.0 * share
        )));
    }
    push_failures(text, snapshot, &prose);
    text.push_str(&prose(generator(&snapshot.generator)));
    text.push_str(&prose(ceiling(snapshot)));
    let state = snapshot.state;
    text.push_str(&prose(format!(
        "State: {} registrations, {} authorizations ready, {} certificates, {} revoked\n",
        state.registrations, state.authorizations, state.certificates, state.revoked
    )));
    let missing = &snapshot.missing;
    for (count, what) in [
        (missing.lost_results, "results were lost by senders whose queue and spool were full"),
        (missing.unknown_chains, "results name no known chain and are in no chain's row"),
        (missing.clamped_times, "times above one hour were counted as one hour"),
        (missing.other_endpoints, "requests are in the row `other`: too many endpoints"),
    ] {
        if count > 0 {
            text.push_str(&prose(format!("Attention: {count} {what}\n")));
        }
    }
}

/// What failed, most frequent first: chains apart from the requests that they failed by.
fn push_failures(text: &mut String, snapshot: &Snapshot, prose: impl Fn(String) -> String) {
    for (scope, title) in [(FailureScope::Chain, "Failed chains"), (FailureScope::Request, "Failed requests")]
    {
        // Refused nonces have their line; here they would hide what went wrong.
        let told = |failure: &&FailureFigures| {
            failure.scope == scope
                && !(scope == FailureScope::Request && failure.class == Some(FailureClass::BadNonce))
        };
        let failures: Vec<_> = snapshot.failures.iter().filter(told).collect();
        if failures.is_empty() {
            continue;
        }
        text.push_str(&format!("{title}:\n"));
        for failure in failures.iter().take(5) {
            let class = failure.class.map_or("unclassified", |class| class.name());
            let status = if failure.status == 0 { String::new() } else { format!(" {}", failure.status) };
            let problem =
                if failure.problem.is_empty() { String::new() } else { format!(" {}", failure.problem) };
            // A request's message begins with its endpoint, which is said already.
            let example =
                failure.example.strip_prefix(&format!("{}: ", failure.name)).unwrap_or(&failure.example);
            text.push_str(&prose(format!(
                "  {} × {}, {class}{status}{problem}: {example}\n",
                failure.count, failure.name
            )));
        }
        if failures.len() > 5 {
            let others: u64 = failures[5..].iter().map(|failure| failure.count).sum();
            text.push_str(&format!("  {others} of {} other kinds: --json has them\n", failures.len() - 5));
        }
    }
}

/// Loud, and before anything that it puts in doubt; empty for a run in which the load tester kept up.
fn limited(generator: &GeneratorFigures, paper: Paper) -> String {
    if !generator.limited {
        return String::new();
    }
    let title = format!(
        "*** GENERATOR-LIMITED for {}: the load tester itself, and not the CA alone, decided what is below ***",
        duration(generator.limited_ns)
    );
    let mut text: String = paper.wrapped(&title, 4).lines().map(|line| paper.doubtful(line) + "\n").collect();
    for limit in generator.limits.iter().take(5) {
        text.push_str(&paper.wrapped(&format!("  - {}\n", limit.reason), 4));
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

/// What the load tester's machine can do at most, where it was measured, and how near to it the run came.
fn ceiling(snapshot: &Snapshot) -> String {
    let Some(calibration) = &snapshot.run.stamp.calibration else { return String::new() };
    let most = calibration.requests_per_s;
    let reached = if most > 0.0 {
        format!(" ({:.0} % of it here)", 100.0 * snapshot.rps / most)
    } else {
        String::new()
    };
    let kept_up = calibration
        .kept_up_chains_per_s
        .map_or(String::new(), |rate| format!(", keeps up to {rate:.0} chains/s"));
    let date = time::OffsetDateTime::from_unix_timestamp_nanos(calibration.measured_unix_ns.into())
        .map_or(String::new(), |at| format!(" on {}", at.date()));
    format!(
        "Its ceiling, by wec calibrate{date}: {most:.0} requests/s{reached}, {:.0} chains/s{kept_up}, {}{} workers.\n",
        calibration.chains_per_s,
        if calibration.workers_at_least { "at least " } else { "" },
        calibration.workers,
    )
}

/// The verdict comes before the figures that explain it: how each threshold did, and which one ended the run.
fn push_thresholds(text: &mut String, thresholds: &[ThresholdResult], paper: Paper) {
    if thresholds.is_empty() {
        return;
    }
    let longest = thresholds.iter().map(|result| result.expression.chars().count()).max().unwrap_or(0);
    // What was found stands in a column of its own where there is room, else below what was asked.
    let found_width = thresholds.iter().map(|result| found(result).chars().count()).max().unwrap_or(0);
    let beside = paper.columns.is_none_or(|columns| 9 + 2 + longest + 2 + found_width <= columns);
    for result in thresholds {
        let verdict = format!("{:<9}", verdict_of(result));
        let verdict = match result.passed {
            Some(true) => paper.good(&verdict),
            Some(false) => paper.bad(&verdict),
            None => paper.doubtful(&verdict),
        };
        let (expression, found) = (&result.expression, found(result));
        if beside {
            text.push_str(&format!("{verdict}  {expression:<longest$}  {found}\n"));
        } else {
            text.push_str(&format!("{verdict}  {expression}\n           {found}\n"));
        }
    }
    for result in thresholds.iter().filter(|result| result.aborted) {
        text.push_str(&paper.wrapped(&format!("The run was cut short by {}\n", result.expression), 2));
    }
    text.push('\n');
}

/// What was reached of what was asked for, for scenarios with a rate or a count of their own.
fn push_loads(text: &mut String, snapshot: &Snapshot, paper: Paper) {
    let mut any = false;
    for (name, scenario) in &snapshot.scenarios {
        let unit = match &*scenario.rate_unit {
            "" if scenario.asked == 0 => continue,
            "" => "iterations",
            unit => unit,
        };
        any = true;
        let done = if scenario.rate_unit == "requests" { scenario.requests } else { scenario.ended };
        let share = match scenario.asked {
            0 => String::new(),
            asked => format!(" ({:.1} %)", 100.0 * done as f64 / asked as f64),
        };
        let mut line = format!(
            "Load {name} ({}): {done} of {} {} asked for{share}",
            scenario.executor, scenario.asked, unit
        );
        if scenario.dropped > 0 {
            let share = 100.0 * scenario.dropped as f64 / scenario.due.max(1) as f64;
            line.push_str(&format!(
                "; {} of {} due iterations DROPPED ({share:.2} %): all workers were busy",
                scenario.dropped, scenario.due
            ));
        }
        let short_ns = scenario.capped_ns + scenario.saturated_ns;
        line.push_str(match scenario.reach {
            Some(Reach::Reached) if short_ns > 0 => "; target reached in the end",
            Some(Reach::Reached) => "; target reached",
            Some(Reach::Approaching) => "; target not reached yet",
            Some(Reach::Capped | Reach::Saturated) | None => "",
        });
        for (what, why, ns) in [
            ("CAPPED", "the cap on workers was too low for the CA's response time", scenario.capped_ns),
            ("SATURATED", "the CA gave no more, however many workers there were", scenario.saturated_ns),
        ] {
            if ns > 0 {
                line.push_str(&format!("; {what} for {}: {why}", duration(ns)));
            }
        }
        let short = scenario.dropped > 0 || short_ns > 0;
        for line in paper.wrapped(&line, 2).lines() {
            text.push_str(&if short { paper.doubtful(line) } else { line.to_owned() });
            text.push('\n');
        }
    }
    if any {
        text.push('\n');
    }
}

/// One threshold in a line: `FAILED chain.certificate{p(99)} < 2s: 2.31 s, N 4200`.
pub fn threshold_line(result: &ThresholdResult) -> String {
    format!("{} {}: {}", verdict_of(result), result.expression, found(result))
}

/// The complaint about the thresholds that did not hold, in lines; empty when all did.
pub fn broken_thresholds(snapshot: &Snapshot) -> Vec<String> {
    let all = &snapshot.thresholds;
    let broken: Vec<_> = all.iter().filter(|result| result.passed != Some(true)).collect();
    if broken.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("error: {} of {} thresholds did not hold:", broken.len(), all.len())];
    lines.extend(broken.into_iter().map(|result| format!("  {}", threshold_line(result))));
    lines
}

/// What is wrong with a run in which nothing worked.
pub fn nothing_succeeded(snapshot: &Snapshot) -> Option<String> {
    let chains = snapshot.chains.values();
    let (ended, failed) =
        chains.fold((0, 0), |(ended, failed), chain| (ended + chain.count, failed + chain.failed));
    let none = "not one chain ran to its end: is there anything that the limits and weights allow?";
    match (ended, failed) {
        (0, _) => Some(none.to_owned()),
        (ended, failed) if ended == failed => Some(format!("nothing succeeded: all {ended} chains failed")),
        _ => None,
    }
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
        Unit::Share => percent(value, result.limit),
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

/// A share with two decimals, or as many more as it takes to be told from its limit.
fn percent(share: f64, limit: f64) -> String {
    let rounded = |share: f64, size: f64| (100.0 * share * size).round() / size;
    let told = [1e2, 1e3, 1e4, 1e5].into_iter().find(|size| rounded(share, *size) != rounded(limit, *size));
    format!("{} %", rounded(share, told.unwrap_or(1e2)))
}

/// A figure of every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Count,
    Failed,
    Abandoned,
    PerSecond,
    N,
    Mean,
    StdError,
    P50,
    P90,
    P95,
    P99,
    P99_9,
    Max,
}

impl Column {
    /// In the order in which they stand.
    const ALL: [Self; 13] = [
        Self::Count,
        Self::Failed,
        Self::Abandoned,
        Self::PerSecond,
        Self::N,
        Self::Mean,
        Self::StdError,
        Self::P50,
        Self::P90,
        Self::P95,
        Self::P99,
        Self::P99_9,
        Self::Max,
    ];

    /// In the order in which they go where there is no room. Names, failures, N, median and p99 stay.
    const LEFT_OUT: [Self; 8] = [
        Self::StdError,
        Self::Count,
        Self::P90,
        Self::Mean,
        Self::P99_9,
        Self::PerSecond,
        Self::P95,
        Self::Max,
    ];

    /// Those that say something about these chains: all, but one about abandoned orders only where there are any.
    fn of(chains: &[Row<'_>]) -> Vec<Self> {
        let abandoned = chains.iter().any(|row| row.abandoned > 0);
        Self::ALL.into_iter().filter(|column| *column != Self::Abandoned || abandoned).collect()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::PerSecond => "per s",
            Self::N => "N",
            Self::Mean => "mean",
            Self::StdError => "std error",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P99_9 => "p99.9",
            Self::Max => "max",
        }
    }
}

/// What one row of a table is made of.
struct Row<'a> {
    name: String,
    count: u64,
    failed: u64,
    abandoned: u64,
    rps: f64,
    timing: &'a Timing,
}

impl Row<'_> {
    fn cell(&self, column: Column) -> String {
        let timing = self.timing;
        let (time, between) = match column {
            Column::Count => return self.count.to_string(),
            Column::Failed => return self.failed.to_string(),
            Column::Abandoned => return self.abandoned.to_string(),
            Column::PerSecond => return rate(self.rps),
            Column::N => return timing.n.to_string(),
            Column::Mean => (timing.mean, None),
            Column::StdError => (timing.std_error, None),
            Column::P50 => (timing.p50, timing.p50_ci),
            Column::P90 => (timing.p90, timing.p90_ci),
            Column::P95 => (timing.p95, timing.p95_ci),
            Column::P99 => (timing.p99, timing.p99_ci),
            Column::P99_9 => (timing.p99_9, timing.p99_9_ci),
            Column::Max => (timing.max, None),
        };
        match (time, between) {
            (None, _) => "–".to_owned(),
            (Some(time), None) => duration(time),
            (Some(time), Some(between)) => format!("{}\n{}", duration(time), interval(time, between)),
        }
    }
}

/// The rows of one table, and what its first column is called.
struct Rows<'a> {
    name: &'static str,
    rows: Vec<Row<'a>>,
}

fn chain_row<'a>((chain, figures): (&Chain, &'a ChainFigures)) -> Row<'a> {
    Row {
        name: chain.name().to_owned(),
        count: figures.count,
        failed: figures.failed,
        abandoned: figures.abandoned,
        rps: figures.rps,
        timing: &figures.response_time_ns,
    }
}

/// Endpoints of one name are numbered, and told apart by their URI templates in the text that is returned beside: in the
/// table these would make lines longer than terminals.
fn endpoint_rows(endpoints: &[EndpointFigures]) -> (Rows<'_>, String) {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut apart = String::new();
    let rows = endpoints.iter().map(|figures| {
        let name = figures.endpoint.as_str();
        let mut row = Row {
            name: name.to_owned(),
            count: figures.count,
            failed: figures.failed,
            abandoned: 0,
            rps: figures.rps,
            timing: &figures.response_time_ns,
        };
        if endpoints.iter().filter(|other| other.endpoint == name).count() > 1 {
            let number = seen.entry(name).and_modify(|number| *number += 1).or_insert(1);
            row.name = format!("{name} {number}");
            apart.push_str(&format!("{}: {} {}\n", row.name, figures.method, figures.uri));
        }
        row
    });
    let rows = Rows { name: "endpoint", rows: rows.collect() };
    (rows, apart)
}

impl Rows<'_> {
    fn table(&self, columns: &[Column]) -> Lines {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─');
        table.set_header(std::iter::once(self.name).chain(columns.iter().map(|column| column.name())));
        let mut faint = vec![false; 2];
        for row in &self.rows {
            let cells: Vec<String> = columns.iter().map(|column| row.cell(*column)).collect();
            faint.push(false);
            faint.extend(cells.iter().any(|cell| cell.contains('\n')).then_some(true));
            table.add_row(std::iter::once(row.name.clone()).chain(cells).map(Cell::new));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 1));
            if index > 0 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Lines { lines: table.lines().map(|line| line.trim_end().to_owned()).collect(), faint }
    }
}

/// A table as lines.
struct Lines {
    lines: Vec<String>,
    /// Which of them are there for the second look.
    faint: Vec<bool>,
}

impl Lines {
    fn width(&self) -> usize {
        self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0)
    }

    fn push(&self, text: &mut String, paper: Paper) {
        for (line, faint) in self.lines.iter().zip(self.faint.iter().chain(std::iter::repeat(&false))) {
            text.push_str(&if *faint { paper.dim(line) } else { line.clone() });
            text.push('\n');
        }
        text.push('\n');
    }
}

/// The ends of an interval in the unit of the value that it is around, and with as many decimals: `1.21–1.25`.
fn interval(value: u64, [low, high]: [u64; 2]) -> String {
    let text = duration(value);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, "ns"));
    let size = UNITS.iter().find(|(name, _)| *name == unit).map_or(1, |(_, size)| *size) as f64;
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    format!("{:.decimals$}–{:.decimals$}", low as f64 / size, high as f64 / size)
}

const UNITS: [(&str, u64); 4] = [("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// Three digits and a unit: `1.23 ms`.
pub fn duration(ns: u64) -> String {
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

/// `1 window`, `3 windows`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_in_the_unit_and_to_the_digit_of_its_value() {
        let cases = [
            (26_400_000, [26_240_000, 26_560_000], "26.2–26.6"),
            (1_000_000, [998_000, 1_250_000], "1.00–1.25"),
            (999_000_000, [960_000_000, 1_100_000_000], "960–1100"),
            (1_230_000_000, [9_000_000, 1_230_000_000], "0.01–1.23"),
            (12, [3, 40], "3–40"),
        ];
        for (value, between, text) in cases {
            assert_eq!(interval(value, between), text);
        }
    }

    #[test]
    fn a_share_is_not_rounded_onto_its_limit() {
        let cases = [
            (0.981_055, 0.95, "98.11 %"),
            (0.010_01, 0.01, "1.001 %"),
            (0.01, 0.01, "1 %"),
            (0.0, 0.01, "0 %"),
            (0.010_000_01, 0.01, "1 %"),
        ];
        for (share, limit, text) in cases {
            assert_eq!(percent(share, limit), text);
        }
    }

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
