//! Parsing of the command line: clap, and the cases that it does not handle.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Parser};

use crate::say;

/// The first words of the value names of flags whose values are times, numbers and shares.
const NUMBERS: [&str; 7] = ["N", "TIME", "RATE", "RPS", "SHARE", "DURATION", "SECONDS"];

/// The program's arguments. Help and errors are printed and end the program.
pub fn parse_arguments<C: Parser>() -> C {
    parse_these_arguments(std::env::args_os().collect())
}

/// As [`parse_arguments`], for other arguments than the program's own.
pub fn parse_these_arguments<C: Parser>(typed: Vec<OsString>) -> C {
    let mut command = without_values_of_variables(numbers_may_be_negative(C::command()));
    let matches = command.try_get_matches_from_mut(&typed);
    let parsed = matches.and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.unwrap_or_else(|mut error| {
        let is_set = |variable: &OsStr| std::env::var_os(variable).is_some();
        if let Some(message) = naming_variables(&mut error, &command, &typed, is_set) {
            say(message.trim_end());
            std::process::exit(error.exit_code());
        }
        let long = [ContextKind::InvalidValue, ContextKind::InvalidArg].into_iter().find_map(|kind| {
            match error.get(kind)? {
                ContextValue::String(value) if value.len() > 80 => Some(value.clone()),
                _ => None,
            }
        });
        match long {
            Some(value) => {
                say(wec_text::with_cut(error.render().to_string(), &value).trim_end());
                std::process::exit(2)
            }
            None => error.exit(),
        }
    })
}

/// `--run-time -5s`: without this clap reports an unknown flag `-5`.
fn numbers_may_be_negative(command: Command) -> Command {
    let is_number = |arg: &Arg| {
        let name = arg.get_value_names().and_then(|names| names.first());
        let word = name.and_then(|name| name.split(|c: char| !c.is_ascii_uppercase()).next());
        !arg.is_positional() && word.is_some_and(|word| NUMBERS.contains(&word))
    };
    command
        .mut_args(|arg| if is_number(&arg) { arg.allow_hyphen_values(true) } else { arg })
        .mut_subcommands(numbers_may_be_negative)
}

/// Help names the variable of a flag and not its value, which differs from machine to machine and may be a secret.
fn without_values_of_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values_of_variables)
}

/// Names variables instead of flags in an error about a value that came from the environment: clap names the flag.
/// Returns the message of an error whose text is fixed already.
fn naming_variables(
    error: &mut clap::Error,
    command: &Command,
    typed: &[OsString],
    is_set: impl Fn(&OsStr) -> bool,
) -> Option<String> {
    // The command whose arguments these are.
    let called = typed.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    let command = called.fold(command, |command, word| command.find_subcommand(word).unwrap_or(command));
    let variable_of = |shown: &str| {
        let arg = command.get_arguments().find(|arg| arg.to_string() == shown)?;
        let variable = arg.get_env().filter(|variable| is_set(variable) && !is_typed(arg, typed))?;
        Some((arg.get_long()?.to_owned(), variable.to_string_lossy().into_owned()))
    };
    let mut message = None;
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        let Some(ContextValue::String(shown)) = error.get(kind) else { continue };
        let Some((long, variable)) = variable_of(shown) else { continue };
        // Of an error by `Undisclosed` the text is fixed.
        let fixed = format!("--{long}: ");
        let text = error.render().to_string();
        if text.contains(&fixed) {
            message = Some(text.replacen(&fixed, &format!("{variable}: "), 1));
        } else {
            error.insert(kind, ContextValue::String(variable));
        }
    }
    // clap counts a flag that a variable gives as used, and shows it in the usage as if it had to be typed.
    let given = command
        .get_arguments()
        .filter(|arg| !arg.is_required_set() && arg.get_env().is_some_and(&is_set) && !is_typed(arg, typed));
    let given: Vec<_> = given.map(|arg| format!(" {arg}")).collect();
    let text = message.clone().unwrap_or_else(|| error.render().to_string());
    let Some(usage) = text.lines().find(|line| line.starts_with("Usage: ")) else { return message };
    let short = given.iter().fold(usage.to_owned(), |usage, flag| usage.replace(flag, ""));
    if short == usage { message } else { Some(text.replace(usage, &short)) }
}

