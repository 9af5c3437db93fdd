//! `docs/reference/flags.md`, generated from the table of keys and from clap. This module has only the test
//! that compares them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use wec_requester::config::{FLAGS_ONLY, KEYS, Key, KeyKind, KeyPlace};

use crate::Cli;

const BEGINNING: &str = "\
<!-- Made from requester/src/config/keys.rs and the commands' options:
     WEC_WRITE_DOCS=1 cargo test -p wec --bin wec reference -->

# Flags and keys

`wec COMMAND -h` shows the flags that are used most, `--help` all of them. This page has all of
them, with their environment variables and their keys in a configuration file.

Flags override environment variables, and these override the file (`--config FILE`, TOML; its JSON
Schema is printed by `wec schema`). Keys of a scenario can stand in its table `[scenarios.NAME]`, or
at the top level for all scenarios that have none of their own; a flag holds for all of them. Lists
are written with commas, or in a file as an array.
";

#[test]
fn the_page_of_flags_is_current() {
    let page = page();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/flags.md");
    if std::env::var_os("WEC_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).is_ok_and(|written| written == page),
        "docs/reference/flags.md is out of date: WEC_WRITE_DOCS=1 cargo test -p wec --bin wec reference"
    );
}

/// The other flags of the commands that take a file.
#[test]
fn the_flags_that_are_no_keys_are_listed() {
    let mut cli = Cli::command();
    cli.build();
    let with_file = cli
        .get_subcommands()
        .filter(|command| command.get_arguments().any(|arg| arg.get_id() == "config" && is_key(arg)));
    let longs =
        with_file.flat_map(Command::get_arguments).filter(|arg| Key::named(arg.get_id().as_str()).is_none());
    let longs: BTreeSet<_> =
        longs.filter_map(Arg::get_long).filter(|long| !["help", "version"].contains(long)).collect();
    let list: String = longs.into_iter().flat_map(|long| [long, "\n"]).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../requester/src/config/flags_only.txt");
    if std::env::var_os("WEC_WRITE_DOCS").is_some() {
        std::fs::write(path, &list).unwrap();
    } else {
        assert_eq!(
            list, FLAGS_ONLY,
            "WEC_WRITE_DOCS=1 cargo test -p wec --bin wec reference writes the list"
        );
    }
}

/// People can do the same by the web API, and so on the page, as in a terminal.
#[test]
fn every_operation_of_the_api_has_its_command() {
    const COMMANDS: &[(&str, &str)] = &[
        ("delete /api/v1/nodes/{name}", "node remove"),
        ("delete /api/v1/sessions/{id}", "session delete"),
        ("get /api/v1/nodes", "node list"),
        ("get /api/v1/nodes/{name}", "node show"),
        ("get /api/v1/sessions", "session list"),
        ("get /api/v1/sessions/{id}", "session show"),
        ("get /api/v1/sessions/{id}/journal", "session show"),
        ("patch /api/v1/sessions/{id}", "session update"),
        ("patch /api/v1/sessions/{id}/scenarios/{name}", "session workers"),
        ("post /api/v1/nodes", "node add"),
        ("post /api/v1/nodes/{name}/activate", "node activate"),
        ("post /api/v1/nodes/{name}/deactivate", "node deactivate"),
        ("post /api/v1/runs/{id}/marks", "mark"),
        // Which checks it before it makes the session.
        ("post /api/v1/scenarios/check", "session create"),
        ("post /api/v1/sessions", "session create"),
        ("post /api/v1/sessions/{id}/clone", "session clone"),
        ("post /api/v1/sessions/{id}/start", "session start"),
        ("post /api/v1/sessions/{id}/stop", "session stop"),
    ];
    let api: serde_json::Value = serde_json::from_str(&wec_analytics::openapi()).unwrap();
    let paths = api["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods
            .filter(|(_, operation)| operation["tags"][0] == "control")
            .map(move |(method, _)| format!("{method} {path}"))
    });
    let operations: BTreeSet<_> = operations.collect();
    assert_eq!(
        operations.iter().map(String::as_str).collect::<Vec<_>>(),
        COMMANDS.iter().map(|(operation, _)| *operation).collect::<Vec<_>>()
    );
    let mut cli = Cli::command();
    cli.build();
    for (operation, command) in COMMANDS {
        let found = command.split(' ').try_fold(&cli, |within, name| within.find_subcommand(name));
        assert!(found.is_some(), "{operation}: there is no wec {command}");
    }
    // And the other way round: what the terminal can do about sessions and nodes, the API can.
    let by_api = |name: &str| COMMANDS.iter().any(|(_, command)| *command == name);
    let of_board = ["rate", "weight", "event", "limit", "pause", "resume", "serve", "watch", "help"];
    for group in ["session", "node"] {
        for command in cli.find_subcommand(group).unwrap().get_subcommands().map(Command::get_name) {
            // Changes of a scenario and of a state, which the API makes by a PATCH, and what is no change.
            let known = of_board.contains(&command) || by_api(&format!("{group} {command}"));
            assert!(known, "the API has nothing for wec {group} {command}");
        }
    }
}

