//! The values that were given for the keys of a plan, before they are read.
//!
//! What knows a key, such as an executor, takes its value from here. Which keys there are, and how a file gives values,
//! is in [`config`](crate::config).
//!
//! Reading continues after an error. Every value has its origin, so that each error is reported with its
//! file, line and key, and all errors together.

mod key;
mod suggestion;
pub(crate) mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use self::key::{Key, KeyKind, KeyPlace};
pub(crate) use self::key::{LOAD, Reads, key, put};
pub(crate) use self::suggestion::{nearest, with_nearest};

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
    pub(crate) fn give(&mut self, key: &str, value: &str, origin: Origin) {
        self.given.insert(key.into(), (value.into(), origin));
    }

    /// Takes a value of a file or a session, with the places of its elements if it is a list. What has been given
    /// already overrides it.
    pub(crate) fn add(&mut self, key: String, value: String, origin: Origin, elements: Vec<Origin>) {
        self.elements.insert(key.clone(), elements);
        self.given.entry(key).or_insert((value, origin));
    }

    /// Notes that a file could not be read completely: missing values may be in it.
    pub(crate) const fn set_partial(&mut self) {
        self.partial = true;
    }

    /// The values given so far, by key, as text that can be changed.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = (&String, &mut String)> {
        self.given.iter_mut().map(|(key, (text, _))| (key, text))
    }

    /// The values given so far, by key, as text.
    pub(crate) fn texts(&self) -> BTreeMap<String, String> {
        self.given.iter().map(|(key, (text, _))| (key.clone(), text.clone())).collect()
    }

    /// The value of `key`, read by `parse`; none if it was not given or is wrong, which is recorded.
    pub fn take<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.asked(key);
        let (text, origin) = self.given.get(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(message) => {
                let message = with_nearest(wec_text::with_cut(message, text), text);
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

    /// Notes that a key was read.
    fn asked(&mut self, key: &str) {
        let name =
            key.strip_prefix(SCENARIOS).and_then(|rest| rest.split_once('.')).map_or(key, |(_, key)| key);
        self.read.insert(name.to_owned());
    }

    /// The keys that were read, whether or not they were given, without the names of scenarios.
    pub(crate) const fn read(&self) -> &BTreeSet<String> {
        &self.read
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
    pub(crate) fn mistake_at(&mut self, key: &str, origin: Origin, message: impl Into<String>) {
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
    pub(crate) fn without_mistakes(mut self) -> Result<(), Mistakes> {
        // Errors of the top level were recorded once for each scenario.
        let mut told = Vec::new();
        self.mistakes.retain(|mistake| !(self.partial && mistake.message.starts_with(MISSING)));
        self.mistakes.retain(|mistake| !told.contains(mistake) && (told.push(mistake.clone()), true).1);
        if self.mistakes.is_empty() { Ok(()) } else { Err(Mistakes(self.mistakes)) }
    }
}

/// Start of the message about a missing value.
const MISSING: &str = "missing: ";

/// Prefix of the keys of scenarios; a name and a dot follow.
pub(crate) const SCENARIOS: &str = "scenarios.";

/// The settings for one scenario: flags override its own table, which overrides the file's top level.
pub(crate) struct Scope<'a> {
    settings: &'a mut Settings,
    scenario: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// For this scenario; if none, for the top level only.
    pub(crate) fn of(settings: &'a mut Settings, scenario: Option<&'a str>) -> Self {
        Self { settings, scenario }
    }

    /// As [`Settings::take`].
    pub(crate) fn take<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.settings.take(&self.key(key), parse)
    }

    /// As [`Settings::take_list`].
    pub(crate) fn take_list<T>(
        &mut self,
        key: &str,
        item: &str,
        parse: impl Fn(&str) -> Result<T, Vec<String>>,
    ) -> Option<Vec<T>> {
        self.settings.take_list(&self.key(key), item, parse)
    }

    /// As [`Settings::mistake`]. If the key was not given, the error has the place where the scenario begins.
    pub(crate) fn mistake(&mut self, key: &str, message: impl Into<String>) {
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
    pub(crate) fn mistake_of_all(&mut self, message: impl Into<String>) {
        let (origin, key) = (self.beginning(), self.own("").trim_end_matches('.').to_owned());
        self.settings.mistakes.push(Mistake { key, origin, message: message.into() });
    }

    /// The place of the scenario's first own key.
    fn beginning(&self) -> Option<Origin> {
        self.settings.origin(&format!("{SCENARIOS}{}", self.scenario?))
    }

    /// Whether it was given, for this scenario or for all.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.settings.is_given(&self.key(key))
    }

    /// Whether it was given for this scenario itself, or by a flag.
    pub(crate) fn is_own(&self, key: &str) -> bool {
        self.settings.is_given(&self.own(key)) || self.is_flag(key)
    }

    /// Whether a flag, or its environment variable, gave it.
    pub(crate) fn is_flag(&self, key: &str) -> bool {
        matches!(self.settings.given.get(key), Some((_, Origin::Flag | Origin::Variable)))
    }

    /// Whether the file gives it for this scenario, whatever flags are given.
    pub(crate) fn is_in_file(&self, key: &str) -> bool {
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
