//! Several logs of one run, read beside each other in the order of time, as a replay needs them.

use std::fs::File;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use wec_record::Record;

use crate::reader::{Found, Reader};
use crate::report::open;
use crate::{LogError, LogReport, judge};

/// Calls `each` with every record of the logs of one run, except duplicates. Of records that are next in their files, the
/// one with the earliest time comes first. Within a file their order is kept. Records without a time have that of the
/// record before them. Damaged places are skipped.
///
/// # Errors
/// As [`read_logs`](crate::read_logs). Standard input cannot be read beside other logs.
pub fn read_by_time(paths: &[PathBuf], mut each: impl FnMut(&Record)) -> Result<(), LogError> {
    let mut report = LogReport::default();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let (began, file) = open(path)?;
        let mut file = Beside { path, reader: Reader::new(file).map_err(failed(path))?, next: None };
        file.read_on(began)?;
        files.push(file);
    }
    loop {
        let next = files.iter().enumerate().filter_map(|(place, file)| Some((file.next.as_ref()?.0, place)));
        let Some((_, place)) = next.min() else { return Ok(()) };
        let file = &mut files[place];
        let Some((time, record)) = file.next.take() else { return Ok(()) };
        report.reading = place;
        report.take(file.path, &record, None, &mut |record: &Record, _: Option<&str>| each(record))?;
        file.read_on(time)?;
    }
}

/// One of the files.
struct Beside<'a> {
    path: &'a Path,
    reader: Reader<io::Chain<Cursor<Vec<u8>>, File>>,
    /// Its next record with its time; none at the end.
    next: Option<(u64, Record)>,
}

impl Beside<'_> {
    fn read_on(&mut self, before: u64) -> Result<(), LogError> {
        self.next = loop {
            match self.reader.next().map_err(failed(self.path))? {
                Some(Found::Record(_, record, _)) if judge(record).is_ok() => {
                    let time = record.unix_ns().unwrap_or(0).max(before);
                    break Some((time, record.clone()));
                }
                Some(Found::Newer(version)) => {
                    return Err(LogError::NewerBinary { path: self.path.into(), version });
                }
                Some(_) => {}
                None => break None,
            }
        };
        Ok(())
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { what: "read", path: path.clone(), source }
}
