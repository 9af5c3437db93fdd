//! `LogError`: why a log cannot be written to or read.

use std::io;
use std::path::PathBuf;

use wec_record::FORMAT_VERSION;

use crate::BINARY_VERSION;

/// Why a log cannot be written to or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system returned an error.
    #[error("cannot {what} the log {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The log.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process is writing to it.
    #[error("the log {path} is being written by another process: stop it, or name another log", path = path.display())]
    InUse {
        /// The log.
        path: PathBuf,
    },
    /// A place in the middle is not a record.
    #[error("cannot read the log {path}: {place} of the log is not a record: {why}", path = path.display())]
    NotARecord {
        /// The log.
        path: PathBuf,
        /// The line, or the message.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Standard input is named more than once.
    #[error("standard input (-) is named {0} times, and can be read once")]
    InputTwice(usize),
    /// A later version of this program wrote its binary form.
    #[error("the log {path} has binary format {version}, this program reads binary formats up to {BINARY_VERSION}: read it with the version that wrote it", path = path.display())]
    NewerBinary {
        /// The log.
        path: PathBuf,
        /// Its binary format.
        version: u32,
    },
    /// A later version of this program wrote it.
    #[error("the log {path} has format {version}, this program reads formats up to {FORMAT_VERSION}: read it with the version that wrote it", path = path.display())]
    Newer {
        /// The log.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The path is not a file.
    #[error("{path} is {what}, but a log must be a file: name another path", path = path.display())]
    NotAFile {
        /// The path given for the log.
        path: PathBuf,
        /// What the path is.
        what: &'static str,
    },
    /// A folder was named where logs are read.
    #[error("{path} is a directory: name the log of one run in it, or show all of its runs with wec serve {path}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A file exists that this program did not write.
    #[error("{path} is not a log of this program ({what}) and is not changed: name another log, or move the file away", path = path.display())]
    NotALog {
        /// The path given for the log.
        path: PathBuf,
        /// The reason.
        what: String,
    },
    /// The file has no records.
    #[error("{path} is not a log of this program: {what}", path = path.display())]
    NoRecords {
        /// The file.
        path: PathBuf,
        /// The reason.
        what: String,
    },
    /// The logs are of several runs, but only one run is read.
    #[error("the log {path} belongs to run {found:?}, but the one before belongs to run {wanted:?}: give the logs of one run, or show all runs of a folder with wec serve", path = path.display())]
    AnotherRun {
        /// The log.
        path: PathBuf,
        /// The run in its header.
        found: String,
        /// The run of the logs before it.
        wanted: String,
    },
    /// Analytics has ended.
    #[error("cannot begin a log: analytics has ended")]
    Ended,
    /// The run's id cannot be a file name.
    #[error("run {run:?} cannot have a log in {folder}: a run's id may have letters, digits, '-', '_' and '.'", folder = folder.display())]
    BadRun {
        /// The folder of logs.
        folder: PathBuf,
        /// The id.
        run: String,
    },
    /// The log belongs to another run.
    #[error("the log {path} belongs to run {found:?}, not to run {wanted:?}: name another log or move it away", path = path.display())]
    OtherRun {
        /// The log.
        path: PathBuf,
        /// The run in its header; empty without one.
        found: String,
        /// The run that was to be appended.
        wanted: String,
    },
}