/// Help names only what the command takes.
#[test]
fn help_has_no_flag_that_the_command_refuses() {
    let mut cli = Cli::command();
    cli.build();
    for name in ["hammer", "seq", "aseq", "capacity", "demo"] {
        let command = cli.find_subcommand_mut(name).unwrap();
        let shown: Vec<_> =
            command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long).collect();
        let shown: BTreeSet<String> = shown.into_iter().map(str::to_owned).collect();
        for help in [command.render_help().to_string(), command.render_long_help().to_string()] {
            for key in KEYS.iter().filter(|key| key.has_flag && !shown.contains(&key.long())) {
                let flag = format!("--{}", key.long());
                let words = || help.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
                assert!(
                    !words().any(|word| word == flag || word == key.variable()),
                    "{name}: {flag}\n{help}"
                );
            }
            assert!(!help.contains("with stages") && !help.contains("as stages"), "{name}: {help}");
        }
    }
}

/// A message may advise only flags that exist: of this program, or of others that it starts or names.
#[test]
fn messages_name_only_flags_that_exist() {
    const OF_OTHERS: &[(&str, &[&str])] = &[
        ("log/src/frames.rs", &["long", "ultra"]),
        ("wec/src/trial.rs", &["rm", "detach", "use-aliases", "service-ports", "env", "build"]),
        ("wec/src/trial/caddy.rs", &["mount", "propagation", "bind", "adapter"]),
        // The beginning of the names of several.
        ("requester/src/error.rs", &["limit-"]),
    ];
    let mut cli = Cli::command();
    cli.build();
    let known = page();
    let known: BTreeSet<&str> = flags_in(&known).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    let crates = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    // It starts other servers.
    let mut folders: Vec<_> = crates.filter(|it| !it.ends_with("testbed")).map(|it| it.join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.extension() {
                None => folders.push(path),
                Some(extension) if extension == "rs" => sources.push(path),
                Some(_) => {}
            }
        }
    }
    assert!(sources.len() > 300, "{}", sources.len());
    for source in sources {
        let name = source.strip_prefix(root).unwrap().to_str().unwrap();
        let of_others = OF_OTHERS.iter().find(|(file, _)| *file == name).map_or(&[][..], |(_, flags)| flags);
        let text = std::fs::read_to_string(&source).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for flag in code.flat_map(flags_in).filter(|flag| !of_others.contains(flag)) {
            assert!(known.contains(flag), "{name}: there is no flag --{flag}");
        }
    }
}

/// The names of flags in a text.
fn flags_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
}

fn page() -> String {
    let mut page = BEGINNING.to_owned();
    let mut heading = "";
    for key in KEYS.iter() {
        if key.group != heading {
            heading = key.group;
            let _ = write!(page, "\n## {heading}\n\n");
            if key.place == KeyPlace::Search {
                page += "Only `wec capacity` has these; in a file they stand in the table `[capacity]`.\n\n";
            }
        }
        page += &entry_of_key(key);
    }
    let mut cli = Cli::command();
    cli.build();
    page += "\n## Commands\n\nEvery command takes the flags of [logging](#logging).\n";
    commands(&cli, "", &mut page);
    page += "\n## Logging\n\n";
    let logging = cli.get_arguments().filter(|arg| arg.get_help_heading() == Some("Logging"));
    logging.for_each(|arg| page += &entry_of_arg(arg));
    page
}

