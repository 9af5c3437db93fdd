//! The HTML report: that it is one file without a request, and that text from the log stays text.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wec_figures::aggregate::Aggregate;
use wec_record::{
    Chain, ChainResult, FORMAT_VERSION, FailureClass, LoadSample, Mark, MarkBy, MarkValue, MarkWhat, Record,
    RequestResult, RunHeader, ScenarioSample, Stamp,
};

const START: u64 = 1_700_000_000_000_000_000;
const HOSTILE: &str = "</style></pre><script>alert('1')</script>\" onload=\"alert(2)\u{1b}[31m\u{202e}";

/// A minute of a run in which every text is hostile.
fn hostile_run() -> Aggregate {
    let text = || HOSTILE.to_owned();
    let mut plan = wec_record::Plan { directory: text(), ..wec_record::Plan::default() };
    plan.plain.base_domain = text();
    plan.scenarios.push(wec_record::plan::Scenario { name: text(), ..Default::default() });
    plan.thresholds.push("chain{failed} < 1%".parse().expect("a threshold"));
    let stamp =
        Stamp { host: text(), platform: text(), cpus: 2, plan: Some(Box::new(plan)), calibration: None };
    let mut aggregate = Aggregate::default();
    aggregate.record(&Record::Header(RunHeader {
        version: FORMAT_VERSION,
        run: text(),
        session: text(),
        program: text(),
        target: text(),
        started_unix_ns: START,
        stamp,
    }));
    for second in 0..60 {
        for place in 0..30 {
            let due = second * 1_000_000_000 + place * 30_000_000;
            let failed = place == 7;
            let request = RequestResult {
                uri: text().into(),
                endpoint: text().into(),
                method: text().into(),
                took: 1_000_000,
                due,
                sent: due,
                done: due + 1_000_000,
                successful: !failed,
                error: if failed { text() } else { String::new() },
                class: failed.then_some(FailureClass::ServerError),
                problem: if failed { text().into() } else { Cow::default() },
                ..RequestResult::default()
            };
            aggregate.record(&Record::Chain {
                node: text(),
                origin_unix_ns: START,
                result: ChainResult {
                    chain: Some(Chain::Certificate),
                    scenario: text(),
                    took: 2_000_000,
                    due,
                    started: due,
                    done: due + 2_000_000,
                    successful: !failed,
                    error: if failed { text() } else { String::new() },
                    class: failed.then_some(FailureClass::ServerError),
                    detail: if failed { text().into() } else { Cow::default() },
                    requests: vec![request],
                    ..ChainResult::default()
                },
            });
        }
        aggregate.record(&Record::Load {
            node: text(),
            seq: second + 1,
            at_unix_ns: START + (second + 1) * 1_000_000_000,
            load: LoadSample {
                over_ns: 1_000_000_000,
                scenarios: vec![ScenarioSample {
                    name: text(),
                    executor: text(),
                    workers: 5,
                    ..Default::default()
                }],
                ..LoadSample::default()
            },
        });
    }
    let what = MarkWhat::Other(text());
    aggregate.record(&Record::Mark(Mark::new(
        START + 7_000_000_000,
        MarkBy::Other(text()),
        what,
        MarkValue::Text(text()),
    )));
    aggregate
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from:?}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to:?}")).0
}

#[test]
fn text_from_the_log_stays_text() {
    let html = wec_report::html::html(&hostile_run(), &[HOSTILE.to_owned()], true);
    assert!(wec_report::html::is_one(&html.as_bytes()[..4096]));
    assert!(!wec_report::html::is_one(b"<!doctype html>\n<title>My notes</title>"));
    assert!(!html.contains("<script") && !html.contains("\" onload"), "markup came through");
    assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)"), "the text is there, as text");
    assert!(!html.contains(['\u{1b}', '\u{202e}']), "control characters came through");
    assert_eq!(html.matches("</style>").count(), 1);
    assert_eq!(html.matches("</pre>").count(), 1);
}

#[test]
fn the_file_needs_nothing_else_and_its_policy_allows_nothing_else() {
    let html = wec_report::html::html(&hostile_run(), &[], true);
    for needed in ["src=", "href=", "url(", "@import", "<link", "<iframe", " style=", "@font-face"] {
        assert!(!html.contains(needed), "{needed}");
    }
    let style = between(&html, "<style>", "</style>");
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let policy = between(&html, "Content-Security-Policy\" content=\"", "\"");
    assert_eq!(
        policy,
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
    );
}

#[test]
fn charts_have_a_text_and_tables_a_caption() {
    let html = wec_report::html::html(&hostile_run(), &[], true);
    let charts = html.matches("role=\"img\" aria-label=\"").count();
    assert_eq!(charts, html.matches("<figure>").count());
    assert_eq!(charts, 5, "four of the run and one of the chain that ran");
    assert_eq!(html.matches("<table").count(), html.matches("<caption>").count());
    assert!(
        html.contains("issued: 0 on average") || html.contains("chains: 30.0 on average"),
        "figures in words"
    );
}

#[test]
fn the_verdict_is_of_a_whole_run_that_ended() {
    let verdict = |html: &str| between(html, "<dt>Verdict</dt>", "</div>").to_owned();
    let whole = hostile_run();
    assert!(verdict(&wec_report::html::html(&whole, &[], true)).contains("Failed"));
    let killed = verdict(&wec_report::html::html(&whole, &[], false));
    assert!(killed.contains("None") && killed.contains("the log has no end"), "{killed}");
    let empty = wec_report::html::html(&Aggregate::default(), &[], true);
    assert!(verdict(&empty).contains("nothing was run"));
}
