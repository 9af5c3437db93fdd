//! Collects values from flags and environment, file and defaults, in this order of precedence.
//!
//! Reading continues after an error. Every value has its origin, so that each error is reported with its
//! file, line and key, and all errors together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use wec_text::{bounded, visible};

use super::keys::{
    CAPACITY, FLAGS_ONLY, KEYS, Key, OF_FILES, OF_SCENARIOS, Place, WEIGHTS, flag_of, variable_of,
};
use super::named_chains::{self, NamedChains};
use super::suggestion::{self, nearest};

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A command line flag.
    Flag,
    /// The environment variable that stands for the flag.
    Variable,
    /// A line of the configuration file.
    File {
        /// The file's path as it was given.
        path: String,
        /// Line, from 1.
        line: usize,
    },
    /// A session on the board.
    Session,
}

impl Origin {
    /// 0 for what is in no file.
    const fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => *line,
            Self::Flag | Self::Variable | Self::Session => 0,
        }
    }
}

/// One error of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key as written in a file (`run_time`).
    pub key: String,
    /// The origin; none if the value is missing.
    pub origin: Option<Origin>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Mistake {
    /// On one line. Special characters of the value are escaped, and long values cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, message) = (visible(&self.key), self.message.as_str());
        let text = match &self.origin {
            Some(Origin::File { path, line }) if key.is_empty() => format!("{path}:{line}: {message}"),
            Some(Origin::File { path, line }) => format!("{path}:{line}: {key}: {message}"),
            Some(Origin::Session) => format!("{key}: {message}"),
            None if key.starts_with("scenarios.") => format!("{key}: {message}"),
            origin => {
                let name_of = if *origin == Some(Origin::Variable) { variable_of } else { flag_of };
                match key.split_once('.') {
                    Some((WEIGHTS, chain)) => format!("{} {chain}: {message}", name_of(WEIGHTS)),
                    _ => format!("{}: {message}", name_of(&key)),
                }
            }
        };
        f.write_str(&bounded(&visible(&text)))
    }
}

/// All errors of the configuration, one per line.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The values given so far, by key, and their errors.
#[derive(Debug, Default)]
pub struct Settings {
    given: BTreeMap<String, (String, Origin)>,
    /// For each key in the file, including those that a flag overrides, the places of the elements if its
    /// value is a list.
    elements: BTreeMap<String, Vec<Origin>>,
    /// The keys that were read, whether or not they were given, without the names of scenarios.
    read: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    /// Whether a file could not be read completely: missing values may be in it.
    partial: bool,
}

impl Settings {
    /// Sets the value of a flag; it overrides the file.
    pub fn flag(&mut self, key: &str, value: &str) {
        self.give(key, value, Origin::Flag);
    }

    /// Sets the value of a flag or of its environment variable; it overrides the file.
    pub(super) fn give(&mut self, key: &str, value: &str, origin: Origin) {
        self.given.insert(key.into(), (value.into(), origin));
    }

