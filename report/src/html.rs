//! The report as one HTML file.
//!
//! The file needs nothing else: no script, no font, no image, no request. A content security policy forbids
//! all of them, and allows only the file's own style sheet, by its hash. So positions that depend on the run
//! are rules of that sheet and not `style` attributes. Charts are SVG that is made here: without a script
//! they print, and they need no library. Text from the log is only written through [`Text`].

mod charts;
mod fleet;
mod tables;
mod text;

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wec_figures::aggregate::Aggregate;
use wec_figures::outcome::{missing, outcome};
use wec_figures::snapshot::{ChainFigures, Snapshot};
use wec_figures::wording::{counted, duration as time_text, rate as rate_text};
use wec_record::{Chain, RunOutcome};

use self::charts::Charts;
use self::text::Text;

const STYLE: &str = include_str!("html/style.css");

/// The report of a run. `problems` are the defects of its log; `ended` is whether the log has its end.
pub fn html(aggregate: &Aggregate, problems: &[String], ended: bool) -> String {
    let snapshot = aggregate.snapshot();
    let charts = Charts::of(aggregate, &snapshot);
    let style = format!("{STYLE}{}{}", colours(), charts.rules());
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let title = format!("Load test of {}", snapshot.run.target);
    let mut page = String::with_capacity(1 << 16);
    _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{style}</style>\n</head>\n<body>\n",
        Text(&title)
    );
    head(&mut page, &snapshot, ended);
    warnings(&mut page, &snapshot, problems);
    page.push_str("<main>\n");
    tables::thresholds(&mut page, &snapshot);
    charts.write(&mut page);
    fleet::fleet(&mut page, aggregate, &charts);
    tables::chains(&mut page, &snapshot);
    tables::endpoints(&mut page, &snapshot);
    tables::failures(&mut page, &snapshot);
    tables::validations(&mut page, &snapshot);
    tables::load(&mut page, &snapshot);
    tables::observed(&mut page, &snapshot, &charts);
    tables::stamp(&mut page, &snapshot);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Whether a file that begins with these bytes is the report of a run.
pub fn is_one(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start);
    text.starts_with("<!doctype html>\n") && text.contains("<title>Load test of ")
}

/// The chains' colours, light and dark, from their table.
fn colours() -> String {
    let [light, dark] = [0, 1].map(|place| {
        let rules = Chain::ALL.map(|chain| format!("--{chain}:{};", chain.facts().colours[place]));
        rules.concat()
    });
    let strokes = Chain::ALL
        .map(|chain| format!(".k-{chain}{{stroke:var(--{chain})}}.f-{chain}{{background:var(--{chain})}}\n"))
        .concat();
    format!(":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{strokes}")
}

/// What a reader must know first: the target, the verdict and five figures.
fn head(page: &mut String, snapshot: &Snapshot, ended: bool) {
    let (class, verdict, about) = verdict(snapshot, ended);
    let started = UNIX_EPOCH + Duration::from_secs(snapshot.run.started_unix_ns / 1_000_000_000);
    _ = write!(
        page,
        "<header>\n<p class=\"what\">Load test of an ACME CA</p>\n<h1>{}</h1>\n\
         <p class=\"soft\">Run {}, started {} by {}</p>\n",
        Text(if snapshot.run.target.is_empty() { "unknown target" } else { &snapshot.run.target }),
        Text(if snapshot.run.id.is_empty() { "unknown" } else { &snapshot.run.id }),
        humantime::format_rfc3339_seconds(started),
        Text(if snapshot.run.program.is_empty() { "an unknown program" } else { &snapshot.run.program }),
    );
    if let Some(period) = &snapshot.period {
        _ = writeln!(
            page,
            "<p><strong>Only the part of the run from {} to {} after its start.</strong></p>",
            time_text(period.from_ns),
            time_text(period.to_ns)
        );
    }
    if snapshot.run.warm_up_ns > 0 && snapshot.period.is_none() {
        _ = writeln!(
            page,
            "<p>The first {} of the run are warm-up and in no figure.</p>",
            time_text(snapshot.run.warm_up_ns)
        );
    }
    let issued = &snapshot.issued;
    let times = &issued.response_time_ns;
    let count = |of: fn(&ChainFigures) -> u64| snapshot.chains.values().map(of).sum::<u64>();
    let (chains, failed) = (count(|chain| chain.count), count(|chain| chain.failed));
    let tiles = [
        ("Verdict", class, verdict.to_owned(), about),
        (
            "Issued",
            "",
            format!("{}/s", rate_text(issued.per_second)),
            counted(issued.count, "certificate", "certificates"),
        ),
        (
            "Issuance, p95",
            "",
            times.p95.map_or("–".to_owned(), time_text),
            match times.p95_ci {
                Some([low, high]) => {
                    format!("95 % interval {} to {}, N {}", time_text(low), time_text(high), times.n)
                }
                None => format!("too few samples: N {}", times.n),
            },
        ),
        (
            "Failed chains",
            if failed > 0 { "bad" } else { "" },
            share(failed, chains),
            format!("{failed} of {}", counted(chains, "chain", "chains")),
        ),
        (
            "Requests",
            "",
            format!("{}/s", rate_text(snapshot.rps)),
            format!(
                "mean {}, N {}; {} of {} failed",
                snapshot.response_time_ns.mean.map_or("–".to_owned(), time_text),
                snapshot.response_time_ns.n,
                snapshot.requests_failed,
                snapshot.requests
            ),
        ),
        ("Duration", "", time_text(snapshot.elapsed_ns), planned(snapshot)),
    ];
    page.push_str("<dl class=\"tiles\">\n");
    for (name, class, figure, about) in tiles {
        _ = writeln!(
            page,
            "<div><dt>{name}</dt><dd class=\"figure {class}\">{}</dd><dd class=\"soft\">{}</dd></div>",
            Text(&figure),
            Text(&about)
        );
    }
    page.push_str("</dl>\n</header>\n");
}

