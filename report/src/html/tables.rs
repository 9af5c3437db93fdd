//! The tables of the report.

use std::fmt::Write as _;

use wec_figures::distribution::Timing;
use wec_figures::outcome::threshold_value;
use wec_figures::snapshot::{FailureScope, Perspectives, Snapshot};
use wec_figures::wording::{duration as time_text, interval as interval_text, rate as rate_text};
use wec_record::plan::Plan;

use super::charts::{Charts, short};
use super::share;
use super::text::Text;

/// Heads of the columns of [`timing`].
const TIMES: [&str; 8] = ["N", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];

/// Begins a table that can be scrolled where the screen is narrow.
pub(super) fn begin(page: &mut String, caption: &str, class: &str, columns: &[&str]) {
    _ = write!(
        page,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\"><table class=\"{class}\">\
         <caption>{0}</caption><thead><tr>",
        Text(caption)
    );
    for column in columns {
        _ = write!(page, "<th scope=\"col\">{}</th>", Text(column));
    }
    page.push_str("</tr></thead><tbody>\n");
}

/// Ends it.
pub(super) fn end(page: &mut String) {
    page.push_str("</tbody></table></div>\n");
}

/// The cells of a distribution, each percentile with its interval.
fn timing(page: &mut String, timing: &Timing) {
    _ = write!(page, "<td>{}</td>", timing.n);
    let cells = [
        (timing.mean, None),
        (timing.p50, timing.p50_ci),
        (timing.p90, timing.p90_ci),
        (timing.p95, timing.p95_ci),
        (timing.p99, timing.p99_ci),
        (timing.p99_9, timing.p99_9_ci),
        (timing.max, None),
    ];
    for (value, interval) in cells {
        match value {
            None => page.push_str("<td>–</td>"),
            Some(value) => {
                _ = write!(page, "<td>{}", time_text(value));
                if let Some(interval) = interval {
                    _ = write!(page, "<small>{}</small>", interval_text(value, interval));
                }
                page.push_str("</td>");
            }
        }
    }
}

pub(super) fn thresholds(page: &mut String, snapshot: &Snapshot) {
    page.push_str("<section>\n<h2>Thresholds</h2>\n");
    if snapshot.period.is_some() {
        page.push_str("<p>Thresholds are judged on a whole run, not on a part of it.</p>\n");
    } else if snapshot.thresholds.is_empty() {
        page.push_str("<p>None were given.</p>\n");
    } else {
        begin(page, "Conditions for the run to pass", "words", &["result", "threshold", "value"]);
        for result in &snapshot.thresholds {
            let (class, verdict) = match result.passed {
                Some(true) => ("good", "passed"),
                Some(false) => ("bad", "FAILED"),
                None => ("doubt", "UNDECIDED"),
            };
            let aborted = if result.aborted { "; it ended the run early" } else { "" };
            _ = writeln!(
                page,
                "<tr><th scope=\"row\" class=\"{class}\">{verdict}</th><td><code>{}</code></td><td>{}{aborted}</td></tr>",
                Text(&result.expression),
                Text(&threshold_value(result))
            );
        }
        end(page);
    }
    page.push_str("</section>\n");
}

pub(super) fn chains(page: &mut String, snapshot: &Snapshot) {
    page.push_str("<section>\n<h2>Chains</h2>\n");
    let columns = [&["chain", "count", "failed", "per s"][..], &TIMES].concat();
    begin(page, "Response times of the chains that succeeded", "figures", &columns);
    for (chain, figures) in snapshot.listed_chains() {
        let mut notes = Vec::new();
        if figures.abandoned > 0 {
            notes.push(format!("{} abandoned on purpose", figures.abandoned));
        }
        if figures.cut_off > 0 {
            notes.push(format!("{} cut off", figures.cut_off));
        }
        let name = format!("<span class=\"dot f-{chain}\"></span>{chain}");
        begin_row(page, &name, &notes, (figures.count, figures.failed, figures.rps));
        timing(page, &figures.response_time_ns);
        page.push_str("</tr>\n");
    }
    all_requests(page, snapshot);
    end(page);
    page.push_str(
        "<p class=\"soft\">Times are response times, due to done, of the N that succeeded; small: the 95 % confidence \
         interval. A percentile with fewer than 10 samples in its tail is withheld (–). The last row is of single \
         requests.</p>\n",
    );
    spent(page, snapshot);
    page.push_str("</section>\n");
}

