//! The flags of a command, made from the table of keys, and their values.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::LazyLock;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use wec_record::Chain;

use super::keys::KEYS;
use crate::settings::{Key, KeyKind, KeyPlace, Origin, Settings, with_nearest};

/// A command whose flags come from the table of keys.
pub trait Command {
    /// Whether environment variables replace missing flags.
    const ENVIRONMENT: bool = true;

    /// Keys that have a flag of the command's own.
    const OWN: &'static [&'static str] = &[];

    /// Whether the command sets the load itself.
    const SETS_LOAD: bool = false;

    /// Keys of the load that such a command leaves to people.
    const KEEPS: &'static [&'static str] = &[];

    /// Keys that the command sets beside the load.
    const SETS: &'static [&'static str] = &[];

    /// Whether the command has the key's flag. A key without one has no effect, so its environment variable is not even
    /// read: this is for keys of another kind of command, and for those that have a flag of the command's own.
    fn takes(key: &Key) -> bool {
        key.place != KeyPlace::Search && !Self::OWN.contains(&key.name)
    }

    /// Whether the command reads the key only to report what to give instead. Help does not show its flag.
    fn refuses(key: &Key) -> bool {
        let of_load = Self::SETS_LOAD && key.sets_load && !Self::KEEPS.contains(&key.name);
        of_load || Self::SETS.contains(&key.name)
    }

    /// The names of the keys that it [refuses](Self::refuses).
    #[must_use]
    fn refused() -> Vec<&'static str> {
        KEYS.iter().filter(|key| Self::refuses(key)).map(|key| key.name).collect()
    }

    /// The help of the key's flag, where the command supports only a part of the key's values or uses.
    fn help(key: &Key) -> &'static str {
        key.help
    }
}

/// A run: every key except those of a search.
#[derive(Clone, Copy, Debug)]
pub enum Run {}

impl Command for Run {}

/// The flags of a command, for clap.
#[derive(Clone, Debug)]
pub struct Flags<C> {
    /// The given values.
    pub plan: PlanOptions,
    command: PhantomData<C>,
}

/// The load and its target as given by flags, or by the environment variables for them. The file is read when
/// the plan is [resolved](PlanOptions::resolve). Flags override the environment, which overrides the file.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    given: BTreeMap<&'static str, Given>,
}

#[derive(Clone, Debug)]
struct Given {
    values: Vec<String>,
    origin: Origin,
}

impl PlanOptions {
    /// The same options with this key.
    ///
    /// # Panics
    /// When there is no such key.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets this key, or adds a value if it can be repeated; several values are separated by commas, as in
    /// its flag.
    ///
    /// # Panics
    /// When there is no such key.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let key = Key::named(name).unwrap_or_else(|| panic!("{name} is not in the table of keys"));
        let given = self.given.entry(key.name);
        let Given { values, .. } =
            given.or_insert_with(|| Given { values: Vec::new(), origin: Origin::Flag });
        if !key.kind.is_repeated() {
            values.clear();
        }
        let value = value.into();
        match key.kind {
            KeyKind::Repeated | KeyKind::Weights => values.extend(value.split(',').map(str::to_owned)),
            _ => values.push(value),
        }
    }

    /// Whether a flag, or the environment, gave it.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The given flags, as they are written; not those from the environment.
    pub fn flags(&self) -> Vec<String> {
        let given = self.given.iter().filter(|(_, given)| matches!(given.origin, Origin::Flag));
        given.filter_map(|(name, _)| Some(format!("--{}", Key::named(name)?.long()))).collect()
    }

    /// Its value, the last one if it was repeated.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given.get(name)?.values.last().map(String::as_str)
    }

    /// The values as settings, with the file if there is one.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        for key in KEYS.iter().filter(|key| key.place != KeyPlace::Command) {
            let Some(Given { values, origin }) = self.given.get(key.name) else { continue };
            match key.kind {
                KeyKind::Weights => {
                    values.iter().for_each(|weight| set_weight(&mut settings, key, weight, origin));
                }
                KeyKind::Thresholds if values.iter().any(|text| text.trim().is_empty()) => settings
                    .mistake_at(
                        key.name,
                        origin.clone(),
                        "is empty: write one like 'chain{p(95)} < 2s' (docs/thresholds.md), or leave it out",
                    ),
                _ => settings.give(key.name, &values.join(","), origin.clone()),
            }
        }
        if let Some(Given { values, origin }) = self.given.get("config")
            && let Some(path) = values.last()
        {
            settings.file(Path::new(path), origin.clone());
        }
        settings
    }
}

