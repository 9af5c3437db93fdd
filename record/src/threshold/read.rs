//! Parses a threshold and reports all errors of its text.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;
use std::{fmt, iter};

use super::{Limit, MAX_WINDOW, Metric, Of, Op, Requests, Stat, Status, Threshold, TimeKind, Unit};
use crate::{Chain, FailureClass};

/// The longest grace time: ten years, as for all other times.
const LONGEST: Duration = Duration::from_secs(3_652 * 86_400);

/// All errors of one threshold's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThresholdMistakes {
    /// The text.
    pub text: String,
    /// Each error: its place in the text, in characters from 1, and what is allowed there.
    pub mistakes: Vec<(usize, String)>,
}

impl fmt::Display for ThresholdMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)?;
        for (index, (at, what)) in self.mistakes.iter().enumerate() {
            write!(f, "{} at character {at}: {what}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ThresholdMistakes {}

impl FromStr for Threshold {
    type Err = ThresholdMistakes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, at: 0, mistakes: Vec::new() };
        let threshold = reader.threshold();
        match threshold {
            Some(threshold) if reader.mistakes.is_empty() => Ok(threshold),
            _ => Err(ThresholdMistakes { text: text.to_owned(), mistakes: reader.mistakes }),
        }
    }
}

impl FromStr for Metric {
    type Err = ThresholdMistakes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, at: 0, mistakes: Vec::new() };
        reader.space();
        let metric = reader.metric();
        reader.space();
        if reader.at < text.len() && reader.mistakes.is_empty() {
            let rest = reader.rest().trim_end();
            reader.wrong(reader.at, format!("{rest:?} is not expected after a metric"));
        }
        match metric {
            Some(metric) if reader.mistakes.is_empty() => Ok(metric),
            _ => Err(ThresholdMistakes { text: text.to_owned(), mistakes: reader.mistakes }),
        }
    }
}

