//! `Threshold`: what a run must hold to pass, as people write it.
//!
//! ```text
//! METRIC{selector…}{stat} OP VALUE [over WINDOW] [abort [after GRACE]]
//! chain.certificate{p(99)} < 2s over 30s abort after 10s
//! ```
//!
//! Here is the grammar only: text to value, which says everything that is wrong with the text, and back. What a
//! threshold is held against is in `wec-analytics`; `docs/thresholds.md` says for people what each metric means.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Chain, FailureClass};

/// The longest window, whose seconds are all kept.
pub const MAX_WINDOW: Duration = Duration::from_secs(3_600);

/// One condition that a run must meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is looked at.
    pub metric: Metric,
    /// How it must compare with the limit.
    pub op: Op,
    /// The limit, in the unit in which it was written.
    pub limit: Limit,
    /// Judged over every window of so many whole seconds, and not over the whole run.
    pub window: Option<Duration>,
    /// The run is ended once the threshold has failed.
    pub abort: bool,
    /// What happens so early after the run's start is no reason to abort, nor part of a window.
    pub grace: Duration,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Iterations: of one chain, or of all.
    Chain(Option<Chain>, Stat),
    /// HTTP attempts, all or those selected.
    Requests(Requests, Stat),
    /// Certificates had, by the chains certificate and refresh, a second.
    Certificates,
    /// Failures, of one class or of all.
    Errors(Option<FailureClass>),
    /// Share of POSTs refused with `badNonce`.
    NoncesRejected,
    /// What was done of the rate that was wanted, as a share of it.
    Achieved,
    /// Share of due iterations that no worker was free for.
    Dropped,
}

/// Which HTTP attempts: those that all given selectors fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// RFC 8555's name of the endpoint: `newOrder`.
    pub endpoint: Option<String>,
    /// HTTP method.
    pub method: Option<String>,
    /// HTTP status.
    pub status: Option<Status>,
}

/// An HTTP status or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `503`; 0 where there was no answer.
    Exactly(u16),
    /// `5xx`: the first digit.
    Class(u16),
}

impl Status {
    /// Whether `status` is meant.
    pub const fn fits(self, status: u16) -> bool {
        match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Class(digit) => status / 100 == digit,
        }
    }
}

/// What is taken of the iterations or requests of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// How many.
    Count,
    /// How many of them failed, as a share.
    Failed,
    /// How many a second.
    Rate,
    /// How long the successful ones took.
    Time(Clock, Of),
}

/// From when a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// From when it was due.
    Response,
    /// From when it was sent or started.
    Service,
}

/// Which of many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A percentile, per mille: 990 is `p(99)`.
    Percentile(u16),
    /// Arithmetic mean.
    Avg,
    /// Largest.
    Max,
    /// Smallest.
    Min,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
}

impl Op {
    const ALL: [Self; 5] = [Self::AtMost, Self::AtLeast, Self::Equal, Self::Less, Self::More];

    /// As written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
        }
    }

    /// Whether `value` is as it must be.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
            Self::More => value > limit,
            Self::AtLeast => value >= limit,
            Self::Equal => value == limit,
        }
    }

    /// Whether a larger value is worse.
    pub const fn wants_little(self) -> bool {
        matches!(self, Self::Less | Self::AtMost | Self::Equal)
    }
}

/// What a value is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// A share, 0 to 1 (`achieved/target` may be more).
    Share,
    /// A number of things.
    Count,
    /// Things a second.
    PerSecond,
}

impl Unit {
    /// What may be written after a number, and what it makes of the number.
    const fn suffixes(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Ns => &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9)],
            Self::Share => &[("%", 0.01), ("", 1.0)],
            Self::Count => &[("", 1.0)],
            Self::PerSecond => &[("/s", 1.0), ("", 1.0)],
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::Ns => "a time with its unit: ns, us, ms, s or m, as in 250ms",
            Self::Share => "a share, as in 1% or 0.01",
            Self::Count => "a whole number",
            Self::PerSecond => "a rate, as in 50/s or 50",
        }
    }
}

/// A number in the unit in which it was written, so that it can be shown as it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// The number itself.
    pub number: f64,
    suffix: &'static str,
    factor: f64,
}

impl Limit {
    /// In the base of its [`Unit`].
    pub fn value(self) -> f64 {
        // So that 1% is the same number as 0.01.
        if self.factor < 1.0 { self.number / (1.0 / self.factor) } else { self.number * self.factor }
    }
}

