//! The summary for the terminal at the end of a run.

mod tables;
mod whose_time;

use wec_figures::outcome::{missing, outcome, threshold_value, verdict_of};
use wec_figures::snapshot::{
    FailureFigures, FailureScope, GapFigures, GeneratorFigures, ObservedFigures, Snapshot, ThresholdResult,
};
use wec_figures::wording::{counted, duration, interval, rate};
use wec_record::{FailureClass, Reach, RunOutcome};
use wec_startup::TextStyle;
use wec_text::visible;

use self::tables::{Column, Rows, chain_row, endpoint_rows};

/// The tables of a run, per chain and per endpoint, and what is missing in them, in this style. Ends with a
/// newline.
///
/// If the terminal is narrow, the least important columns are left out and named below the table.
pub fn summary_table(snapshot: &Snapshot, style: TextStyle) -> String {
    let prose = |line: String| style.wrapped(&line, 4);
    let failed: u64 = snapshot.chains.values().map(|chain| chain.failed).sum();
    let cut_off: u64 = snapshot.chains.values().map(|chain| chain.cut_off).sum();
    let cut = if cut_off > 0 { format!(", {cut_off} cut off") } else { String::new() };
    let mut text = String::new();
    if let Some(period) = &snapshot.period {
        let (from, to) = (duration(period.from_ns), duration(period.to_ns));
        text += &prose(format!("Only the part of the run from {from} to {to} after its start\n"));
    }
    if snapshot.run.warm_up_ns > 0 && snapshot.period.is_none() {
        let warm_up = duration(snapshot.run.warm_up_ns);
        text += &prose(format!("Without the first {warm_up} of the run, its warm-up\n"));
    }
    text += &prose(issued(snapshot));
    text += &prose(format!(
        "{} in {}, {failed} failed{cut}; {} HTTP requests ({}/s), {} failed\n\n",
        counted(snapshot.chains.values().map(|chain| chain.count).sum(), "iteration", "iterations"),
        duration(snapshot.elapsed_ns),
        snapshot.requests,
        rate(snapshot.rps),
        snapshot.requests_failed,
    ));
    let unknown = snapshot.missing.unknown_chains;
    if unknown > 0 {
        text.pop();
        text += &prose(format!(
            "{} that this version does not know: not among the iterations, only the requests are counted\n\n",
            counted(unknown, "more result is of a chain", "more results are of chains")
        ));
    }
    if outcome(snapshot) == RunOutcome::Interrupted {
        text.push_str(&style.doubtful(&prose("INTERRUPTED: a partial run has no verdict\n\n".to_owned())));
    }
    text.push_str(&limited(&snapshot.generator, style));
    push_thresholds(&mut text, &snapshot.thresholds, style);
    for chain in &snapshot.never_succeeded {
        let line = style.wrapped(&format!("{:<9}  {}\n", "FAILED", chain.why), 11);
        text.push_str(&style.bad(line.trim_end()));
        text.push_str("\n\n");
    }
    push_loads(&mut text, snapshot, style);

    let chains = Rows { name: "chain", rows: snapshot.listed_chains().map(chain_row).collect() };
    let (endpoints, apart) = endpoint_rows(snapshot);
    let mut columns = Column::of(chains.rows.iter().chain(&endpoints.rows));
    let mut left_out = Vec::new();
    for column in Column::LEFT_OUT {
        let width = chains.table(&columns).width().max(endpoints.table(&columns).width());
        if style.columns.is_none_or(|columns| width <= columns) {
            break;
        }
        if let Some(place) = columns.iter().position(|other| *other == column) {
            left_out.push(columns.remove(place).name());
        }
    }
    for rows in [&chains, &endpoints] {
        if !rows.rows.is_empty() {
            rows.table(&columns).push(&mut text, style);
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
        about.push_str(&format!(
            " Left out for lack of width, but in wec report --json: {}.",
            left_out.join(", ")
        ));
    }
    text.push_str(&prose(about + "\n\n"));
    text.push_str(&whose_time::whose_time(snapshot, prose));
    push_notes(&mut text, snapshot, prose);
    text
}

/// Nonces, failures, the load tester, the state, and what is missing: a line each.
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
    let connections = &snapshot.connections;
    if connections.reconnects > 0 {
        text.push_str(&prose(format!(
            "Connections: {} new, {} requests on reused ones; {} sent again on a new connection, \
             because theirs was closed or reset before any answer.\n",
            connections.new,
            connections.reused,
            counted(connections.reconnects, "request", "requests"),
        )));
    }
    let unknown: u64 = snapshot.endpoints.iter().map(|endpoint| endpoint.outcome_unknown).sum();
    if unknown > 0 {
        text.push_str(&prose(format!(
            "Outcome unknown: {} sent, and no answer, a 5xx or one that cannot be read came back: the CA may have carried \
             them out or not.\n",
            counted(unknown, "request was", "requests were")
        )));
    }
    push_failures(text, snapshot, &prose);
    for (reason, count) in &snapshot.unverified {
        text.push_str(&prose(format!(
            "Unverified certificates: {count}, which could not be checked: {reason}\n"
        )));
    }
    if snapshot.refused_origins > 0 {
        text.push_str(&prose(format!(
            "Refused origins: {} not sent, because this run may not load the servers that the CA named, or their addresses.\n",
            counted(snapshot.refused_origins, "request was", "requests were")
        )));
    }
    push_gaps(text, snapshot, &prose);
    text.push_str(&prose(generator(&snapshot.generator)));
    text.push_str(&prose(ceiling(snapshot)));
    text.push_str(&prose(observed(&snapshot.observed)));
    let state = snapshot.state;
    text.push_str(&prose(format!(
        "State: {} registrations, {} authorizations ready, {} certificates, {} revoked\n",
        state.registrations, state.authorizations, state.certificates, state.revoked
    )));
    if snapshot.orders_expired > 0 {
        text.push_str(&prose(format!(
            "Attention: {} dropped as expired before they were used; {}\n",
            counted(snapshot.orders_expired, "ready order was", "ready orders were"),
            wec_record::clock_ahead(snapshot.ca_clock_ahead_s)
        )));
    }
    push_warnings(text, snapshot, &prose);
    for (count, what) in missing(snapshot) {
        text.push_str(&prose(format!("Attention: {count} {what}\n")));
    }
}

