//! The configuration of an agent: flag over environment over `.env` over file over default.
//!
//! What `.env` and the file have is added to the command line where neither a flag nor a variable has it. So
//! each value is checked in one place, whatever it came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{ArgAction, Command};
use toml::Table;

/// The file of variables in the working folder.
const DOT_ENV: &str = ".env";

/// The arguments of the program, for `wec agent` with what `.env` and the file add.
///
/// # Errors
/// What is wrong in one of the files, with its line or key.
pub(crate) fn with_files(
    typed: Vec<OsString>,
    command: &Command,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<OsString>, String> {
    let Some(place) = typed.iter().position(|word| word == "agent").filter(|place| *place > 0) else {
        return Ok(typed);
    };
    // Only flags of logging can stand before the command.
    if typed[1..place].iter().any(|word| !word.to_string_lossy().starts_with('-')) {
        return Ok(typed);
    }
    let Some(agent) = command.find_subcommand("agent") else { return Ok(typed) };
    let flags = typed[place + 1..].to_vec();
    let beside = dot_env()?;
    let config = value_of(&flags, "config")
        .or_else(|| variable("WEC_AGENT_CONFIG"))
        .or_else(|| beside.get("WEC_AGENT_CONFIG").cloned());
    let file = config.map_or_else(|| Ok(Table::new()), |path| file(Path::new(&path), agent))?;
    let mut all = typed;
    for (long, name) in flags_of(agent) {
        if value_of(&flags, &long).is_some() || variable(&name).is_some() {
            continue;
        }
        let values = match (beside.get(&name), file.get(&long.replace('-', "_"))) {
            (Some(value), _) => vec![value.clone()],
            (None, Some(value)) => texts_of(value, &long, is_repeated(agent, &long))?,
            (None, None) => continue,
        };
        for value in values {
            if !is_switch(agent, &long) {
                all.push(format!("--{long}={value}").into());
            } else if value == "true" {
                all.push(format!("--{long}").into());
            }
        }
    }
    Ok(all)
}

/// The variables of `.env` in the working folder; none without such a file.
///
/// # Errors
/// The line that is none of `NAME=VALUE`, a comment, or empty.
pub(crate) fn dot_env() -> Result<BTreeMap<String, String>, String> {
    match std::fs::read_to_string(DOT_ENV) {
        Ok(text) => variables(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(format!("cannot read {DOT_ENV}: {error}")),
    }
}

fn variables(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            return Err(format!("{DOT_ENV}:{number}: not NAME=VALUE"));
        };
        variables.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
    }
    Ok(variables)
}

/// The text within quotes; else up to a comment.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((within, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return within;
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end()
}

/// The flags that have a variable, with it.
fn flags_of(agent: &Command) -> impl Iterator<Item = (String, String)> {
    agent.get_arguments().filter_map(|arg| {
        let (long, variable) = (arg.get_long()?, arg.get_env()?);
        Some((long.to_owned(), variable.to_string_lossy().into_owned()))
    })
}

fn is_switch(agent: &Command, long: &str) -> bool {
    let arg = agent.get_arguments().find(|arg| arg.get_long() == Some(long));
    arg.is_some_and(|arg| !arg.get_action().takes_values())
}

fn is_repeated(agent: &Command, long: &str) -> bool {
    let arg = agent.get_arguments().find(|arg| arg.get_long() == Some(long));
    arg.is_some_and(|arg| matches!(arg.get_action(), ArgAction::Append))
}

/// The value of a flag in the command line; empty for one whose value is the next word that is missing.
fn value_of(flags: &[OsString], long: &str) -> Option<String> {
    let flag = format!("--{long}");
    flags.iter().enumerate().find_map(|(place, word)| {
        let word = word.to_string_lossy();
        if word == flag {
            return Some(
                flags.get(place + 1).map(|next| next.to_string_lossy().into_owned()).unwrap_or_default(),
            );
        }
        word.strip_prefix(&format!("{flag}=")).map(str::to_owned)
    })
}

fn file(path: &Path, agent: &Command) -> Result<Table, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("--config: cannot read {shown}: {error}"))?;
    let table: Table = text.parse().map_err(|error| format!("{shown}: {error}"))?;
    let known: Vec<_> = flags_of(agent).map(|(long, _)| long.replace('-', "_")).collect();
    match table.keys().find(|key| !known.contains(key)) {
        Some(key) if wec_requester::config::Key::named(key).is_some() => {
            Err(format!("{shown}: {key}: belongs to sessions: the file of an agent has what is local to it"))
        }
        Some(key) => Err(format!("{shown}: {key}: unknown key; known are {}", known.join(", "))),
        None => Ok(table),
    }
}

/// A list is a value for each of its items if the flag may be repeated, else one value with commas.
fn texts_of(value: &toml::Value, long: &str, repeated: bool) -> Result<Vec<String>, String> {
    let toml::Value::Array(items) = value else { return Ok(vec![text_of(value, long)?]) };
    let texts = items.iter().map(|item| text_of(item, long)).collect::<Result<Vec<_>, _>>()?;
    Ok(if repeated { texts } else { vec![texts.join(",")] })
}

fn text_of(value: &toml::Value, long: &str) -> Result<String, String> {
    Ok(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        other => {
            return Err(format!("{}: a {} is not expected here", long.replace('-', "_"), other.type_str()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_as_shells_and_compose_do() {
        let text = "# the board\nWEC_BOARD=etcd://a:1\n\nexport WEC_GROUP = \"eu west\" # where\nWEC_LABELS='a=1,b=2'\nWEC_NODE=a # x\n";
        let read = variables(text).unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            read,
            [
                ("WEC_BOARD", "etcd://a:1"),
                ("WEC_GROUP", "eu west"),
                ("WEC_LABELS", "a=1,b=2"),
                ("WEC_NODE", "a")
            ]
        );
        assert_eq!(variables("A=1\nWEC_BOARD\n").unwrap_err(), ".env:2: not NAME=VALUE");
    }
}