/// `certificate=4`.
fn set_weight(settings: &mut Settings, key: &Key, weight: &str, origin: &Origin) {
    match weight.split_once('=') {
        Some((chain, value)) if Chain::from_str(chain.trim()).is_ok() => {
            settings.give(&format!("{}.{}", key.name, chain.trim()), value.trim(), origin.clone());
        }
        // An error of the flag or its variable: files have a table.
        _ => {
            let message = format!(
                "{} is not CHAIN=WEIGHT, as in certificate=4; expected CHAIN to be one of {}",
                wec_text::quoted(weight),
                Chain::names()
            );
            settings.mistake_at(&key.long(), origin.clone(), with_nearest(message, weight));
        }
    }
}

impl<C: Command> Flags<C> {
    fn keys() -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(|key| key.has_flag && C::takes(key))
    }

    /// Text below the flags in `-h` and `--help`, with a flag of the command as the example.
    fn footer() -> Option<String> {
        let shown = |name: &str| Self::keys().find(|key| key.name == name && !C::refuses(key));
        let key = ["run_time", "key_types"].into_iter().find_map(shown).filter(|_| C::ENVIRONMENT)?;
        Some(format!(
            "Flags override environment variables (--{}: {}), and these override the file ({}).",
            key.long(),
            key.variable(),
            key.name
        ))
    }
}

impl<C: Command> clap::Args for Flags<C> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = Self::keys().fold(command, |command, key| {
            let arg = arg(key, C::help(key), C::ENVIRONMENT);
            command.arg(if C::refuses(key) { arg.hide(true) } else { arg })
        });
        match Self::footer() {
            Some(footer) => command.after_help(footer),
            None => command,
        }
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl<C: Command> clap::FromArgMatches for Flags<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self { plan: PlanOptions::default(), command: PhantomData };
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in Self::keys() {
            if let Some(values) = matches.get_many::<String>(key.name) {
                let origin = match matches.value_source(key.name) {
                    Some(ValueSource::EnvVariable) => Origin::Variable,
                    _ => Origin::Flag,
                };
                self.plan.given.insert(key.name, Given { values: values.cloned().collect(), origin });
            }
        }
        Ok(())
    }
}

impl KeyKind {
    /// Whether the flag may be given more than once.
    pub(super) const fn is_repeated(self) -> bool {
        matches!(self, Self::Repeated | Self::Thresholds | Self::Weights)
    }
}

/// A flag and its variable. clap keeps names for the life of the program.
static NAMES: LazyLock<BTreeMap<&str, (String, String)>> =
    LazyLock::new(|| KEYS.iter().map(|key| (key.name, (key.long(), key.variable()))).collect());

fn arg(key: &'static Key, help: &'static str, environment: bool) -> Arg {
    let (long, variable) = &NAMES[key.name];
    let arg = Arg::new(key.name)
        .long(long.as_str())
        .value_name(key.value)
        .help(help)
        .help_heading(key.group)
        .hide_short_help(!key.usual);
    let arg = match key.short {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    let arg = match key.kind {
        KeyKind::Bool => arg.num_args(0..=1).default_missing_value("true"),
        KeyKind::Repeated | KeyKind::Weights => arg.action(ArgAction::Append).value_delimiter(','),
        KeyKind::Thresholds => arg.action(ArgAction::Append).visible_alias(key.name),
        _ => arg,
    };
    if !environment {
        return arg;
    }
    // The value may contain a password, and `-h` has no room for names that follow from those of the flags.
    arg.env(variable.as_str()).hide_env(true).long_help(format!("{help} [env: {variable}]"))
}