    /// Reads a configuration file. Unknown keys and repeated keys are errors. `named_by` is the origin of its path.
    pub(super) fn file(&mut self, path: &Path, named_by: Origin) {
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&shown, &text),
            Err(error) => {
                self.partial = true;
                self.mistakes.push(Mistake {
                    key: "config".into(),
                    origin: Some(named_by),
                    message: format!("cannot read {shown}: {error}"),
                });
            }
        }
    }

    /// As [`Settings::file`], for a text already read; `path` is for messages.
    pub fn text(&mut self, path: &str, text: &str) {
        let names = |keys: &'static [String]| keys.iter().map(String::as_str).collect::<Vec<_>>();
        self.text_with(path, text, &names(&OF_FILES), &names(&OF_SCENARIOS));
    }

    /// As [`Settings::text`], for a file with the keys `top`, and in scenarios those of `scenario`.
    fn text_with(&mut self, path: &str, text: &str, top: &[&str], scenario: &[&str]) {
        let at = |offset: usize| Origin::File {
            path: path.into(),
            line: text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1,
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        self.partial |= !errors.is_empty();
        // Values that the parser made from a broken line are not reported.
        let mut broken = Vec::new();
        for error in errors {
            let origin = at(error.span().map_or(0, |span| span.start));
            broken.push(origin.clone());
            let culprit =
                error.span().and_then(|span| text.get(span)).filter(|_| error.message() == DUPLICATE);
            let message = match culprit {
                Some(key) => format!("{} was given before: give it once", key.trim()),
                None => error.message().into(),
            };
            self.mistakes.push(Mistake { key: String::new(), origin: Some(origin), message });
        }
        let mut chains = NamedChains::of(table.get_ref());
        let mut found = Vec::new();
        flatten(table.get_ref(), "", &mut found);
        found.retain(|found| found.key != named_chains::KEY);
        found.sort_by_key(|found: &Found| found.offset);
        for Found { key, offset, elements, value } in found {
            let origin = at(offset);
            if broken.contains(&origin) {
                continue;
            }
            // `scenarios.NAME.KEY`: only the key is checked.
            let (last, known) = match key.strip_prefix(SCENARIOS).and_then(|rest| rest.split_once('.')) {
                Some((_, last)) => (last, scenario),
                None => (key.as_str(), top),
            };
            if !known.contains(&last) {
                let message = unknown(&key, last, known, top);
                self.mistakes.push(Mistake { key, origin: Some(origin), message });
                continue;
            }
            match value {
                Ok(value) => {
                    self.elements.insert(key.clone(), elements.into_iter().map(at).collect());
                    self.given.entry(key).or_insert((value, origin));
                }
                Err(message) => self.mistakes.push(Mistake { key, origin: Some(origin), message }),
            }
        }
        chains.resolve(self.given.iter_mut().map(|(key, (value, _))| (key, value)));
        self.mistakes.extend(chains.mistakes(at));
    }

    /// Takes the keys of a session. What has been given already overrides them. Unknown keys are errors.
    pub(super) fn session(&mut self, keys: &BTreeMap<String, String>) {
        let names = |keys: &'static [String]| keys.iter().map(String::as_str).collect::<Vec<_>>();
        let (top, scenario) = (names(&OF_FILES), names(&OF_SCENARIOS));
        for (key, value) in keys {
            let (last, known) = match key.strip_prefix(SCENARIOS).and_then(|rest| rest.split_once('.')) {
                Some((_, last)) => (last, &scenario),
                None => (key.as_str(), &top),
            };
            if !known.contains(&last) {
                let message = unknown(key, last, known, &top);
                self.mistakes.push(Mistake { key: key.clone(), origin: Some(Origin::Session), message });
                continue;
            }
            self.elements.insert(key.clone(), Vec::new());
            self.given.entry(key.clone()).or_insert_with(|| (value.clone(), Origin::Session));
        }
    }

    /// The values given so far, by key, as text.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        self.given.iter().map(|(key, (text, _))| (key.clone(), text.clone())).collect()
    }

    /// The value of `key`, read by `parse`; none if it was not given or is wrong, which is recorded.
    pub fn take<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.asked(key);
        let (text, origin) = self.given.get(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                let message = suggestion::with_nearest(wec_text::with_cut(message, text), text);
                let mistake = Mistake { key: key.into(), origin: Some(origin.clone()), message };
                self.mistakes.push(mistake);
                None
            }
        }
    }

    /// The values of a list, each read by `parse`; none if the list was not given or any value is wrong. Each
    /// wrong value is recorded once, with its place in the list and, from a file, its own line, however many
    /// scenarios read it.
    pub fn take_list<T>(
        &mut self,
        key: &str,
        item: &str,
        parse: impl Fn(&str) -> Result<T, Vec<String>>,
    ) -> Option<Vec<T>> {
        self.asked(key);
        let (text, origin) = self.given.get(key)?;
        let lines = self.elements.get(key).filter(|_| matches!(origin, Origin::File { .. }));
        let mut values = Vec::new();
        let mut mistakes = Vec::new();
        let mut right = true;
        for (index, text) in text.split(',').map(str::trim).filter(|text| !text.is_empty()).enumerate() {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(messages) => {
                    right = false;
                    let which = format!("{item} {}: ", index + 1);
                    let told = |known: &Mistake| known.key == key && known.message.starts_with(&which);
                    if self.mistakes.iter().any(told) {
                        continue;
                    }
                    let origin = lines.and_then(|lines| lines.get(index)).unwrap_or(origin);
                    mistakes.extend(messages.into_iter().map(|message| Mistake {
                        key: key.into(),
                        origin: Some(origin.clone()),
                        message: format!("{which}{}", wec_text::with_cut(message, text)),
                    }));
                }
            }
        }
        self.mistakes.extend(mistakes);
        right.then_some(values)
    }

    /// Records that a key was read. A key that is not in the table could never be given.
    fn asked(&mut self, key: &str) {
        let name =
            key.strip_prefix(SCENARIOS).and_then(|rest| rest.split_once('.')).map_or(key, |(_, key)| key);
        debug_assert!(OF_FILES.iter().any(|known| known == name), "{name} is not in the table of keys");
        self.read.insert(name.to_owned());
    }

    /// Keys of the table that were never read, so that giving them would have no effect.
    pub fn unread(&self) -> Vec<&'static Key> {
        let is_read = |key: &&Key| key.in_files().iter().all(|name| self.read.contains(name));
        KEYS.iter().filter(|key| !is_read(key)).collect()
    }

    /// Records an error of `key` that is not an error of its form.
    pub fn mistake(&mut self, key: &str, message: impl Into<String>) {
        let origin = self.origin(key);
        self.mistakes.push(Mistake { key: key.into(), origin, message: message.into() });
    }

    /// Records an error of each of these keys that was given, for all scenarios or for one of them.
    pub fn refuse(&mut self, keys: &[&str], message: impl Fn(&str) -> String) {
        let scenarios = self.scenarios();
        for key in keys {
            let own = scenarios.iter().map(|name| format!("{SCENARIOS}{name}.{key}"));
            for given in own.chain([(*key).to_owned()]) {
                if self.is_given(&given) {
                    self.mistake(&given, message(key));
                }
            }
        }
    }

    /// Records an error of a value, which is therefore not set.
    pub(super) fn mistake_at(&mut self, key: &str, origin: Origin, message: impl Into<String>) {
        self.mistakes.push(Mistake { key: key.into(), origin: Some(origin), message: message.into() });
    }

    /// The origin of a key, or of the first key of its table.
    fn origin(&self, key: &str) -> Option<Origin> {
        let table = format!("{key}.");
        let of_table = self
            .given
            .range(table.clone()..)
            .take_while(|(key, _)| key.starts_with(&table))
            .map(|(_, given)| given);
        self.given
            .get(key)
            .into_iter()
            .chain(of_table)
            .map(|(_, origin)| origin.clone())
            .min_by_key(Origin::line)
    }

    /// Whether `key` was given at all.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// The names of the scenarios that a file has tables for.
    pub fn scenarios(&self) -> Vec<String> {
        let names = self.given.keys().filter_map(|key| key.strip_prefix(SCENARIOS)?.split_once('.'));
        let mut names: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
        names.dedup();
        names
    }

    /// Succeeds if there are no errors.
    ///
    /// # Errors
    /// All errors so far.
    pub fn finish(mut self) -> Result<(), Mistakes> {
        // Errors of the top level were recorded once for each scenario.
        let mut told = Vec::new();
        self.mistakes.retain(|mistake| !(self.partial && mistake.message.starts_with(MISSING)));
        self.mistakes.retain(|mistake| !told.contains(mistake) && (told.push(mistake.clone()), true).1);
        if self.mistakes.is_empty() { Ok(()) } else { Err(Mistakes(self.mistakes)) }
    }
}