/// Whether the command line has the flag.
fn is_typed(arg: &Arg, typed: &[OsString]) -> bool {
    let flag = arg.get_long().map(|long| format!("--{long}"));
    typed.iter().filter_map(|word| word.to_str()).any(|word| {
        let long = word.split('=').next().is_some_and(|word| Some(word) == flag.as_deref());
        let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        long || letters.zip(arg.get_short()).is_some_and(|(letters, short)| letters.starts_with(short))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Undisclosed;

    #[derive(Debug, clap::Parser)]
    struct Services {
        #[command(subcommand)]
        service: Service,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Service {
        One {
            #[arg(long, short = 'l', value_name = "N", env = "WEC_TEST_ONE_LISTEN")]
            listen: u16,
        },
        Two {
            #[arg(long, value_name = "N", env = "WEC_TEST_TWO_LISTEN", default_value = "1")]
            listen: u16,
            #[arg(long, env = "WEC_TEST_BOARD", default_value = "x", value_parser = Undisclosed(wrong))]
            board: String,
        },
    }

    fn wrong(text: &str) -> Result<String, String> {
        if text == "x" { Ok(text.to_owned()) } else { Err("is no board".to_owned()) }
    }

    #[test]
    fn a_wrong_value_is_told_by_the_name_it_came_from() {
        // The variables count as set and the values are typed: this process's environment stays as it is.
        let told = |as_if: &[&str], typed: &[&str], set: bool| {
            let mut command = <Services as clap::CommandFactory>::command();
            let mut error = command.try_get_matches_from_mut(as_if).unwrap_err();
            let typed: Vec<_> = typed.iter().map(OsString::from).collect();
            let message = naming_variables(&mut error, &command, &typed, |_| set);
            message.unwrap_or_else(|| error.to_string()).lines().next().unwrap().to_owned()
        };
        let (one, two, board) = (
            ["wec", "one", "--listen", "abc"],
            ["wec", "two", "--listen", "abc"],
            ["wec", "two", "--board", "abc"],
        );
        assert!(told(&one, &["wec", "one"], true).contains("'abc' for 'WEC_TEST_ONE_LISTEN'"));
        assert!(told(&two, &["wec", "two"], true).contains("'abc' for 'WEC_TEST_TWO_LISTEN'"));
        assert_eq!(told(&board, &["wec", "two"], true), "error: WEC_TEST_BOARD: is no board");
        // What is typed overrides the variable.
        assert!(told(&one, &one, true).contains("for '--listen <N>'"));
        assert!(told(&one, &["wec", "one", "--listen=abc"], true).contains("for '--listen <N>'"));
        assert!(told(&one, &["wec", "one", "-labc"], true).contains("for '--listen <N>'"));
        assert!(told(&two, &two, false).contains("for '--listen <N>'"));
        assert_eq!(told(&board, &board, true), "error: --board: is no board");
    }

    #[derive(Debug, clap::Parser)]
    struct Paged {
        #[arg(long, value_name = "URL", env = "WEC_TEST_AT", global = true)]
        at: Option<String>,
        #[command(subcommand)]
        action: Action,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Action {
        Remove { name: String },
    }

    #[test]
    fn the_usage_has_no_flag_that_a_variable_gives() {
        let usage = |as_if: &[&str], typed: &[&str]| {
            let mut command = <Paged as clap::CommandFactory>::command();
            let mut error = command.try_get_matches_from_mut(as_if).unwrap_err();
            let typed: Vec<_> = typed.iter().map(OsString::from).collect();
            let message = naming_variables(&mut error, &command, &typed, |_| true);
            let message = message.unwrap_or_else(|| error.render().to_string());
            message.lines().find(|line| line.starts_with("Usage")).unwrap().to_owned()
        };
        let typed = ["wec", "remove", "--at", "x"];
        assert_eq!(usage(&typed, &["wec", "remove"]), "Usage: wec remove <NAME>");
        assert_eq!(usage(&typed, &typed), "Usage: wec remove --at <URL> <NAME>");
    }

    #[derive(clap::Parser)]
    struct Cli {
        #[arg(long, value_name = "TIME|A..B")]
        run_time: Option<String>,
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    }

    #[test]
    fn a_negative_number_is_the_value_of_its_flag() {
        let matches = numbers_may_be_negative(<Cli as clap::CommandFactory>::command())
            .try_get_matches_from(["wec", "--run-time", "-5s"]);
        let cli = <Cli as clap::FromArgMatches>::from_arg_matches(&matches.unwrap()).unwrap();
        assert_eq!((cli.run_time.as_deref(), cli.name), (Some("-5s"), None));
        let other = numbers_may_be_negative(<Cli as clap::CommandFactory>::command())
            .try_get_matches_from(["wec", "--name", "-5s"]);
        assert!(other.is_err());
    }
}
