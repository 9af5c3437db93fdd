//! Which files of logs a command reads, and of which runs they are.

use std::path::{Path, PathBuf};

use wec_analytics::counted;
use wec_startup::say;

/// The files that were named, and the further ones of a rotated log of which only the first was named. A note tells
/// them.
pub(crate) fn whole(named: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::with_capacity(named.len());
    for file in named {
        let further = further(file, named);
        if !further.is_empty() {
            say(format_args!(
                "note: {} goes on in {} beside it, which {} read, too",
                file.display(),
                counted(further.len() as u64, "further file", "further files"),
                if further.len() == 1 { "is" } else { "are" }
            ));
        }
        all.push(file.clone());
        all.extend(further);
    }
    all
}

/// The further files of a rotated log that begins with this file. None if one of them was named: then only some are
/// wanted.
fn further(first: &Path, named: &[PathBuf]) -> Vec<PathBuf> {
    let files = wec_log::log_files(first);
    let [begin, further @ ..] = &files[..] else { return Vec::new() };
    if begin != first || further.is_empty() || further.iter().any(|file| named.contains(file)) {
        return Vec::new();
    }
    let run = |file: &Path| wec_log::header_at(file).ok().flatten().map(|header| header.run);
    let Some(wanted) = run(first) else { return Vec::new() };
    further.iter().filter(|file| run(file).as_ref() == Some(&wanted)).cloned().collect()
}

/// The id of the run, from the log's header; else the file's own name.
pub(crate) fn run_of(file: &Path) -> String {
    let header = wec_log::header_at(file).ok().flatten();
    header.map_or_else(|| file.display().to_string(), |header| header.run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &Path, name: &str, run: &str) -> PathBuf {
        let path = folder.join(name);
        let header = wec_record::RunHeader {
            version: wec_record::FORMAT_VERSION,
            run: run.to_owned(),
            session: "default".to_owned(),
            program: "wec".to_owned(),
            target: "https://ca.test/dir".to_owned(),
            started_unix_ns: 1,
            stamp: wec_record::Stamp::default(),
        };
        let line = serde_json::to_string(&wec_record::Record::Header(header)).unwrap();
        std::fs::write(&path, line + "\n").unwrap();
        path
    }

    #[test]
    fn the_first_file_of_a_rotated_log_stands_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let [first, second, tenth] =
            ["a.jsonl", "a.2.jsonl", "a.10.jsonl"].map(|name| log(folder, name, "a"));
        let other = log(folder, "b.jsonl", "b");
        // Its name says that it belongs to the run a, and its header does not.
        log(folder, "a.3.jsonl", "c");
        let all = [first.clone(), second.clone(), tenth, other.clone()];
        assert_eq!(whole(&[first.clone(), other.clone()]), all);
        for some in
            [vec![first, second.clone()], vec![second, other], vec!["-".into()], vec!["none.jsonl".into()]]
        {
            assert_eq!(whole(&some), some);
        }
    }
}
