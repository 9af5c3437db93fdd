//! The text formats of Prometheus (0.0.4) and OpenMetrics (1.0), as far as values of series need.
//!
//! A line that is not in the format is skipped and counted. Buckets, creation times, exemplars and timestamps
//! are not used and are left out.

use std::borrow::Cow;
use std::collections::HashMap;

/// One sample of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The name, with its suffix: `process_cpu_seconds_total`.
    pub name: &'a str,
    /// As they are written.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// A number, also NaN or infinite: a summary without observations has NaN as its quantiles.
    pub value: f64,
    /// Whether it only grows, until its program restarts.
    pub counter: bool,
}

impl Sample<'_> {
    /// The series: the name, and the labels in the order of their names.
    pub fn series(&self) -> String {
        if self.labels.is_empty() {
            return self.name.to_owned();
        }
        let mut labels: Vec<_> = self.labels.iter().collect();
        labels.sort();
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        format!("{}{{{}}}", self.name, labels.join(","))
    }
}

/// Lines that are not in the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// How many.
    pub lines: u64,
    /// The number of the first one, from 1, and what is wrong with it.
    pub first: Option<(u64, &'static str)>,
}

/// Calls `each` with every sample.
pub fn parse<'a>(text: &'a str, mut each: impl FnMut(Sample<'a>)) -> Defects {
    let (mut types, mut defects) = (HashMap::new(), Defects::default());
    for (line, number) in text.lines().zip(1..) {
        let read = match line.trim_start_matches([' ', '\t']).strip_prefix('#') {
            Some(comment) => {
                type_line(comment, &mut types);
                continue;
            }
            None if line.trim().is_empty() => continue,
            None => sample(line, &types),
        };
        match read {
            Ok(Some(sample)) => each(sample),
            Ok(None) => {}
            Err(why) => {
                defects.lines += 1;
                defects.first.get_or_insert((number, why));
            }
        }
    }
    defects
}

/// The types that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Counter,
    /// Its sums and counts grow.
    Distribution,
    Other,
}

fn type_line<'a>(comment: &'a str, types: &mut HashMap<&'a str, Type>) {
    let mut words = comment.split_ascii_whitespace();
    if let (Some("TYPE"), Some(family), Some(kind)) = (words.next(), words.next(), words.next()) {
        let kind = match kind {
            "counter" => Type::Counter,
            "histogram" | "summary" => Type::Distribution,
            "untyped" | "unknown" => return,
            _ => Type::Other,
        };
        types.insert(family, kind);
    }
}

/// Whether a series only grows; none if it is left out.
fn is_counter(name: &str, types: &HashMap<&str, Type>) -> Option<bool> {
    if let Some(kind) = types.get(name) {
        // A summary's quantiles have its name.
        return Some(*kind == Type::Counter);
    }
    for suffix in ["_total", "_sum", "_count", "_bucket", "_created"] {
        let Some(kind) = name.strip_suffix(suffix).and_then(|family| types.get(family)) else { continue };
        return match (suffix, kind) {
            ("_bucket" | "_created", _) => None,
            (_, Type::Counter | Type::Distribution) => Some(true),
            (_, Type::Other) => Some(false),
        };
    }
    if name.ends_with("_bucket") {
        return None;
    }
    Some(["_total", "_sum", "_count"].iter().any(|suffix| name.ends_with(suffix)))
}

fn sample<'a>(line: &'a str, types: &HashMap<&str, Type>) -> Result<Option<Sample<'a>>, &'static str> {
    let line = line.trim_matches([' ', '\t', '\r']);
    let end = line.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("it does not begin with a name");
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let rest = rest.split_once(" # ").map_or(rest, |(before, _exemplar)| before);
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().ok_or("it has no value")?;
    let value = number(value).ok_or("its value is not a number")?;
    if words.next().is_some_and(|timestamp| number(timestamp).is_none()) {
        return Err("its time is not a number");
    }
    if words.next().is_some() {
        return Err("it has text after its value");
    }
    let counter = is_counter(name, types);
    Ok(counter.map(|counter| Sample { name, labels, value, counter }))
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Labels up to the closing brace, and the rest of the line.
fn labels(mut rest: &str) -> Result<(Labels<'_>, &str), &'static str> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        if !labels.is_empty() {
            rest = rest.strip_prefix(',').ok_or("two labels have no comma between them")?;
            rest = rest.trim_start_matches([' ', '\t']);
            if let Some(rest) = rest.strip_prefix('}') {
                return Ok((labels, rest));
            }
        }
        let end = rest.bytes().position(|byte| !is_name_byte(byte) || byte == b':').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        let after = after.filter(|_| !name.is_empty()).ok_or("a label has no name or no value")?;
        let after = after.trim_start_matches([' ', '\t']).strip_prefix('"');
        let (value, after) = quoted_value(after.ok_or("the value of a label is not quoted")?)?;
        labels.push((name, value));
        rest = after;
    }
}