fn entry_of_key(key: &Key) -> String {
    let table = match key.kind {
        KeyKind::Weights => format!("`[{}]`, a weight for each chain", key.name),
        _ => format!("`{}`", key.name.trim_start_matches("capacity.")),
    };
    let place = match key.place {
        KeyPlace::Command => None,
        KeyPlace::Scenario => Some(format!("{table}, also of a scenario")),
        KeyPlace::Plan | KeyPlace::Search => Some(table),
    };
    let flag = key.has_flag.then(|| {
        let short = key.short.map(|letter| format!("`-{letter}`, ")).unwrap_or_default();
        format!("{short}`--{} {}`", key.long(), key.value)
    });
    let (title, file) = match flag {
        Some(flag) => (flag, place.map(|place| format!("File: {place}."))),
        None => (place.unwrap_or_default(), Some("Only in a file.".to_owned())),
    };
    let variable = key.has_flag.then(|| format!("Environment: `{}`.", key.variable()));
    let more: Vec<_> = [file, variable].into_iter().flatten().collect();
    entry(&title, &format!("{}. {}", key.help, more.join(" ")))
}

/// The flags of each command, and the keys of the table that it supports.
fn commands(command: &Command, name: &str, page: &mut String) {
    let shown = |command: &&Command| command.get_name() != "help" && !command.is_hide_set();
    for command in command.get_subcommands().filter(shown) {
        let name = format!("{name} {}", command.get_name());
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, "\n### `wec{name}`\n\n{}\n", wrapped(&format!("{about}.")));
        // Flags for all subcommands are listed with the command.
        let inherited = name.trim().contains(' ');
        let shown = |arg: &&Arg| !(arg.is_hide_set() || inherited && arg.is_global_set());
        let arguments = || command.get_arguments().filter(shown);
        let takes: Vec<&str> =
            arguments().filter(|arg| is_key(arg)).map(|arg| arg.get_id().as_str()).collect();
        if !takes.is_empty() {
            let _ = write!(page, "\n{}\n", wrapped(&taken(&takes)));
        }
        *page += "\n";
        for arg in arguments() {
            let general = ["help", "version"].contains(&arg.get_id().as_str())
                || arg.get_help_heading() == Some("Logging");
            if !general && !is_key(arg) {
                *page += &entry_of_arg(arg);
            }
        }
        commands(command, &name, page);
    }
}

/// Whether the flag is as in the table: other commands have flags of the same names, or help of their own for it.
fn is_key(arg: &Arg) -> bool {
    let help = arg.get_help().map(ToString::to_string);
    Key::named(arg.get_id().as_str()).is_some_and(|key| help.as_deref() == Some(key.help))
}

/// The keys of the table that a command supports, in few words.
fn taken(takes: &[&str]) -> String {
    let flags =
        |keys: Vec<&Key>| keys.iter().map(|key| format!("`--{}`", key.long())).collect::<Vec<_>>().join(", ");
    let has = |key: &&Key| takes.contains(&key.name);
    let of_runs = || KEYS.iter().filter(|key| key.has_flag && key.place != KeyPlace::Search);
    let search = if KEYS.iter().any(|key| key.place == KeyPlace::Search && has(&key)) {
        " and [search](#search)"
    } else {
        ""
    };
    let missing: Vec<_> = of_runs().filter(|key| !has(key)).collect();
    if takes.len() < missing.len() {
        return format!("Of the flags above: {}.", flags(KEYS.iter().filter(has).collect()));
    }
    let without = if missing.is_empty() { String::new() } else { format!(" but {}", flags(missing)) };
    format!("All flags above of runs{search}{without}, and:")
}

fn entry_of_arg(arg: &Arg) -> String {
    let values =
        arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
    let value =
        if arg.get_action().takes_values() { format!(" {}", values.join(" ")) } else { String::new() };
    let title = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("`-{short}`, `--{long}{value}`"),
        (None, Some(long)) => format!("`--{long}{value}`"),
        _ => format!("`{}`", value.trim()),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // The help of a key's flag ends with its variable.
    let help = help.split(" [env: ").next().unwrap_or_default();
    let usual =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let usual = if usual.is_empty() || !arg.get_action().takes_values() {
        String::new()
    } else {
        format!(" [default: {}]", usual.join(","))
    };
    let variable = arg.get_env().map(|name| format!(" Environment: `{}`.", name.to_string_lossy()));
    entry(&title, &format!("{help}{usual}.{}", variable.unwrap_or_default()))
}

/// A list item.
fn entry(title: &str, text: &str) -> String {
    format!("{}\n", wrapped(&format!("- {title}: {text}")).replace('\n', "\n  "))
}

/// In lines of at most 98 columns, so that an indented one has 100.
fn wrapped(text: &str) -> String {
    let (mut lines, mut columns) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if columns > 0 && columns + 1 + width > 98 {
            lines.push('\n');
            columns = 0;
        } else if columns > 0 {
            lines.push(' ');
            columns += 1;
        }
        lines += word;
        columns += width;
    }
    lines
}
