//! The command line as it is given to clap.

use std::ffi::OsString;

/// The command line, with values that begin with a minus and a digit joined to their flags: `--rate -5/s` as `--rate=-5/s`.
///
/// No flag of the suite begins with a digit, so what follows a flag so is its value, and a wrong one: the answer is then what is wrong
/// with it. To let values begin with a minus at all (`allow_hyphen_values`) would take the next flag for a value that was forgotten.
pub fn arguments() -> Vec<OsString> {
    joined(std::env::args_os())
}

fn joined(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut flags = true;
    for argument in arguments {
        match joined.last_mut() {
            Some(flag) if flags && is_flag(flag) && is_negative(&argument) => {
                flag.push("=");
                flag.push(argument);
            }
            _ => {
                // Nothing is a flag after it.
                flags &= argument != "--";
                joined.push(argument);
            }
        }
    }
    joined
}

/// Whether it is the name of a flag, and nothing else: `--rate`, `-r`.
fn is_flag(argument: &OsString) -> bool {
    argument.to_str().is_some_and(|text| match text.strip_prefix("--") {
        Some(name) => !name.is_empty() && !name.contains('='),
        None => text.len() == 2 && text.starts_with('-') && text.ends_with(|c: char| c.is_ascii_alphabetic()),
    })
}

fn is_negative(argument: &OsString) -> bool {
    let rest = argument.to_str().and_then(|text| text.strip_prefix('-'));
    rest.is_some_and(|rest| rest.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_a_minus_and_a_digit_belongs_to_the_flag_before_it() {
        for (typed, expected) in [
            ("wec run --rate -5/s -u -1 -t 5s", "wec run --rate=-5/s -u=-1 -t 5s"),
            ("wec run --rate -.5/s", "wec run --rate=-.5/s"),
            ("wec run --rate --run-time 5s", "wec run --rate --run-time 5s"),
            ("wec run --json - -5", "wec run --json - -5"),
            ("wec run --rate=1 -5 -r5 -5", "wec run --rate=1 -5 -r5 -5"),
            ("wec seq -5s 1", "wec seq -5s 1"),
            ("wec session weight -- --rate -5", "wec session weight -- --rate -5"),
        ] {
            let joined = joined(typed.split(' ').map(OsString::from));
            assert_eq!(joined, expected.split(' ').map(OsString::from).collect::<Vec<_>>(), "{typed}");
        }
    }
}
