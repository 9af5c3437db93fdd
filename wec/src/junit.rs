//! The verdict as JUnit XML for CI systems: a test case for each threshold, and two for the run itself.
//!
//! There is no standard. The output has what Jenkins, GitLab and GitHub actions all read: `testsuites`,
//! `testsuite`, `testcase` with at most one `failure` (did not hold) or `error` (could not be tried). Five
//! elements do not need a library: the only risk is a character that XML does not allow, and [`escaped`] has
//! a test for it.

use std::fmt::Write as _;

use wec_analytics::{Snapshot, ThresholdResult, threshold_line};

/// How a run ended, for the cases that are not thresholds.
pub(crate) enum TestRun<'a> {
    /// It ran; with what is wrong with it as a whole, if anything.
    Ran(&'a Snapshot, Option<&'a str>),
    /// It ran, but has no verdict on the CA, for this reason.
    NoVerdict(&'a Snapshot, &'a str),
    /// It could not run, for this reason.
    CouldNotRun(&'a str),
}

/// The document. Ends with a newline.
pub(crate) fn junit(outcome: &TestRun<'_>) -> String {
    let mut cases = Vec::new();
    let (name, seconds) = match outcome {
        TestRun::Ran(snapshot, wrong) => {
            cases.push(case("the run has results", wrong.map(|wrong| ("failure", wrong.to_owned()))));
            cases.extend(snapshot.thresholds.iter().map(threshold));
            (snapshot.run.target.as_str(), snapshot.elapsed_ns as f64 / 1e9)
        }
        TestRun::NoVerdict(snapshot, why) => {
            cases.push(case("the run has a verdict", Some(("error", (*why).to_owned()))));
            cases.extend(snapshot.thresholds.iter().map(threshold));
            (snapshot.run.target.as_str(), snapshot.elapsed_ns as f64 / 1e9)
        }
        TestRun::CouldNotRun(why) => {
            cases.push(case("the run has results", Some(("error", (*why).to_owned()))));
            ("", 0.0)
        }
    };
    document(format!("wec run {name}").trim_end(), seconds, &cases)
}

/// A suite of cases, each written by [`case`].
pub(crate) fn document(name: &str, seconds: f64, cases: &[String]) -> String {
    let count = |kind: &str| cases.iter().filter(|case| case.contains(&format!("<{kind} "))).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{seconds:.3}\"",
        cases.len(),
        count("failure"),
        count("error")
    );
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "<testsuites name=\"wec\" {counts}>");
    let _ = writeln!(text, "  <testsuite name=\"{}\" {counts}>", escaped(name));
    cases.iter().for_each(|case| text.push_str(case));
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn threshold(result: &ThresholdResult) -> String {
    let wrong = (result.passed != Some(true)).then(|| ("failure", threshold_line(result)));
    case(&result.expression, wrong)
}

/// One case: passed, or with a `failure` or an `error` and its message.
pub(crate) fn case(name: &str, wrong: Option<(&str, String)>) -> String {
    let name = escaped(name);
    match wrong {
        None => format!("    <testcase classname=\"wec\" name=\"{name}\"/>\n"),
        Some((kind, message)) => {
            let message = escaped(&message);
            format!(
                "    <testcase classname=\"wec\" name=\"{name}\">\n      <{kind} message=\"{message}\"/>\n    </testcase>\n"
            )
        }
    }
}

/// For an attribute between double quotes. Characters that XML 1.0 does not allow (section 2.2, Char) become
/// U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Unescaped, a reader would turn them into spaces.
            '\n' | '\r' | '\t' => drop(write!(escaped, "&#{};", u32::from(char))),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_xml_forbids_are_replaced() {
        let cases = [
            ("chain{p(99)} < 2s & \"more\"", "chain{p(99)} &lt; 2s &amp; &quot;more&quot;"),
            ("two\nlines\t", "two&#10;lines&#9;"),
            ("nul\0bell\u{7}\u{ffff}", "nul\u{fffd}bell\u{fffd}\u{fffd}"),
            ("µs – 日本", "µs – 日本"),
        ];
        for (text, written) in cases {
            assert_eq!(escaped(text), written);
        }
    }

    #[test]
    fn a_run_that_could_not_start_is_an_error() {
        let text = junit(&TestRun::CouldNotRun("cannot reach \"ca\": refused"));
        assert!(text.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{text}");
        assert!(text.contains("<error message=\"cannot reach &quot;ca&quot;: refused\"/>"), "{text}");
    }
}