/// Start of the message about a missing value.
pub const MISSING: &str = "missing: ";

/// Prefix of the keys of scenarios; a name and a dot follow.
const SCENARIOS: &str = "scenarios.";
/// The parser's name for a repeated key or table.
const DUPLICATE: &str = "duplicate key";

/// The settings for one scenario: flags override its own table, which overrides the file's top level.
pub struct Scope<'a> {
    settings: &'a mut Settings,
    scenario: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// For this scenario; if none, for the top level only.
    pub fn of(settings: &'a mut Settings, scenario: Option<&'a str>) -> Self {
        Self { settings, scenario }
    }

    /// As [`Settings::take`].
    pub fn take<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.settings.take(&self.key(key), parse)
    }

    /// As [`Settings::take_list`].
    pub fn take_list<T>(
        &mut self,
        key: &str,
        item: &str,
        parse: impl Fn(&str) -> Result<T, Vec<String>>,
    ) -> Option<Vec<T>> {
        self.settings.take_list(&self.key(key), item, parse)
    }

    /// As [`Settings::mistake`]. If the key was not given, the error has the place where the scenario begins.
    pub fn mistake(&mut self, key: &str, message: impl Into<String>) {
        let own = self.own(key);
        let given = Some(self.key(key)).filter(|key| self.settings.is_given(key));
        let tables =
            [own.clone(), key.to_owned()].into_iter().find(|key| self.settings.origin(key).is_some());
        if let Some(place) = given.or(tables) {
            return self.settings.mistake(&place, message);
        }
        let origin = self.beginning();
        self.settings.mistakes.push(Mistake { key: own, origin, message: message.into() });
    }

    /// Records an error of the scenario itself, with the place where it begins.
    pub fn mistake_of_all(&mut self, message: impl Into<String>) {
        let (origin, key) = (self.beginning(), self.own("").trim_end_matches('.').to_owned());
        self.settings.mistakes.push(Mistake { key, origin, message: message.into() });
    }

    /// The place of the scenario's first own key.
    fn beginning(&self) -> Option<Origin> {
        self.settings.origin(&format!("{SCENARIOS}{}", self.scenario?))
    }

    /// Whether it was given, for this scenario or for all.
    pub fn is_given(&self, key: &str) -> bool {
        self.settings.is_given(&self.key(key))
    }

    /// Whether it was given for this scenario itself, or by a flag.
    pub fn is_own(&self, key: &str) -> bool {
        self.settings.is_given(&self.own(key)) || self.is_flag(key)
    }

    /// Whether a flag, or its environment variable, gave it.
    pub fn is_flag(&self, key: &str) -> bool {
        matches!(self.settings.given.get(key), Some((_, Origin::Flag | Origin::Variable)))
    }

    /// Whether the file gives it for this scenario, whatever flags are given.
    pub fn is_in_file(&self, key: &str) -> bool {
        let elements = &self.settings.elements;
        elements.contains_key(&self.own(key)) || elements.contains_key(key)
    }

    fn own(&self, key: &str) -> String {
        match self.scenario {
            Some(scenario) => format!("{SCENARIOS}{scenario}.{key}"),
            None => key.to_owned(),
        }
    }

    /// The full name of `key` with its value.
    fn key(&self, key: &str) -> String {
        let own = self.own(key);
        if self.settings.is_given(&own) && !self.is_flag(key) { own } else { key.to_owned() }
    }
}