/// Gaps that are listed.
const MAX_GAPS: usize = 20;

/// From when to when the target was not reached because nodes were lost or too weak, after the run's start.
fn push_gaps(text: &mut String, snapshot: &Snapshot, prose: impl Fn(String) -> String) {
    let since = |unix_ns: u64| duration(unix_ns.saturating_sub(snapshot.run.started_unix_ns));
    for gap in snapshot.gaps.iter().take(MAX_GAPS) {
        let GapFigures { scenario, from_unix_ns, to_unix_ns, required, missing, unit } = gap;
        text.push_str(&prose(format!(
            "Gap {}: from {} to {} after the start, {missing} of {required} {} were no node's part\n",
            visible(scenario),
            since(*from_unix_ns),
            since(*to_unix_ns),
            visible(unit),
        )));
    }
    let more = snapshot.gaps.len().saturating_sub(MAX_GAPS);
    if more > 0 {
        text.push_str(&prose(format!("Gaps: {more} more are in the marks\n")));
    }
}

/// Observed series that are listed.
const MAX_MOVED: usize = 8;

/// Which metrics of other programs moved with the response times.
fn observed(observed: &[ObservedFigures]) -> String {
    let Some(points) = observed.iter().map(|figures| figures.points).max() else { return String::new() };
    let series = counted(observed.len() as u64, "series", "series");
    if observed.iter().all(|figures| figures.rank_correlation.is_none()) {
        return format!(
            "Observed: {series}; {} with an issuance are too few to compare them\n",
            counted(points, "second", "seconds")
        );
    }
    let moved: Vec<_> = observed.iter().filter(|figures| figures.moved()).collect();
    if moved.is_empty() {
        return format!("Observed: {series}; none moved with the mean response time of issuances\n");
    }
    let mut text = format!(
        "Observed: {} of {series} moved with the mean response time of issuances (rank correlation; no proof of a cause):\n",
        moved.len()
    );
    for figures in moved.iter().take(MAX_MOVED) {
        text += &format!(
            "  {:+.2}  {} ({}), N {}\n",
            figures.rank_correlation.unwrap_or_default(),
            visible(&figures.full_name()),
            figures.measure.about(),
            figures.points
        );
    }
    if moved.len() > MAX_MOVED {
        text += &format!("  and {} more, in wec report --json and --html\n", moved.len() - MAX_MOVED);
    }
    text
}

