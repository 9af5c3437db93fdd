//! What people have noted about runs: a text file beside the log of each.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::is_file_name;

/// The longest note, bytes.
pub(crate) const LONGEST_NOTE: usize = 4_000;
/// The extension of the file, which has the name of the run.
const EXTENSION: &str = "note";

/// The file of the note of this run, which has a log there; none if its id cannot be a file name.
pub(super) fn note_file(run: &str, log: &Path) -> Option<PathBuf> {
    is_file_name(run).then(|| log.with_file_name(format!("{run}.{EXTENSION}")))
}

/// The note in this file; empty if there is none.
pub(super) fn read_note(file: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LONGEST_NOTE as u64).read_to_end(&mut text));
    if read.is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Writes the note into this file; removes the file if the note is empty.
///
/// # Errors
/// Those of the file system.
pub(super) fn write_note(file: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    wec_startup::write_beside(file, format!("{text}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_beside_the_log_and_an_id_selects_no_other_folder() {
        let file = |run| note_file(run, Path::new("results/a.jsonl"));
        assert_eq!(file("20261121-095602"), Some(PathBuf::from("results/20261121-095602.note")));
        for run in ["", "../up", "a/b", ".hidden"] {
            assert_eq!(file(run), None, "{run:?}");
        }
    }

    #[test]
    fn a_note_is_kept_changed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.note");
        assert_eq!(read_note(&file), "");
        for text in ["before the new database", "größer ✓", ""] {
            write_note(&file, text).unwrap();
            assert_eq!(read_note(&file), text);
        }
        assert!(!file.exists());
        write_note(&file, "").unwrap();
    }
}
