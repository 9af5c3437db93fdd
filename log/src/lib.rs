//! The log of a run: its formats, its writer, and its readers. One process appends to it; restarts, reports and
//! replays read it. `docs/log.md` describes the files.
//!
//! It depends on the records ([`wec_record`]) and not on their use.

mod binary;
mod error;
mod file;
mod form;
mod format;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod judge;
mod merged;
mod options;
mod parts;
mod ranges;
mod reader;
mod repeats;
mod report;
mod seen;
mod sync;
mod table;
mod writer;

pub use binary::BINARY_VERSION;
pub use error::LogError;
pub use file::{check, footer_at, header_at, read_strictly};
pub use form::RecordWriter;
pub use format::{DECISIVE, LogFormat};
pub use judge::{judge, judge_header};
pub use merged::read_by_time;
pub use options::LogOptions;
pub use parts::{find_log, log_files, next_names};
pub use reader::{End, Found, Place, Reader};
pub use report::{DamagedLine, LogReport, Start, check_input, read_lines, read_logs, read_part, read_placed};
pub use seen::Seen;
pub use table::{Rows, Table};
pub use writer::{LOOK_EVERY, Log};
