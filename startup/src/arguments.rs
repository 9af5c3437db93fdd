//! Parsing of the command line: clap, and the cases that it does not handle.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Parser};

use crate::say;

/// The first words of the value names of flags whose values are times, numbers and shares.
const NUMBERS: [&str; 7] = ["N", "TIME", "RATE", "RPS", "SHARE", "DURATION", "SECONDS"];

/// The program's arguments. Help and errors are printed and end the program.
pub fn parse_arguments<C: Parser>() -> C {
    let matches = numbers_may_be_negative(C::command()).try_get_matches();
    let parsed = matches.and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.unwrap_or_else(|error| {
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

#[cfg(test)]
mod tests {
    use super::*;

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