/// Splits a list of thresholds at its commas, but not at commas inside braces:
/// `requests{endpoint=newOrder,method=POST}{failed}` is one threshold.
pub fn split(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let parts = list.split(move |char: char| {
        match char {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        char == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

static CHAIN_METRICS: LazyLock<[String; Chain::ALL.len()]> =
    LazyLock::new(|| Chain::ALL.map(|chain| format!("chain.{chain}")));

fn metrics() -> Vec<&'static str> {
    let chains = CHAIN_METRICS.iter().map(String::as_str);
    let others = ["requests", "certificates", "errors", "nonces", "rate", "dropped"];
    iter::once("chain").chain(chains).chain(others).collect()
}

pub(super) const STATS: &[&str] =
    &["p(50)", "p(90)", "p(95)", "p(99)", "p(99.9)", "avg", "max", "min", "count", "failed", "rate"];
const SELECTORS: &[&str] = &["endpoint", "method", "status"];
/// Endpoints of RFC 8555 and RFC 9773, as in results. Servers may have others.
pub const ENDPOINTS: &[&str] = &[
    "directory",
    "newNonce",
    "newAccount",
    "account",
    "newOrder",
    "newAuthz",
    "order",
    "orders",
    "authorization",
    "challenge",
    "finalize",
    "certificate",
    "revokeCert",
    "keyChange",
    "renewalInfo",
    "other",
];
const METHODS: &[&str] = &["GET", "HEAD", "POST"];

/// Reads from left to right. It notes a wrong part and skips it, so that later parts are also checked.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    mistakes: Vec<(usize, String)>,
}

/// The text between braces, and its start.
struct Group<'a> {
    at: usize,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn threshold(&mut self) -> Option<Threshold> {
        self.space();
        let metric = self.metric();
        self.space();
        let op = self.op();
        self.space();
        let limit = self.limit(metric.as_ref(), op);
        let window = self.window();
        let (abort, grace) = self.abort();
        self.space();
        if self.at < self.text.len() && self.mistakes.is_empty() {
            let rest = self.rest().trim_end();
            let allowed = match (window, abort) {
                (_, true) => "after GRACE, or nothing",
                (Some(_), _) => "abort, or nothing",
                (None, _) => "over WINDOW, abort, or nothing",
            };
            self.wrong(self.at, format!("{rest:?} is not expected here: allowed is {allowed}"));
        }
        Some(Threshold { metric: metric?, op: op?, limit: limit?, window, abort, grace })
    }

    fn metric(&mut self) -> Option<Metric> {
        let at = self.at;
        let name = self.take(|char| char.is_alphanumeric() || matches!(char, '.' | '_' | '-'));
        let mut groups = Vec::new();
        self.space();
        while self.rest().starts_with('{') {
            groups.push(self.group()?);
            self.space();
        }
        let metrics = metrics();
        if !metrics.contains(&name) {
            let message = if name.is_empty() {
                format!("a metric is expected: {}", metrics.join(", "))
            } else {
                format!("unknown metric {name:?}{}", suggestion(name, &metrics))
            };
            self.wrong(at, message);
            return None;
        }
        let end = self.at;
        let stat = groups.pop();
        let metric = match name {
            "requests" => {
                let requests = self.selectors(groups);
                let stat = self.stat(name, stat, end);
                return Some(Metric::Requests(requests, stat?));
            }
            "errors" => {
                let class = self.class(&groups);
                self.only(name, stat, &["count"], end)?;
                Metric::Errors(class)
            }
            "dropped" => {
                if let Some(group) = stat {
                    self.wrong(group.at, "dropped has nothing in braces: write dropped < 1%".to_owned());
                }
                Metric::Dropped
            }
            _ => {
                if let Some(group) = groups.first() {
                    let message = format!("{name} has no selectors: write {name}{{STAT}}");
                    self.wrong(group.at, message);
                }
                match name {
                    "certificates" => self.only(name, stat, &["rate"], end).map(|()| Metric::Certificates)?,
                    "nonces" => self.only(name, stat, &["rejected"], end).map(|()| Metric::NoncesRejected)?,
                    "rate" => self.only(name, stat, &["achieved/target"], end).map(|()| Metric::Achieved)?,
                    _ => {
                        let chain = name.strip_prefix("chain.").and_then(|chain| chain.parse().ok());
                        Metric::Chain(chain, self.stat(name, stat, end)?)
                    }
                }
            }
        };
        Some(metric)
    }

    fn group(&mut self) -> Option<Group<'a>> {
        let open = self.at;
        let rest = self.rest();
        let Some(close) = rest.find('}') else {
            self.wrong(open, "this brace is not closed".to_owned());
            self.at = self.text.len();
            return None;
        };
        self.at = open + close + 1;
        Some(Group { at: open + 1, text: &rest[1..close] })
    }

    fn stat(&mut self, name: &str, group: Option<Group<'a>>, end: usize) -> Option<Stat> {
        let Some(Group { at, text }) = group else {
            self.wrong(end, format!("{name} needs one of {}", in_braces(STATS)));
            return None;
        };
        let text = text.trim();
        let (clock, of) = match text.strip_prefix("service.").or_else(|| text.strip_prefix("response.")) {
            Some(of) if text.starts_with("service.") => (TimeKind::Service, of),
            Some(of) => (TimeKind::Response, of),
            None => (TimeKind::Response, text),
        };
        let timed = clock == TimeKind::Service || of != text;
        let time = |of| Some(Stat::Time(clock, of));
        let stat = match of {
            "avg" => time(Of::Avg),
            "max" => time(Of::Max),
            "min" => time(Of::Min),
            "count" if !timed => Some(Stat::Count),
            "failed" if !timed => Some(Stat::Failed),
            "rate" if !timed => Some(Stat::Rate),
            _ => match of.strip_prefix("p(").and_then(|of| of.strip_suffix(')')).map(str::trim) {
                Some("50") => time(Of::Percentile(500)),
                Some("90") => time(Of::Percentile(900)),
                Some("95") => time(Of::Percentile(950)),
                Some("99") => time(Of::Percentile(990)),
                Some("99.9") => time(Of::Percentile(999)),
                _ => None,
            },
        };
        if stat.is_none() {
            let service = "; service. before a time makes it the service time, as in service.p(99)";
            self.wrong(at, format!("unknown {text:?}{}{service}", suggestion(of, STATS)));
        }
        stat
    }

    fn only(&mut self, name: &str, group: Option<Group<'a>>, stats: &[&str], end: usize) -> Option<()> {
        match group {
            Some(group) if stats.contains(&group.text.trim()) => Some(()),
            Some(group) => {
                let message = format!("unknown {:?}: {name} has {}", group.text.trim(), in_braces(stats));
                self.wrong(group.at, message);
                None
            }
            None => {
                self.wrong(end, format!("{name} needs {}", in_braces(stats)));
                None
            }
        }
    }

    fn selectors(&mut self, groups: Vec<Group<'a>>) -> Requests {
        let mut requests = Requests::default();
        for (at, key, value) in groups.into_iter().flat_map(pairs) {
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                self.wrong(
                    at,
                    format!("{key:?} is not SELECTOR=VALUE: selectors are {}", SELECTORS.join(", ")),
                );
                continue;
            };
            let twice = match key {
                "endpoint" => requests.endpoint.replace(value.to_owned()).is_some(),
                "method" => requests.method.replace(value.to_owned()).is_some(),
                "status" => {
                    let status = status(value);
                    if status.is_none() {
                        let allowed = "a status is 100 to 599, a class like 5xx, or 0 for no answer";
                        self.wrong(at, format!("{value:?} is not a status: {allowed}"));
                    }
                    std::mem::replace(&mut requests.status, status).is_some()
                }
                _ => {
                    self.wrong(at, format!("unknown selector {key:?}{}", suggestion(key, SELECTORS)));
                    false
                }
            };
            if twice {
                self.wrong(at, format!("{key} is given twice"));
            }
            // No request can match an unknown value, so the threshold would always be undecided.
            let known = match key {
                "endpoint" => ENDPOINTS,
                "method" => METHODS,
                _ => continue,
            };
            if !known.contains(&value) {
                self.wrong(at, format!("unknown {key} {value:?}{}", suggestion(value, known)));
            }
        }
        requests
    }

    fn class(&mut self, groups: &[Group<'a>]) -> Option<FailureClass> {
        let names: Vec<&str> = FailureClass::ALL.iter().map(|class| class.name()).collect();
        let mut found = None;
        for group in groups {
            for (at, key, value) in pairs(Group { at: group.at, text: group.text }) {
                let class =
                    value.and_then(|value| FailureClass::ALL.into_iter().find(|class| class.name() == value));
                match (key, value, class) {
                    ("class", _, Some(_)) if found.is_some() => {
                        self.wrong(at, "class is given twice".to_owned())
                    }
                    ("class", _, Some(_)) => found = class,
                    ("class", Some(value), None) => {
                        self.wrong(at, format!("unknown class {value:?}{}", suggestion(value, &names)));
                    }
                    _ => self.wrong(at, format!("{key:?} is not a selector of errors: write class=CLASS")),
                }
            }
        }
        found
    }

    fn op(&mut self) -> Option<Op> {
        let found = Op::ALL.into_iter().find(|op| self.rest().starts_with(op.sign()));
        match found {
            Some(op) => self.at += op.sign().len(),
            None => {
                let at = self.at;
                let word = self.take(|char| !char.is_whitespace() && !char.is_ascii_digit());
                // After a metric that could not be read, this error would be noise.
                if self.mistakes.is_empty() || !word.is_empty() {
                    self.wrong(at, "a comparison is expected: <, <=, >, >= or ==".to_owned());
                }
            }
        }
        found
    }

    fn limit(&mut self, metric: Option<&Metric>, op: Option<Op>) -> Option<Limit> {
        let at = self.at;
        let text = self.take(|char| !char.is_whitespace());
        let unit = metric?.unit();
        let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
        let (digits, suffix) = text.split_at(digits);
        let factor = unit.suffixes().iter().find(|(known, _)| *known == suffix);
        let number = digits.parse::<f64>().ok().filter(|number| number.is_finite());
        let (Some(number), Some(&(suffix, factor))) = (number, factor) else {
            let shown = if text.is_empty() {
                "a value is missing".to_owned()
            } else {
                format!("{text:?} is not valid")
            };
            self.wrong(at, format!("{shown}: here it is {}", unit.allowed()));
            return None;
        };
        let limit = Limit { number, suffix, factor };
        if !limit.value().is_finite() {
            self.wrong(at, "the value is too large to count to".to_owned());
        }
        if unit == Unit::Share && limit.value() > 1.0 && !matches!(metric?, Metric::Achieved) {
            self.wrong(at, format!("{text:?} is more than 100%: a share is 0% to 100%, or 0 to 1"));
        }
        if unit == Unit::Count && number.fract() != 0.0 {
            self.wrong(at, format!("{text:?} is not valid: here it is {}", unit.allowed()));
        }
        if op == Some(Op::Equal) && unit != Unit::Count {
            self.wrong(at, "== is for counts: measured values are rarely exactly equal".to_owned());
        }
        Some(limit)
    }

    fn window(&mut self) -> Option<Duration> {
        if !self.word("over") {
            return None;
        }
        self.space();
        let at = self.at;
        let window = self.duration("a window")?;
        let whole = window.subsec_nanos() == 0;
        if !whole || window.is_zero() || window > MAX_WINDOW {
            self.wrong(at, "a window is whole seconds, 1s to 60m".to_owned());
            return None;
        }
        Some(window)
    }

    fn abort(&mut self) -> (bool, Duration) {
        if !self.word("abort") {
            return (false, Duration::ZERO);
        }
        if !self.word("after") {
            return (true, Duration::ZERO);
        }
        self.space();
        (true, self.duration("a grace time").unwrap_or_default())
    }

    fn duration(&mut self, what: &str) -> Option<Duration> {
        let at = self.at;
        let text = self.take(|char| !char.is_whitespace());
        let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let size = match suffix {
            "ms" => Some(Duration::from_millis(1)),
            "s" => Some(Duration::from_secs(1)),
            "m" => Some(Duration::from_secs(60)),
            "h" => Some(Duration::from_secs(3_600)),
            _ => None,
        };
        let duration = size.and_then(|size| size.checked_mul(number.parse().ok()?));
        let duration = duration.filter(|duration| *duration <= LONGEST);
        if duration.is_none() {
            self.wrong(at, format!("{text:?} is not {what}: whole ms, s, m or h, as in 30s"));
        }
        duration
    }

    fn word(&mut self, word: &str) -> bool {
        self.space();
        let found =
            self.rest().strip_prefix(word).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
        if found {
            self.at += word.len();
        }
        found
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|char| !of(char)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn wrong(&mut self, at: usize, message: String) {
        self.mistakes.push((self.text[..at].chars().count() + 1, message));
    }
}

/// `a=1, b=2`, each with its place.
fn pairs(group: Group<'_>) -> Vec<(usize, &str, Option<&str>)> {
    let mut at = group.at;
    let mut found = Vec::new();
    for part in group.text.split(',') {
        let start = at + part.len() - part.trim_start().len();
        at += part.len() + 1;
        found.push(match part.trim().split_once('=') {
            Some((key, value)) => (start, key.trim(), Some(value.trim())),
            None => (start, part.trim(), None),
        });
    }
    found
}

fn status(text: &str) -> Option<Status> {
    if let Some(digit) = text.strip_suffix("xx") {
        return digit.parse().ok().filter(|digit| (1..=5).contains(digit)).map(Status::Class);
    }
    let status = text.parse().ok()?;
    (status == 0 || (100..=599).contains(&status)).then_some(Status::Exactly(status))
}

fn in_braces(names: &[&str]) -> String {
    names.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

/// The most similar name, or all known names.
fn suggestion(name: &str, known: &[&str]) -> String {
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known));
    match distances.filter(|(distance, known)| *distance <= 2.max(known.len() / 4)).min() {
        Some((_, near)) => format!("; did you mean {near}?"),
        None => format!("; known are {}", known.join(", ")),
    }
}
