//! Takes values from files and sessions, by the table of keys, and shows errors with the names of the table.
//!
//! Flags and their environment variables override a file, which overrides defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use wec_text::{bounded, visible};

use super::keys::{CAPACITY, FLAGS_ONLY, KEYS, OF_FILES, OF_SCENARIOS, WEIGHTS, flag_of, variable_of};
use super::named_chains::{self, NamedChains};
use crate::settings::{Key, KeyPlace, Mistake, Mistakes, Origin, SCENARIOS, Settings, nearest};

/// The parser's name for a repeated key or table.
const DUPLICATE: &str = "duplicate key";

impl Settings {
    /// Reads a configuration file. Unknown keys and repeated keys are errors. `named_by` is the origin of its path.
    pub(super) fn file(&mut self, path: &Path, named_by: Origin) {
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&shown, &text),
            Err(error) => {
                self.set_partial();
                self.mistake_at("config", named_by, format!("cannot read {shown}: {error}"));
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
        if !errors.is_empty() {
            self.set_partial();
        }
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
            self.mistake_at("", origin, message);
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
                self.mistake_at(&key, origin, message);
                continue;
            }
            match value {
                Ok(value) => {
                    chains.note(&key, &value);
                    self.add(key, value, origin, elements.into_iter().map(at).collect());
                }
                Err(message) => self.mistake_at(&key, origin, message),
            }
        }
        chains.resolve(self.texts_mut());
        for (offset, message) in chains.mistakes() {
            self.mistake_at(named_chains::KEY, at(offset), message);
        }
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
                self.mistake_at(key, Origin::Session, message);
                continue;
            }
            self.add(key.clone(), value.clone(), Origin::Session, Vec::new());
        }
    }

    /// Keys of the table that were never read, so that giving them would have no effect.
    pub fn unread(&self) -> Vec<&'static Key> {
        let is_read = |key: &&Key| key.in_files().iter().all(|name| self.read().contains(name));
        KEYS.iter().filter(|key| !is_read(key)).collect()
    }

    /// Succeeds if there are no errors.
    ///
    /// # Errors
    /// All errors so far.
    pub fn finish(self) -> Result<(), Mistakes> {
        // A key that is not in the table could never be given.
        let unknown = self.read().iter().find(|name| !OF_FILES.contains(name));
        debug_assert!(unknown.is_none(), "{unknown:?} is not in the table of keys");
        self.without_mistakes()
    }
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
    if FLAGS_ONLY.lines().any(|only| only == flag)
        || Key::named(last).is_some_and(|key| key.place == KeyPlace::Command)
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