fn all_requests(page: &mut String, snapshot: &Snapshot) {
    _ = write!(
        page,
        "<tr class=\"sum\"><th scope=\"row\">all requests</th><td>{}</td><td>{}</td><td>{}</td>",
        snapshot.requests,
        failed(snapshot.requests_failed, snapshot.requests),
        rate_text(snapshot.rps)
    );
    timing(page, &snapshot.response_time_ns);
    page.push_str("</tr>\n");
}

/// Where the time of the chains went.
fn spent(page: &mut String, snapshot: &Snapshot) {
    let ran = || snapshot.chains.iter().filter(|(_, figures)| figures.time.requests_ns.n > 0);
    if ran().next().is_none() {
        return;
    }
    let columns =
        ["chain", "N", "whole", "requests", "connecting", "Retry-After", "our interval", "keys", "own"];
    begin(page, "Where the time went: means from started to done", "figures", &columns);
    for (chain, figures) in ran() {
        let time = &figures.time;
        _ = write!(page, "<tr><th scope=\"row\">{chain}</th><td>{}</td>", time.requests_ns.n);
        for part in [
            &figures.service_time_ns,
            &time.requests_ns,
            &time.connecting_ns,
            &time.asked_ns,
            &time.polls_ns,
            &time.keys_ns,
            &time.own_ns,
        ] {
            _ = write!(
                page,
                "<td>{}</td>",
                part.mean.filter(|mean| *mean > 0).map_or("–".to_owned(), time_text)
            );
        }
        page.push_str("</tr>\n");
    }
    end(page);
}

pub(super) fn endpoints(page: &mut String, snapshot: &Snapshot) {
    if snapshot.endpoints.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Endpoints</h2>\n");
    let columns = [&["endpoint", "count", "failed", "per s"][..], &TIMES].concat();
    begin(page, "Response times of the requests that succeeded", "figures", &columns);
    for figures in &snapshot.endpoints {
        let mut notes = vec![format!("{} {}", figures.method, figures.uri).trim().to_owned()];
        if figures.outcome_unknown > 0 {
            notes.push(format!("{} with unknown outcome", figures.outcome_unknown));
        }
        if figures.cut_off > 0 {
            notes.push(format!("{} cut off", figures.cut_off));
        }
        let name = Text(&figures.endpoint).to_string();
        begin_row(page, &name, &notes, (figures.count, figures.failed, figures.rps));
        timing(page, &figures.response_time_ns);
        page.push_str("</tr>\n");
    }
    all_requests(page, snapshot);
    end(page);
    page.push_str("</section>\n");
}