/// A key of a file.
struct Found {
    key: String,
    /// Offset of the key in the file, bytes.
    offset: usize,
    /// Offset of each element, if the value is a list.
    elements: Vec<usize>,
    value: Result<String, String>,
}

/// Tables become dotted keys, arrays comma-separated text: the same text as in a flag.
fn flatten(table: &DeTable<'_>, prefix: &str, found: &mut Vec<Found>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => flatten(inner, &format!("{name}."), found),
            other => {
                let elements = match other {
                    DeValue::Array(items) => items.iter().map(|item| item.span().start).collect(),
                    _ => Vec::new(),
                };
                found.push(Found { key: name, offset: key.span().start, elements, value: text_of(other) });
            }
        }
    }
}

fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    Ok(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Array(items) => {
            let texts: Result<Vec<_>, _> = items.iter().map(|item| text_of(item.get_ref())).collect();
            texts?.join(",")
        }
        // Only inside an array: a stage.
        DeValue::Table(entries) => {
            let texts = entries
                .iter()
                .map(|(key, value)| Ok(format!("{}={}", key.get_ref(), text_of(value.get_ref())?)));
            format!("{{{}}}", texts.collect::<Result<Vec<_>, String>>()?.join(";"))
        }
        other => return Err(format!("a {} is not expected here", other.type_str())),
    })
}

