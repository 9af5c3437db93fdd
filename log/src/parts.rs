//! The files of a rotated log: `RUN.jsonl`, `RUN.2.jsonl`, `RUN.3.jsonl` and so on, in the order of time.

use std::fs;
use std::path::{Path, PathBuf};

use crate::LogFormat;

/// The name of a file without the extension of its format, and that extension with its dot.
fn split(path: &Path) -> (String, String) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = match LogFormat::of_name(path) {
        Some(format) => format!(".{}", format.extension()),
        None => path.extension().map(|it| format!(".{}", it.to_string_lossy())).unwrap_or_default(),
    };
    let stem = name.strip_suffix(&extension).unwrap_or(&name).to_owned();
    (stem, extension)
}

/// The path of a further file, numbered from 2.
pub(crate) fn part(path: &Path, number: u64) -> PathBuf {
    let (stem, extension) = split(path);
    path.with_file_name(format!("{stem}.{number}{extension}"))
}

/// The number of a further file of a log; none for another file.
fn number_of(path: &Path, stem: &str, extension: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_prefix(stem)?.strip_suffix(extension)?.strip_prefix('.')?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) || number.starts_with('0') {
        return None;
    }
    number.parse().ok().filter(|number| *number >= 2)
}

/// The files of the log whose first file has this path, with their numbers, in the order of time. Only existing ones.
pub(crate) fn numbered(path: &Path) -> Vec<(u64, PathBuf)> {
    let (stem, extension) = split(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.file_name());
    let further = names.filter_map(|name| {
        let path = path.with_file_name(name);
        Some((number_of(&path, &stem, &extension)?, path))
    });
    let mut files: Vec<_> = path.exists().then(|| (1, path.to_owned())).into_iter().chain(further).collect();
    files.sort();
    files
}

/// The existing files of the log whose first file has this path, in the order of time.
pub fn log_files(path: &Path) -> Vec<PathBuf> {
    numbered(path).into_iter().map(|(_, path)| path).collect()
}

/// The first file of a run's log in a folder, in whichever format; none if there is no log.
pub fn find_log(folder: &Path, run: &str) -> Option<PathBuf> {
    LogFormat::ALL
        .into_iter()
        .map(|format| folder.join(format!("{run}.{}", format.extension())))
        // Its first file may have been moved away.
        .find(|path| path.exists() || !numbered(path).is_empty())
}

/// The names that the next file of a log may have: `RUN.2.jsonl` after `RUN.jsonl`, then `RUN.3.jsonl`. A run's id may
/// itself end with a number.
pub fn next_names(path: &Path) -> Vec<PathBuf> {
    let (stem, extension) = split(path);
    let counted = stem.rsplit_once('.').and_then(|(run, number)| Some((run, number.parse::<u64>().ok()?)));
    let next = counted.map(|(run, number)| format!("{run}.{}{extension}", number.saturating_add(1)));
    let names = next.into_iter().chain([format!("{stem}.2{extension}")]);
    names.map(|name| path.with_file_name(name)).collect()
}