fn planned(snapshot: &Snapshot) -> String {
    match snapshot.run.run_time_ns {
        Some(planned) if snapshot.period.is_none() => format!("planned {}", time_text(planned)),
        _ => String::new(),
    }
}

/// The class of its colour, the verdict, and what it rests on.
fn verdict(snapshot: &Snapshot, ended: bool) -> (&'static str, &'static str, String) {
    if snapshot.period.is_some() {
        return ("doubt", "None", "a part of a run has no verdict".to_owned());
    }
    let thresholds = &snapshot.thresholds;
    let held = thresholds.iter().filter(|result| result.passed == Some(true)).count();
    let about = match thresholds.len() {
        0 => "no thresholds were given".to_owned(),
        all => format!("{held} of {} held", counted(all as u64, "threshold", "thresholds")),
    };
    match outcome(snapshot) {
        RunOutcome::Interrupted => ("doubt", "None", "interrupted: a partial run has no verdict".to_owned()),
        RunOutcome::Empty => ("doubt", "None", "nothing was run".to_owned()),
        _ if !ended => {
            ("doubt", "None", "the log has no end: its writer was killed, or still runs".to_owned())
        }
        RunOutcome::Passed => ("good", "Passed", about),
        RunOutcome::Failed => match snapshot.never_succeeded.first() {
            Some(first) => ("bad", "Failed", first.why.clone()),
            None => ("bad", "Failed", about),
        },
    }
}

/// What is wrong with the figures, before the figures.
fn warnings(page: &mut String, snapshot: &Snapshot, problems: &[String]) {
    let mut lines: Vec<String> =
        problems.iter().map(|problem| format!("The log is not complete: {problem}")).collect();
    let generator = &snapshot.generator;
    if generator.limited {
        lines.push(format!(
            "The load tester itself was a limit for {}: the figures are not the CA's alone.",
            time_text(generator.limited_ns)
        ));
        lines.extend(generator.limits.iter().take(5).map(|limit| limit.reason.clone()));
    }
    lines.extend(snapshot.never_succeeded.iter().map(|chain| chain.why.clone()));
    lines.extend(missing(snapshot).map(|(count, what)| format!("{count} {what}.")));
    lines.extend(snapshot.warnings.iter().take(10).map(|warning| {
        let times = if warning.count == 1 { String::new() } else { format!(" ({} times)", warning.count) };
        format!("The load tester: {} of {}: {}{times}", warning.level, warning.nodes.join(", "), warning.text)
    }));
    if lines.is_empty() {
        return;
    }
    page.push_str("<section class=\"warning\">\n<h2>Read this first</h2>\n<ul>\n");
    for line in lines {
        _ = writeln!(page, "<li>{}</li>", Text(&line));
    }
    page.push_str("</ul>\n</section>\n");
}

/// A share in percent: `0.42 %`; a dash of nothing.
fn share(part: u64, of: u64) -> String {
    if of == 0 {
        return "–".to_owned();
    }
    let percent = 100.0 * part as f64 / of as f64;
    match part {
        0 => "0 %".to_owned(),
        _ if percent < 0.01 => "< 0.01 %".to_owned(),
        _ if percent < 10.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}