/// The message for the unknown `key`. `last` is its last part, `known` are the keys allowed in its place, and
/// `top` those of the file's top level.
fn unknown(key: &str, last: &str, known: &[&str], top: &[&str]) -> String {
    if key == "scenarios" || key.starts_with("scenario.") {
        return "each scenario is a table of its own: [scenarios.NAME], and below it executor, workers, rate, …".into();
    }
    let within = |table: &str| -> Vec<&str> {
        known.iter().filter_map(|known| known.strip_prefix(table)?.strip_prefix('.')).collect()
    };
    // A key with keys below it is a table, not a value.
    let keys = within(last);
    if !keys.is_empty() {
        let example = if last == "weights" { "certificate = 4" } else { "from = \"5/s\"" };
        return format!("is a table: [{key}], and below it {example}; its keys are {}", keys.join(", "));
    }
    // A misspelt key in a known table is compared with the keys of that table.
    let table =
        last.split_once('.').map(|(table, last)| (last, within(table))).filter(|(_, keys)| !keys.is_empty());
    if let Some((last, _)) = table
        && known.contains(&last)
    {
        let table = key.strip_suffix(last).unwrap_or(key).trim_end_matches('.');
        return format!("does not belong to the table [{table}]: write it before that line");
    }
    let (last, known) = table.unwrap_or_else(|| (last, known.to_vec()));
    if top.contains(&last) {
        return "belongs at the top level of the file, before its first table".into();
    }
    let search = format!("{CAPACITY}.{last}");
    if top.contains(&search.as_str()) {
        return format!("belongs to the table [{CAPACITY}], as {search}");
    }
    let flag = last.replace('_', "-");
    if FLAGS_ONLY.contains(&flag.as_str()) || Key::named(last).is_some_and(|key| key.place == Place::Command)
    {
        return format!("is a flag only: give --{flag}");
    }
    if flag == flag_of(WEIGHTS).trim_start_matches('-') {
        let table = key.strip_suffix(last).unwrap_or_default();
        return format!("did you mean the table [{table}{WEIGHTS}], and below it certificate = 4?");
    }
    match nearest(last, &known) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => format!("unknown key; known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["workers", "run_time", "contact", "weights.certificate"];

    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| format!("{text:?} is not a whole number"))
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let mut settings = Settings::default();
        settings.flag("workers", "7");
        settings.text_with(
            "s.toml",
            "workers = 3\ncontact = [\"mailto:a@b\", \"mailto:c@d\"]\n[weights]\ncertificate = 2.5\n",
            KNOWN,
            &[],
        );
        assert_eq!(settings.take("workers", number), Some(7));
        assert_eq!(
            settings.take("contact", |text| Ok(text.to_string())).as_deref(),
            Some("mailto:a@b,mailto:c@d")
        );
        assert_eq!(settings.take("weights.certificate", |text| Ok(text.to_string())).as_deref(), Some("2.5"));
        assert_eq!(settings.take("run_time", number), None);
        settings.finish().unwrap();
    }

    #[test]
    fn every_mistake_is_reported_with_file_line_and_key() {
        let mut settings = Settings::default();
        settings.text_with(
            "s.toml",
            "worker = 3\n\nrun_time = \"soon\"\n[weights]\nrevoked = 1\n",
            KNOWN,
            &[],
        );
        settings.flag("workers", "many");
        settings.take("workers", number);
        settings.take("run_time", number);
        let shown = settings.finish().unwrap_err().to_string();
        assert_eq!(
            shown,
            "s.toml:1: worker: unknown key; did you mean workers?\n\
             s.toml:5: weights.revoked: unknown key; known are certificate\n\
             --workers: \"many\" is not a whole number\n\
             s.toml:3: run_time: \"soon\" is not a whole number"
        );
    }

    #[test]
    fn a_mistake_names_the_variable_that_the_value_came_from() {
        let mut settings = Settings::default();
        settings.text_with("s.toml", "workers = 3\n", KNOWN, &[]);
        settings.file(Path::new("does-not-exist.toml"), Origin::Variable);
        for key in ["workers", "weights.certificate"] {
            settings.give(key, "many", Origin::Variable);
            settings.take(key, number);
        }
        settings.give("run_time", "1s", Origin::Variable);
        settings.mistake("run_time", "is too short");
        let shown = settings.finish().unwrap_err().to_string();
        let told: Vec<_> = shown.lines().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(told, ["WEC_CONFIG", "WEC_WORKERS", "WEC_WEIGHTS certificate", "WEC_RUN_TIME"], "{shown}");
    }

    #[test]
    fn a_key_in_a_wrong_place_is_refused_with_its_right_place() {
        const TOP: &[&str] = &["directory", "capacity.from", "capacity.hold_at"];
        const SCENARIO: &[&str] = &["workers", "weights.certificate", "weights.revoke"];
        for (text, told) in [
            ("[capacity]\nform = 1\n", "s.toml:2: capacity.form: unknown key; did you mean from?"),
            ("[capacity]\nuntil = 1\n", "s.toml:2: capacity.until: unknown key; known are from, hold_at"),
            ("hold_at = \"5%\"\n", "s.toml:1: hold_at: belongs to the table [capacity], as capacity.hold_at"),
            (
                "capacity = \"5/s\"\n",
                "s.toml:1: capacity: is a table: [capacity], and below it from = \"5/s\"; its keys are from, hold_at",
            ),
            (
                "weights = [1, 2]\n",
                "s.toml:1: weights: is a table: [weights], and below it certificate = 4; its keys are certificate, revoke",
            ),
            (
                "[scenarios.a]\nweights = \"revoke=1\"\n",
                "s.toml:2: scenarios.a.weights: is a table: [scenarios.a.weights], and below it certificate = 4; its keys are \
                 certificate, revoke",
            ),
            (
                "[scenarios.a.weights]\nworkers = 5\n",
                "s.toml:2: scenarios.a.weights.workers: does not belong to the table [scenarios.a.weights]: write it before \
                 that line",
            ),
            (
                "[scenarios.a]\ndirectory = \"x\"\n",
                "s.toml:2: scenarios.a.directory: belongs at the top level of the file, before its first table",
            ),
        ] {
            let mut settings = Settings::default();
            settings.text_with("s.toml", text, &[TOP, SCENARIO].concat(), SCENARIO);
            assert_eq!(settings.finish().unwrap_err().to_string(), told, "{text}");
        }
    }

    #[test]
    fn a_flag_that_is_no_key_is_named_as_such() {
        for (text, told) in [
            ("listen = \"off\"\n", "s.toml:1: listen: is a flag only: give --listen"),
            ("log_dir = \"x\"\n", "s.toml:1: log_dir: is a flag only: give --log-dir"),
            ("[scenarios.a]\nquiet = true\n", "s.toml:2: scenarios.a.quiet: is a flag only: give --quiet"),
            ("config = \"x\"\n", "s.toml:1: config: is a flag only: give --config"),
            ("threshold = \"x\"\n", "s.toml:1: threshold: unknown key; did you mean thresholds?"),
            (
                "[scenarios.a]\nweight = \"revoke=1\"\n",
                "s.toml:2: scenarios.a.weight: did you mean the table [scenarios.a.weights], and below it certificate = 4?",
            ),
            (
                "weight = 1\n",
                "s.toml:1: weight: did you mean the table [weights], and below it certificate = 4?",
            ),
        ] {
            let mut settings = Settings::default();
            settings.text("s.toml", text);
            assert_eq!(settings.finish().unwrap_err().to_string(), told, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_toml_names_the_line() {
        let mut settings = Settings::default();
        settings.text_with("s.toml", "workers = 3\nrun_time = = 4\n", KNOWN, &[]);
        let shown = settings.finish().unwrap_err().to_string();
        assert!(shown.starts_with("s.toml:2: "), "{shown}");
    }

    #[test]
    fn a_key_given_twice_is_named() {
        let mut settings = Settings::default();
        let text = "workers = 3\nworkers = 4\n[scenarios.a]\nworkers = 1\n[scenarios.a]\n";
        settings.text_with("s.toml", text, KNOWN, KNOWN);
        assert_eq!(
            settings.finish().unwrap_err().to_string(),
            "s.toml:2: workers was given before: give it once\ns.toml:5: a was given before: give it once"
        );
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let mut settings = Settings::default();
        settings.file(Path::new("does-not-exist.toml"), Origin::Flag);
        let shown = settings.finish().unwrap_err().to_string();
        assert!(shown.starts_with("--config: cannot read does-not-exist.toml: "), "{shown}");
    }
}