/// A value up to its closing quote, and the rest.
fn quoted_value(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let mut value = String::new();
    let mut from = 0;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let last = &text[from..at];
                let value = if from == 0 { Cow::Borrowed(last) } else { Cow::Owned(value + last) };
                return Ok((value, &text[at + 1..]));
            }
            b'\\' => {
                value.push_str(&text[from..at]);
                value.push(match bytes.next() {
                    Some((_, b'n')) => '\n',
                    Some((_, b'"')) => '"',
                    Some((_, b'\\')) => '\\',
                    _ => return Err("the value of a label has an unknown escape"),
                });
                from = at + 2;
            }
            _ => {}
        }
    }
    Err("the value of a label has no closing quote")
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn number(text: &str) -> Option<f64> {
    // Rust also reads `infinity`, as Go does.
    text.parse().ok()
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> (Vec<(String, f64, bool)>, Defects) {
        let mut samples = Vec::new();
        let defects = parse(text, |sample| samples.push((sample.series(), sample.value, sample.counter)));
        (samples, defects)
    }

    #[test]
    fn reads_names_labels_and_values() {
        let cases = [
            ("a 1", "a", 1.0, false),
            ("a_total 1.5e3 1795254960000", "a_total", 1500.0, true),
            ("a{} 1", "a", 1.0, false),
            ("  a{y=\"2\",x=\"1\",}  7 ", "a{x=\"1\",y=\"2\"}", 7.0, false),
            (r#"a{x="q\"b\\n\n"} 1"#, r#"a{x="q\"b\\n\n"}"#, 1.0, false),
            (r#"a{ x = "}, #" } -1"#, r#"a{x="}, #"}"#, -1.0, false),
            ("a_total 3 # {trace_id=\"x\"} 0.5", "a_total", 3.0, true),
            ("a:b 0x 1", "", 0.0, false),
        ];
        for (line, series, value, counter) in cases {
            let (samples, defects) = all(line);
            if series.is_empty() {
                assert_eq!((samples.len(), defects.lines), (0, 1), "{line}");
            } else {
                assert_eq!(samples, [(series.to_owned(), value, counter)], "{line}");
            }
        }
    }

    #[test]
    fn the_type_says_what_grows_and_what_is_left_out() {
        let text = "\
# HELP rpc_seconds Times.
# TYPE rpc_seconds histogram
rpc_seconds_bucket{le=\"+Inf\"} 3
rpc_seconds_sum 1.5
rpc_seconds_count 3
rpc_seconds_created 1e9
# TYPE gc summary
gc{quantile=\"0.5\"} 0.1
gc_sum 2
# TYPE waits_count gauge
waits_count 5
# TYPE things counter
things_total 8
# TYPE old_things untyped
old_things 8
nothing NaN
much +Inf
# EOF";
        let (samples, defects) = all(text);
        let found: Vec<_> = samples.iter().map(|(series, _, counter)| (series.as_str(), *counter)).collect();
        assert_eq!(
            found,
            [
                ("rpc_seconds_sum", true),
                ("rpc_seconds_count", true),
                ("gc{quantile=\"0.5\"}", false),
                ("gc_sum", true),
                ("waits_count", false),
                ("things_total", true),
                ("old_things", false),
                ("nothing", false),
                ("much", false),
            ]
        );
        assert_eq!(defects, Defects::default());
    }

    #[test]
    fn a_line_in_another_format_costs_no_other_line() {
        let text = "good 1\n<html>\nx{a=\"1\n1a 2\nx{a=b} 1\nx{a=\"1\" b=\"2\"} 1\nx\nx 1 2 3\nx one\nx{a=\"\\t\"} 1\nlast 2";
        let (samples, defects) = all(text);
        assert_eq!(samples.len(), 2, "{samples:?}");
        assert_eq!(defects, Defects { lines: 9, first: Some((2, "it does not begin with a name")) });
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "(?s).{0,200}|[a-z{}=\"\\\\, #\\n0-9é]{0,80}") {
            all(&text);
        }

        #[test]
        fn a_series_reads_itself(name in "[a-z_:][a-z0-9_:]{0,9}", values in proptest::collection::vec("[^\r]{0,9}", 0..4), value: i32) {
            let labels: Vec<_> = values.iter().enumerate().map(|(n, value)| format!("l{n}={}", quoted(value))).collect();
            let series = if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) };
            let (samples, defects) = all(&format!("{series} {value}"));
            prop_assume!(!series.split('{').next().unwrap_or_default().ends_with("_bucket"));
            prop_assert_eq!(defects.lines, 0);
            prop_assert_eq!(&samples[0].0, &series);
        }
    }
}