impl Metric {
    /// What its value is measured in.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Chain(_, stat) | Self::Requests(_, stat) => match stat {
                Stat::Count => Unit::Count,
                Stat::Failed => Unit::Share,
                Stat::Rate => Unit::PerSecond,
                Stat::Time(..) => Unit::Ns,
            },
            Self::Certificates => Unit::PerSecond,
            Self::Errors(_) => Unit::Count,
            Self::NoncesRejected | Self::Achieved | Self::Dropped => Unit::Share,
        }
    }
}

/// Everything that is wrong with one threshold's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThresholdMistakes {
    /// The text.
    pub text: String,
    /// What is wrong: the place in the text, in characters from 1, and what is allowed there.
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

/// Splits a list of thresholds at its commas, but not at those inside braces: `requests{endpoint=newOrder,method=POST}{failed}`
/// is one.
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

const METRICS: &[&str] = &[
    "chain",
    "chain.registration",
    "chain.authorization",
    "chain.certificate",
    "chain.refresh",
    "chain.revoke",
    "requests",
    "certificates",
    "errors",
    "nonces",
    "rate",
    "dropped",
];
const STATS: &[&str] =
    &["p(50)", "p(90)", "p(95)", "p(99)", "p(99.9)", "avg", "max", "min", "count", "failed", "rate"];
const SELECTORS: &[&str] = &["endpoint", "method", "status"];
/// RFC 8555's names and RFC 9773's, as results carry them. Servers may have others.
const ENDPOINTS: &[&str] = &[
    "directory",
    "newNonce",
    "newAccount",
    "account",
    "newOrder",
    "order",
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

/// Reads from left to right. A wrong part is noted and passed over, so that the parts after it are read, too.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    mistakes: Vec<(usize, String)>,
}

