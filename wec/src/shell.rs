//! Completions, man pages and the topics of `wec help`, made from the table of flags.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use wec_startup::{Exit, report, say};

use crate::Cli;

/// Options of `wec completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionOptions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Options of `wec man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManOptions {
    /// Folder for the pages, wec.1 and one for each command
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// The topics: name, and text.
const TOPICS: [(&str, &str); 3] = [
    ("load", include_str!("topics/load.txt")),
    ("verdict", include_str!("topics/verdict.txt")),
    ("challenges", include_str!("topics/challenges.txt")),
];

/// Below the commands in `wec help`.
pub(crate) const TOPICS_HELP: &str = "Topics: wec help load, wec help verdict, wec help challenges";

pub(crate) fn completions(options: &CompletionOptions) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "wec", &mut script);
    report(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Passed)
}

pub(crate) fn man(options: &ManOptions) -> anyhow::Result<Exit> {
    let failed = || format!("cannot write man pages to {}", options.dir.display());
    std::fs::create_dir_all(&options.dir).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), &options.dir).with_context(failed)?;
    say(format_args!("written to {0}: man -l {0}/wec.1", options.dir.display()));
    Ok(Exit::Passed)
}

/// The text of `wec help TOPIC`, if that was typed.
pub(crate) fn topic(typed: &[OsString]) -> Option<&'static str> {
    let [_, help, topic] = typed else { return None };
    let found = TOPICS.iter().find(|(name, _)| *topic == *name);
    found.filter(|_| help == "help").map(|(_, text)| text.trim_end())
}

#[cfg(test)]
mod tests {
    use wec_requester::config::Key;

    use super::*;

    #[test]
    fn a_topic_is_found_by_its_name() {
        let typed = |words: &[&str]| topic(&words.iter().map(OsString::from).collect::<Vec<_>>());
        for (name, text) in TOPICS {
            assert_eq!(typed(&["wec", "help", name]), Some(text.trim_end()));
            assert!(TOPICS_HELP.contains(&format!("wec help {name}")));
        }
        for other in [&["wec", "help"][..], &["wec", "help", "run"], &["wec", "run", "load"]] {
            assert_eq!(typed(other), None);
        }
    }

    #[test]
    fn the_flags_in_topics_exist_and_lines_fit_a_terminal() {
        const OTHERS: [&str; 3] = ["--junit", "--json", "--help"];
        for (name, text) in TOPICS {
            assert!(text.lines().all(|line| line.chars().count() <= 110), "{name}");
            for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
                let Some(flag) = word.strip_prefix("--") else { continue };
                let singular = ["weight", "threshold"].contains(&flag);
                let known =
                    Key::named(&flag.replace('-', "_")).is_some() || singular || OTHERS.contains(&word);
                assert!(known, "{name}: {word}");
            }
        }
    }

    #[test]
    fn completions_and_pages_have_the_flags_of_the_table() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "wec", &mut script);
        let script = String::from_utf8(script).unwrap();
        let folder = tempfile::tempdir().unwrap();
        man(&ManOptions { dir: folder.path().to_owned() }).unwrap();
        let page = std::fs::read_to_string(folder.path().join("wec-run.1")).unwrap();
        for key in wec_requester::config::KEYS.iter().filter(|key| key.has_flag) {
            let flag = format!("--{}", key.long());
            assert!(script.contains(&flag), "{flag}");
            let of_run = key.place != wec_requester::config::KeyPlace::Search;
            assert!(!of_run || page.contains(&flag.replace('-', "\\-")), "{flag}");
        }
    }
}