/// The first line: how many certificates were issued, how fast, and how long one takes.
fn issued(snapshot: &Snapshot) -> String {
    let issued = &snapshot.issued;
    let mut line = format!(
        "Issued {}, {}/s",
        counted(issued.count, "certificate", "certificates"),
        rate(issued.per_second)
    );
    let times = &issued.response_time_ns;
    if let Some(mean) = times.mean {
        let percentile = |name: &str, value: Option<u64>, between: Option<[u64; 2]>| {
            let between =
                between.zip(value).map(|(between, value)| format!(" [{}]", interval(value, between)));
            value.map(|value| format!(", {name} {}{}", duration(value), between.unwrap_or_default()))
        };
        line += &format!("; newOrder to certificate: mean {}", duration(mean));
        line.extend(percentile("p50", times.p50, times.p50_ci));
        line.extend(percentile("p95", times.p95, times.p95_ci));
        line.extend(percentile("p99", times.p99, times.p99_ci));
        line += &format!(", N {}", times.n);
    }
    line + "\n"
}

/// The failures, most frequent first: chains separate from the requests that made them fail.
fn push_failures(text: &mut String, snapshot: &Snapshot, prose: impl Fn(String) -> String) {
    for (scope, title) in [(FailureScope::Chain, "Failed chains"), (FailureScope::Request, "Failed requests")]
    {
        // Refused nonces have their own line; here they would hide other errors.
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
            let problem = if failure.problem.is_empty() {
                String::new()
            } else {
                format!(" {}", visible(&failure.problem))
            };
            let detail = if failure.detail.is_empty() {
                String::new()
            } else {
                format!(" [{}]", visible(&failure.detail))
            };
            let wait = match (failure.retry_after_min_ns, failure.retry_after_max_ns) {
                (Some(min), Some(max)) if duration(min) == duration(max) => {
                    format!(", retry after {}", duration(min))
                }
                (Some(min), Some(max)) => format!(", retry after {} to {}", duration(min), duration(max)),
                _ => String::new(),
            };
            // A request's message begins with its endpoint, which is already in the line.
            let example =
                failure.example.strip_prefix(&format!("{}: ", failure.name)).unwrap_or(&failure.example);
            let ids = [("request id", &failure.request_id), ("traceparent", &failure.traceparent)];
            let ids: Vec<_> = ids
                .iter()
                .filter(|(_, id)| !id.is_empty())
                .map(|(what, id)| format!("{what} {}", visible(id)))
                .collect();
            let ids = if ids.is_empty() { String::new() } else { format!(" [{}]", ids.join(", ")) };
            text.push_str(&prose(format!(
                "  {} × {}, {class}{status}{problem}{detail}{wait}: {}{ids}\n",
                failure.count,
                visible(&failure.name),
                visible(example)
            )));
        }
        if failures.len() > 5 {
            let others: u64 = failures[5..].iter().map(|failure| failure.count).sum();
            let kinds = counted(failures.len() as u64 - 5, "other kind", "other kinds");
            text.push_str(&format!("  and {others} more, of {kinds}: see wec report --json\n"));
        }
    }
}

/// What the processes of the load tester warned of, most frequent first.
fn push_warnings(text: &mut String, snapshot: &Snapshot, prose: impl Fn(String) -> String) {
    let warnings = &snapshot.warnings;
    if warnings.is_empty() {
        return;
    }
    text.push_str("Warnings:\n");
    for warning in warnings.iter().take(5) {
        let after = duration(warning.first_unix_ns.saturating_sub(snapshot.run.started_unix_ns));
        let node = warning.nodes.first().map_or("", String::as_str);
        let more = match warning.nodes.len() {
            0 | 1 => String::new(),
            nodes => format!(" and {} more", nodes - 1),
        };
        text.push_str(&prose(format!(
            "  {} × {}, first after {after}, {}{more}: {}\n",
            warning.count,
            warning.level,
            visible(node),
            visible(&warning.text)
        )));
    }
    if warnings.len() > 5 {
        let others: u64 = warnings[5..].iter().map(|warning| warning.count).sum();
        let kinds = counted(warnings.len() as u64 - 5, "other cause", "other causes");
        text.push_str(&format!("  and {others} more, of {kinds}: see wec report --json\n"));
    }
}