/// What stood between braces, and where it began.
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
        let known = METRICS.contains(&name);
        if !known {
            let message = if name.is_empty() {
                format!("a metric is expected: {}", METRICS.join(", "))
            } else {
                format!("unknown metric {name:?}{}", suggestion(name, METRICS))
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
            self.wrong(end, format!("what of {name}? One of {}", in_braces(STATS)));
            return None;
        };
        let text = text.trim();
        let (clock, of) = match text.strip_prefix("service.").or_else(|| text.strip_prefix("response.")) {
            Some(of) if text.starts_with("service.") => (Clock::Service, of),
            Some(of) => (Clock::Response, of),
            None => (Clock::Response, text),
        };
        let timed = clock == Clock::Service || of != text;
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
                self.wrong(end, format!("what of {name}? It has {}", in_braces(stats)));
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
                        self.wrong(at, format!("{value:?} is no status: {allowed}"));
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
            // A name that nothing will ever have would make a threshold that can only be undecided.
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
                    _ => self.wrong(at, format!("{key:?} is no selector of errors: write class=CLASS")),
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
                // After a metric that could not be read to its end this would be noise.
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
                format!("{text:?} does not fit")
            };
            self.wrong(at, format!("{shown}: here it is {}", unit.allowed()));
            return None;
        };
        let limit = Limit { number, suffix, factor };
        if unit == Unit::Share && limit.value() > 1.0 && !matches!(metric?, Metric::Achieved) {
            self.wrong(at, format!("{text:?} is more than everything: a share is 0% to 100%, or 0 to 1"));
        }
        if unit == Unit::Count && number.fract() != 0.0 {
            self.wrong(at, format!("{text:?} does not fit: here it is {}", unit.allowed()));
        }
        if op == Some(Op::Equal) && unit != Unit::Count {
            self.wrong(at, "== is for counts: measured values are hardly ever equal to anything".to_owned());
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

/// `a=1, b=2` with the place of each.
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

/// What was probably meant, or all that is known.
fn suggestion(name: &str, known: &[&str]) -> String {
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known));
    match distances.filter(|(distance, known)| *distance <= 2.max(known.len() / 4)).min() {
        Some((_, near)) => format!("; did you mean {near}?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.metric, self.op.sign(), self.limit)?;
        if let Some(window) = self.window {
            write!(f, " over {}", duration(window))?;
        }
        if self.abort {
            f.write_str(" abort")?;
            if !self.grace.is_zero() {
                write!(f, " after {}", duration(self.grace))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(Some(chain), stat) => write!(f, "chain.{chain}{{{stat}}}"),
            Self::Chain(None, stat) => write!(f, "chain{{{stat}}}"),
            Self::Requests(requests, stat) => write!(f, "requests{requests}{{{stat}}}"),
            Self::Certificates => f.write_str("certificates{rate}"),
            Self::Errors(Some(class)) => write!(f, "errors{{class={class}}}{{count}}"),
            Self::Errors(None) => f.write_str("errors{count}"),
            Self::NoncesRejected => f.write_str("nonces{rejected}"),
            Self::Achieved => f.write_str("rate{achieved/target}"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map(|endpoint| format!("endpoint={endpoint}"));
        let method = self.method.as_ref().map(|method| format!("method={method}"));
        let status = self.status.map(|status| match status {
            Status::Exactly(status) => format!("status={status}"),
            Status::Class(digit) => format!("status={digit}xx"),
        });
        let given: Vec<String> = [endpoint, method, status].into_iter().flatten().collect();
        if given.is_empty() { Ok(()) } else { write!(f, "{{{}}}", given.join(",")) }
    }
}

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (clock, of) = match self {
            Self::Count => return f.write_str("count"),
            Self::Failed => return f.write_str("failed"),
            Self::Rate => return f.write_str("rate"),
            Self::Time(clock, of) => (clock, of),
        };
        if *clock == Clock::Service {
            f.write_str("service.")?;
        }
        match of {
            Of::Percentile(per_mille) => write!(f, "p({})", f64::from(*per_mille) / 10.0),
            Of::Avg => f.write_str("avg"),
            Of::Max => f.write_str("max"),
            Of::Min => f.write_str("min"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.suffix)
    }
}

fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms > 0 && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Threshold {
        text.parse().unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn reads_what_people_write_and_shows_it_in_one_way() {
        let cases = [
            ("chain.certificate{p(99)} < 2s", "chain.certificate{p(99)} < 2s"),
            ("requests{endpoint=newOrder}{failed}<1%", "requests{endpoint=newOrder}{failed} < 1%"),
            ("rate{achieved/target} > 0.98", "rate{achieved/target} > 0.98"),
            ("rate{achieved/target}>=102%", "rate{achieved/target} >= 102%"),
            ("  chain { p( 99.9 ) }  <=  1500ms ", "chain{p(99.9)} <= 1500ms"),
            ("chain.revoke{service.p(50)} < 80us", "chain.revoke{service.p(50)} < 80us"),
            ("chain.revoke{response.max} < 1m", "chain.revoke{max} < 1m"),
            (
                "requests{ status=5xx , method=POST }{count} == 0",
                "requests{method=POST,status=5xx}{count} == 0",
            ),
            ("requests{rate} > 50/s over 10s", "requests{rate} > 50/s over 10s"),
            ("certificates{rate} >= 12.5", "certificates{rate} >= 12.5"),
            ("errors{class=wrong-certificate}{count} == 0", "errors{class=wrong-certificate}{count} == 0"),
            ("errors{count} < 10 abort", "errors{count} < 10 abort"),
            ("nonces{rejected} < 7%", "nonces{rejected} < 7%"),
            ("dropped < 0.1% over 60s abort after 90s", "dropped < 0.1% over 1m abort after 90s"),
            (
                "chain.certificate{p(99)} < 2s over 30s abort after 1500ms",
                "chain.certificate{p(99)} < 2s over 30s abort after 1500ms",
            ),
        ];
        for (written, shown) in cases {
            assert_eq!(read(written).to_string(), shown);
            assert_eq!(read(shown), read(written));
        }
    }

    #[test]
    fn limits_are_in_one_unit_whatever_they_were_written_in() {
        let cases = [
            ("chain{max} < 2s", 2e9),
            ("chain{max} < 1.5ms", 1.5e6),
            ("chain{max} < 250µs", 250e3),
            ("chain{max} < 2m", 120e9),
            ("chain{failed} < 1%", 0.01),
            ("chain{failed} < 0.01", 0.01),
            ("chain{failed} < 7%", 0.07),
            ("chain{rate} > 50/s", 50.0),
            ("chain{count} > 1000", 1000.0),
        ];
        for (text, value) in cases {
            assert_eq!(read(text).limit.value(), value, "{text}");
        }
    }

    #[test]
    fn every_mistake_says_where_it_is_and_what_is_allowed() {
        let cases = [
            ("", "\"\": at character 1: a metric is expected: chain, chain.registration"),
            ("chian{p(99)} < 2s", "at character 1: unknown metric \"chian\"; did you mean chain?"),
            ("chain.certficate{p(99)} < 2s", "did you mean chain.certificate?"),
            ("latency < 2s", "unknown metric \"latency\"; known are chain, "),
            ("chain.revoke < 2s", "at character 14: what of chain.revoke? One of {p(50)}, {p(90)}"),
            ("chain{p(98)} < 2s", "at character 7: unknown \"p(98)\"; did you mean p(90)?"),
            ("chain{p(99) < 2s", "at character 6: this brace is not closed"),
            ("chain{service.count} < 2", "unknown \"service.count\""),
            ("chain{p(99)} 2s", "at character 14: a comparison is expected: <, <=, >, >= or =="),
            ("chain{p(99)} < 2", "at character 16: \"2\" does not fit: here it is a time with its unit"),
            ("chain{p(99)} <", "a value is missing: here it is a time"),
            ("chain{failed} < 2s", "here it is a share, as in 1% or 0.01"),
            ("chain{failed} < 5", "\"5\" is more than everything"),
            ("chain{count} < 1.5", "here it is a whole number"),
            ("chain{p(99)} == 2s", "== is for counts"),
            ("chain{x=1}{count} < 2", "at character 7: chain has no selectors"),
            (
                "requests{endpoint=neworder}{count} > 1",
                "unknown endpoint \"neworder\"; did you mean newOrder?",
            ),
            ("requests{status=77}{count} > 1", "\"77\" is no status: a status is 100 to 599"),
            ("requests{methud=GET}{count} > 1", "unknown selector \"methud\"; did you mean method?"),
            ("requests{method=GET,method=POST}{count} > 1", "at character 21: method is given twice"),
            ("errors{class=nonce}{count} > 1", "unknown class \"nonce\""),
            ("errors{rate} > 1", "unknown \"rate\": errors has {count}"),
            ("nonces > 1", "what of nonces? It has {rejected}"),
            ("dropped{share} < 1%", "dropped has nothing in braces"),
            ("chain{count} > 1 over 1500ms", "a window is whole seconds, 1s to 60m"),
            ("chain{count} > 1 over 2h", "a window is whole seconds"),
            ("chain{count} > 1 over soon", "\"soon\" is not a window: whole ms, s, m or h"),
            ("chain{count} > 1 abort after", "\"\" is not a grace time"),
            (
                "chain{count} > 1 for 5s",
                "at character 18: \"for 5s\" is not expected here: allowed is over WINDOW, abort",
            ),
            ("chain{count} > 1 abort over 5s", "allowed is after GRACE, or nothing"),
        ];
        for (text, part) in cases {
            let shown = text.parse::<Threshold>().expect_err(text).to_string();
            assert!(shown.contains(part), "{text}: {part:?} is not in {shown:?}");
        }
    }

    #[test]
    fn mistakes_of_one_text_are_told_together() {
        let mistakes =
            "requests{endpoint=newOrdr,code=5}{p(98)} ~ 3 over 0s".parse::<Threshold>().expect_err("wrong");
        let places: Vec<usize> = mistakes.mistakes.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [10, 27, 35, 42, 51], "{mistakes}");
    }

    #[test]
    fn a_list_is_split_outside_braces() {
        let list = "chain{count} > 1, requests{endpoint=newOrder,method=POST}{failed} < 1% ,,dropped < 1%";
        let parts: Vec<&str> = split(list).collect();
        assert_eq!(
            parts,
            ["chain{count} > 1", "requests{endpoint=newOrder,method=POST}{failed} < 1%", "dropped < 1%"]
        );
    }

    proptest! {
        #[test]
        fn reads_again_what_it_shows(
            metric in prop_oneof![
                (0..5_usize, 0..11_usize).prop_map(|(chain, stat)| format!("chain.{}{{{}}}", Chain::ALL[chain], STATS[stat])),
                (0..14_usize, 0..11_usize).prop_map(|(at, stat)| format!("requests{{endpoint={}}}{{{}}}", ENDPOINTS[at], STATS[stat])),
                Just("nonces{rejected}".to_owned()),
            ],
            number in 0..100_u32,
            hundredths in 0..100_u32,
            window in proptest::option::of(1..3_600_u64),
            grace in proptest::option::of(0..100_000_u64),
        ) {
            let number = format!("{number}.{hundredths}");
            let whole = number.split('.').next().unwrap_or_default().to_owned();
            let window = window.map(|window| format!(" over {window}s")).unwrap_or_default();
            let grace = grace.map(|grace| format!(" abort after {grace}ms")).unwrap_or_default();
            let read = ["ms", "%", "/s", ""].into_iter().find_map(|suffix| {
                let number = if suffix.is_empty() { &whole } else { &number };
                format!("{metric} <= {number}{suffix}{window}{grace}").parse::<Threshold>().ok()
            });
            let threshold = read.expect("one of the units fits");
            prop_assert_eq!(threshold.to_string().parse::<Threshold>(), Ok(threshold));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-zµ{}().,=<>% 0-9/]{0,40}") {
            let _ = text.parse::<Threshold>();
            let _ = split(&text).count();
        }
    }
}
