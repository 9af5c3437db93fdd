//! `Key`: a row of the table of keys, which is in [`config::keys`](crate::config::keys) and in the files of executors.

use wec_record::Chain;
use wec_record::plan::{PlainScenarioValues, PlainValues};

/// The heading of the keys of the load.
pub(crate) const LOAD: &str = "Load";

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Key {
    /// The name in files (`run_time`); keys of the table `[capacity]` are prefixed with its name and a dot.
    pub name: &'static str,
    /// The value's name in `--help`: `TIME`.
    pub value: &'static str,
    /// The kind of its values.
    pub kind: KeyKind,
    /// The heading in `--help`.
    pub group: &'static str,
    /// Its meaning, for people.
    pub help: &'static str,
    /// Its place in files.
    pub place: KeyPlace,
    /// Whether there is a flag.
    pub has_flag: bool,
    /// The short flag.
    pub short: Option<char>,
    /// Whether `-h` shows it; most keys are only in `--help`.
    pub usual: bool,
    /// Whether it is a part of the load, which some commands set themselves: they refuse it
    /// ([`Command::refuses`](crate::config::Command::refuses)).
    pub sets_load: bool,
    /// Whether it says which CA is used, or how it is reached: each command that sends requests has it.
    pub of_ca: bool,
    /// Whether only the process that runs the plan may set it: an agent has it in its own configuration, and
    /// refuses a session with it.
    pub local: bool,
    /// How its value is read.
    pub(crate) reads: Reads,
}

/// Sets a value from its text, or returns what is wrong with the text.
pub(crate) type Read<V> = fn(&mut V, &str) -> Result<(), String>;

/// How the value of a key is read. `usual` is its text if none is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reads {
    /// By [`config`](crate::config), an executor or a command: the run uses it in another form than the log.
    Elsewhere,
    /// Into the values of the plan.
    Plan { usual: &'static str, read: Read<PlainValues> },
    /// Into the values of a scenario.
    Scenario { usual: &'static str, read: Read<PlainScenarioValues> },
}

/// Sets a value that could be read.
pub(crate) fn put<T>(to: &mut T, value: Result<impl Into<T>, String>) -> Result<(), String> {
    *to = value?.into();
    Ok(())
}

/// The place of a key in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// Not in files, only in the command line and the environment.
    Command,
    /// At the top level.
    Plan,
    /// In the table of a scenario, or at the top level for all scenarios without a value of their own.
    Scenario,
    /// In the table `[capacity]`, which only `wec capacity` reads.
    Search,
}

/// The kind of a key's values, for the flag's arity and the schema. The values are checked when they are
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Text.
    Text,
    /// `true` or `false`; a flag without a value is `true`.
    Bool,
    /// A whole number.
    Whole,
    /// A number, or text with a unit.
    Number,
    /// The name of an executor.
    Executor,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Several, separated by commas or as a list.
    List,
    /// As [`KeyKind::List`], and the flag may also be repeated.
    Repeated,
    /// Thresholds, whose text may contain commas; the flag is repeated.
    Thresholds,
    /// A weight for each chain: a table, or `CHAIN=W` in a flag.
    Weights,
    /// Stages of a load: tables, or text.
    Stages,
}

/// A key of the top level with this name, name of its value, kind, heading and meaning.
pub(crate) const fn key(
    name: &'static str,
    value: &'static str,
    kind: KeyKind,
    group: &'static str,
    help: &'static str,
) -> Key {
    let place = KeyPlace::Plan;
    Key {
        name,
        value,
        kind,
        group,
        help,
        place,
        has_flag: true,
        short: None,
        usual: false,
        sets_load: false,
        of_ca: false,
        local: false,
        reads: Reads::Elsewhere,
    }
}

impl Key {
    /// A key that only one executor has: its name, the name of its value, its kind and its meaning.
    pub(crate) const fn of_executor(
        name: &'static str,
        value: &'static str,
        kind: KeyKind,
        help: &'static str,
    ) -> Self {
        Self { place: KeyPlace::Scenario, sets_load: true, ..key(name, value, kind, LOAD, help) }
    }

    /// The plan has its value as it is recorded: this reads its text, and the usual one if none is given.
    pub(crate) const fn of_plan(self, usual: &'static str, read: Read<PlainValues>) -> Self {
        Self { reads: Reads::Plan { usual, read }, ..self }
    }

    /// As [`Self::of_plan`], for a scenario.
    pub(crate) const fn of_scenario(self, usual: &'static str, read: Read<PlainScenarioValues>) -> Self {
        Self { reads: Reads::Scenario { usual, read }, ..self }
    }

    pub(crate) const fn sets_load(self) -> Self {
        Self { sets_load: true, ..self }
    }

    pub(crate) const fn of_ca(self) -> Self {
        Self { of_ca: true, ..self }
    }

    pub(crate) const fn local(self) -> Self {
        Self { local: true, ..self }
    }

    pub(crate) const fn usual(self) -> Self {
        Self { usual: true, ..self }
    }

    pub(crate) const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    pub(crate) const fn only_in_files(self) -> Self {
        Self { has_flag: false, ..self }
    }

    /// `run_time` as a flag: `run-time`. A flag that gives one value at a time is in the singular; flags of a
    /// search have no table in their names.
    pub fn long(&self) -> String {
        let name = match self.kind {
            KeyKind::Thresholds | KeyKind::Weights => self.name.trim_end_matches('s'),
            _ => self.name.rsplit('.').next().unwrap_or(self.name),
        };
        name.replace('_', "-")
    }

    /// The environment variable of the flag: `WEC_RUN_TIME`.
    pub fn variable(&self) -> String {
        format!("WEC_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// Its names in files: its own, or for weights one for each chain.
    pub(crate) fn in_files(&self) -> Vec<String> {
        match (self.place, self.kind) {
            (KeyPlace::Command, _) => Vec::new(),
            (_, KeyKind::Weights) => Chain::ALL.map(|chain| format!("{}.{chain}", self.name)).into(),
            _ => vec![self.name.to_owned()],
        }
    }
}