/// A warning in front of the figures that it affects; empty if the load tester kept up.
fn limited(generator: &GeneratorFigures, style: TextStyle) -> String {
    if !generator.limited {
        return String::new();
    }
    let causes = generator.causes.iter().filter(|(_, figures)| figures.limited_ns > 0);
    let causes: Vec<_> = causes.map(|(cause, _)| cause.sentence()).collect();
    let title = format!(
        "*** GENERATOR-LIMITED for {}: {}; the figures below are not the CA's alone ***",
        duration(generator.limited_ns),
        causes.join(", and ")
    );
    let mut text: String = style.wrapped(&title, 4).lines().map(|line| style.doubtful(line) + "\n").collect();
    for limit in generator.limits.iter().take(5) {
        text.push_str(&style.wrapped(&format!("  - {}\n", limit.reason), 4));
    }
    if generator.limits.len() > 5 {
        text.push_str(&format!("  - and {} more\n", generator.limits.len() - 5));
    }
    if let Some(distortion) = &generator.distortion {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let mut sentence = format!(
            "  Lag can have added {} to half of the response times ({} of their median)",
            duration(distortion.p50_ns),
            percent(distortion.p50_share)
        );
        if let (Some(ns), Some(share)) = (distortion.p99_ns, distortion.p99_share) {
            let added = duration(ns);
            sentence += &format!(" and {added} to the slowest 1 % ({} of their p99)", percent(share));
        }
        text.push_str(&style.wrapped(&(sentence + "\n"), 4));
    }
    text.push('\n');
    text
}

/// One line with the figures of the load tester; empty without measurements.
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

/// The measured ceiling of this machine, and how close the run came to it.
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

/// The verdict comes before the figures that explain it: the result of each threshold, and which one ended
/// the run.
fn push_thresholds(text: &mut String, thresholds: &[ThresholdResult], style: TextStyle) {
    if thresholds.is_empty() {
        return;
    }
    let longest = thresholds.iter().map(|result| result.expression.chars().count()).max().unwrap_or(0);
    // The result has its own column if there is room, else it is below the threshold.
    let found_width =
        thresholds.iter().map(|result| threshold_value(result).chars().count()).max().unwrap_or(0);
    let beside = style.columns.is_none_or(|columns| 9 + 2 + longest + 2 + found_width <= columns);
    for result in thresholds {
        let verdict = format!("{:<9}", verdict_of(result));
        let verdict = match result.passed {
            Some(true) => style.good(&verdict),
            Some(false) => style.bad(&verdict),
            None => style.doubtful(&verdict),
        };
        let (expression, found) = (&result.expression, threshold_value(result));
        if beside {
            text.push_str(&format!("{verdict}  {expression:<longest$}  {found}\n"));
        } else {
            text.push_str(&format!("{verdict}  {expression}\n           {found}\n"));
        }
    }
    for result in thresholds.iter().filter(|result| result.aborted) {
        text.push_str(&style.wrapped(&format!("The run was ended early by {}\n", result.expression), 2));
    }
    text.push('\n');
}

/// Actual and target load, for scenarios with a rate or a number of iterations.
fn push_loads(text: &mut String, snapshot: &Snapshot, style: TextStyle) {
    let mut any = false;
    for (name, scenario) in &snapshot.scenarios {
        let unit = match &*scenario.rate_unit {
            "" if scenario.asked == 0 => continue,
            "" => "iterations",
            unit => unit,
        };
        any = true;
        let done = if scenario.rate_unit == "requests" { scenario.requests } else { scenario.ended };
        let share = match scenario.asked.saturating_add(scenario.carried) {
            0 => String::new(),
            wanted => format!(" ({:.1} %)", 100.0 * done as f64 / wanted as f64),
        };
        let carried = match scenario.carried {
            0 => String::new(),
            carried => format!(" and {carried} in flight before"),
        };
        let mut line = format!(
            "Load {name} ({}): {done} of {} {} required{carried}{share}",
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
        if scenario.missing > 0 {
            line.push_str(&format!("; {} MISSING: they were no node's part", scenario.missing));
        }
        for (what, why, ns) in [
            ("CAPPED", "the cap on workers was too low for the CA's response time", scenario.capped_ns),
            ("SATURATED", "more workers did not increase the rate", scenario.saturated_ns),
        ] {
            if ns > 0 {
                line.push_str(&format!("; {what} for {}: {why}", duration(ns)));
            }
        }
        let short = scenario.dropped > 0 || scenario.missing > 0 || short_ns > 0;
        for line in style.wrapped(&line, 2).lines() {
            text.push_str(&if short { style.doubtful(line) } else { line.to_owned() });
            text.push('\n');
        }
    }
    if any {
        text.push('\n');
    }
}