pub(super) fn failures(page: &mut String, snapshot: &Snapshot) {
    page.push_str("<section>\n<h2>Failures</h2>\n");
    if snapshot.failures.is_empty() {
        page.push_str("<p>None.</p>\n</section>\n");
        return;
    }
    let columns = ["count", "of", "class", "status", "problem", "example"];
    for (scope, caption) in
        [(FailureScope::Chain, "Failed chains"), (FailureScope::Request, "Failed requests")]
    {
        let failures: Vec<_> = snapshot.failures.iter().filter(|failure| failure.scope == scope).collect();
        if failures.is_empty() {
            continue;
        }
        begin(page, caption, "words", &columns);
        for failure in failures {
            let mut problem = failure.problem.clone();
            if !failure.detail.is_empty() {
                problem = format!("{problem} {}", failure.detail).trim().to_owned();
            }
            let mut notes = Vec::new();
            if let (Some(min), Some(max)) = (failure.retry_after_min_ns, failure.retry_after_max_ns) {
                notes.push(format!("retry after {} to {}", time_text(min), time_text(max)));
            }
            for (what, id) in [("request id", &failure.request_id), ("traceparent", &failure.traceparent)] {
                if !id.is_empty() {
                    notes.push(format!("{what} {id}"));
                }
            }
            _ = writeln!(
                page,
                "<tr><td class=\"n\">{}</td><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}{}</td></tr>",
                failure.count,
                Text(&failure.name),
                failure.class.map_or("unclassified", |class| class.name()),
                if failure.status == 0 { "–".to_owned() } else { failure.status.to_string() },
                Text(if problem.is_empty() { "–" } else { &problem }),
                Text(&failure.example),
                small(&notes.join(", "))
            );
        }
        end(page);
    }
    page.push_str("</section>\n");
}

pub(super) fn validations(page: &mut String, snapshot: &Snapshot) {
    if snapshot.validations.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Validations</h2>\n");
    let columns = [&["challenge", "count", "no hit", "asked from"][..], &TIMES].concat();
    begin(page, "From the challenge's answer to the final state", "figures", &columns);
    for figures in &snapshot.validations {
        _ = write!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td>",
            figures.challenge.name(),
            figures.count,
            figures.without_hits,
            perspectives(&figures.perspectives)
        );
        timing(page, &figures.time_ns);
        page.push_str("</tr>\n");
    }
    end(page);
    page.push_str("</section>\n");
}

/// From how many addresses a CA asked, with the number of authorizations: `1 (20), 4 (310)`.
fn perspectives(found: &[Perspectives]) -> String {
    let each: Vec<_> = found.iter().map(|of| format!("{} ({})", of.addresses, of.count)).collect();
    if each.is_empty() { "–".to_owned() } else { each.join(", ") }
}

/// Metrics of other programs, and which of them moved with the response times.
pub(super) fn observed(page: &mut String, snapshot: &Snapshot, charts: &Charts<'_>) {
    if snapshot.observed.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Observed beside the load</h2>\n");
    page.push_str(
        "<p>Those that moved most with the mean response time of issuances come first: Spearman's rank correlation \
         over the seconds of the run, from −1 to 1. It is no proof of a cause: what only grows moves with everything \
         else that only grows.</p>\n",
    );
    let columns = ["series", "of", "mean", "smallest", "largest", "N", "moved with the times", "points"];
    begin(page, "Observed series", "figures", &columns);
    for figures in &snapshot.observed {
        let name = figures.full_name();
        let correlation = figures.rank_correlation.map_or("–".to_owned(), |value| format!("{value:+.2}"));
        _ = write!(page, "<tr><th scope=\"row\">{}</th><td>{}</td>", Text(&name), figures.measure.about());
        for value in [figures.mean, figures.min, figures.max] {
            _ = write!(page, "<td>{}</td>", short(value));
        }
        _ = writeln!(
            page,
            "<td>{}</td><td>{correlation}</td><td>{}</td></tr>",
            figures.samples, figures.points
        );
    }
    end(page);
    charts.write_observed(page);
    page.push_str("</section>\n");
}

/// What the scenarios did, and whether the load tester kept up.
pub(super) fn load(page: &mut String, snapshot: &Snapshot) {
    if snapshot.scenarios.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Load</h2>\n");
    let columns = [
        "scenario",
        "executor",
        "due",
        "started",
        "ended",
        "dropped",
        "no chain to run",
        "requests",
        "per s",
        "target",
    ];
    begin(page, "What the scenarios did", "figures", &columns);
    for (name, figures) in &snapshot.scenarios {
        _ = write!(page, "<tr><th scope=\"row\">{}</th><td>{}</td>", Text(name), Text(&figures.executor));
        for count in
            [figures.due, figures.started, figures.ended, figures.dropped, figures.idle, figures.requests]
        {
            _ = write!(page, "<td>{count}</td>");
        }
        let target = figures.rate_target.map_or("–".to_owned(), rate_text);
        _ = writeln!(page, "<td>{}</td><td>{target}</td></tr>", rate_text(figures.rate));
    }
    end(page);
    let generator = &snapshot.generator;
    let lag = &generator.lag_ns;
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    _ = writeln!(
        page,
        "<p>The load tester {}: scheduling lag p99 {}, at most {} (N {}); busiest thread at most {} of a processor; queue \
         of results at most {} full.</p>",
        if generator.limited { "was limited" } else { "kept up" },
        lag.p99.map_or("–".to_owned(), time_text),
        lag.max.map_or("–".to_owned(), time_text),
        lag.n,
        generator.cpu_share_max.map_or("–".to_owned(), percent),
        percent(generator.backlog_share_max)
    );
    page.push_str("</section>\n");
}

/// What was run, with what, and where.
pub(super) fn stamp(page: &mut String, snapshot: &Snapshot) {
    let run = &snapshot.run;
    let stamp = &run.stamp;
    page.push_str("<section>\n<h2>Program, machine and plan</h2>\n<dl class=\"stamp\">\n");
    let mut facts = vec![
        ("Program", run.program.clone()),
        ("Run", run.id.clone()),
        ("Session", run.session.clone()),
        ("Host", stamp.host.clone()),
        ("Platform", stamp.platform.clone()),
        ("Processors", stamp.cpus.to_string()),
    ];
    if let Some(calibration) = &stamp.calibration {
        let reached = 100.0 * snapshot.rps / calibration.requests_per_s.max(1e-9);
        facts.push((
            "Ceiling of the machine",
            format!(
                "{:.0} requests/s by wec calibrate, {reached:.0} % of it here",
                calibration.requests_per_s
            ),
        ));
    }
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        _ = writeln!(page, "<div><dt>{name}</dt><dd>{}</dd></div>", Text(value));
    }
    page.push_str("</dl>\n");
    match &stamp.plan {
        Some(plan) => self::plan(page, plan),
        None => page.push_str("<p>The log has no plan.</p>\n"),
    }
    page.push_str("</section>\n");
}

fn plan(page: &mut String, plan: &Plan) {
    begin(page, "Scenarios of the plan", "words", &["scenario", "load", "time", "weights of chains"]);
    for scenario in &plan.scenarios {
        let weights = serde_json::to_value(&scenario.weights).unwrap_or_default();
        let weights: Vec<_> = weights
            .as_object()
            .into_iter()
            .flatten()
            .map(|(chain, weight)| format!("{chain} {weight}"))
            .collect();
        _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(&scenario.name),
            Text(&scenario.load.to_string()),
            humantime::format_duration(scenario.run_time.0),
            Text(&weights.join(", "))
        );
    }
    end(page);
    page.push_str("<h3>The whole plan</h3>\n<pre>");
    for line in serde_json::to_string_pretty(plan).unwrap_or_default().lines() {
        _ = writeln!(page, "{}", Text(line));
    }
    page.push_str("</pre>\n");
}

/// A row up to its times: its name in HTML with notes below it, its count, how many of these failed, and the rate.
fn begin_row(page: &mut String, name: &str, notes: &[String], (count, bad, rps): (u64, u64, f64)) {
    _ = write!(
        page,
        "<tr><th scope=\"row\">{name}{}</th><td>{count}</td><td>{}</td><td>{}</td>",
        small(&notes.join(", ")),
        failed(bad, count),
        rate_text(rps)
    );
}

fn failed(failed: u64, of: u64) -> String {
    if failed == 0 {
        "0".to_owned()
    } else {
        format!("<span class=\"bad\">{failed}</span><small>{}</small>", Text(&share(failed, of)))
    }
}

fn small(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<small>{}</small>", Text(text)) }
}
