//! One file of a log: whether it is one, its header, its footer, and its records in order.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use wec_record::{FORMAT_VERSION, Footer, Record, RunHeader};

use crate::binary::MARK_START;
use crate::form::FRAME;
use crate::format::{is_binary, is_compressed};
use crate::frames::MAGIC;
use crate::reader::{End, Found, Place, Reader};
use crate::{LogError, LogFormat};

/// Calls `each` with every record of a log, in order.
///
/// An incomplete last record, as after a kill, was never acknowledged and is not read.
///
/// # Errors
/// When the file cannot be read, has a later format, or something in the middle is not a record.
pub fn read_strictly(path: &Path, each: impl FnMut(&Record)) -> Result<(), LogError> {
    let file = File::open(path).map_err(|source| LogError::Io { what: "open", path: path.into(), source })?;
    read(path, &file, each).map(drop)
}

/// Calls `each` with every record. Returns up to where the file is complete, and its format.
pub(crate) fn read(
    path: &Path,
    file: &File,
    mut each: impl FnMut(&Record),
) -> Result<(End, LogFormat), LogError> {
    let failed = |source| LogError::Io { what: "read", path: path.into(), source };
    let mut reader = Reader::new(file).map_err(failed)?;
    while let Some(found) = reader.next().map_err(failed)? {
        match found {
            Found::Record(_, record, _) => {
                if let Record::Header(header) = record
                    && header.version > FORMAT_VERSION
                {
                    return Err(LogError::Newer { path: path.into(), version: header.version });
                }
                each(record);
            }
            Found::Blank(_) => {}
            Found::Damaged(place, why) => {
                let place = shown(&place);
                return Err(LogError::NotARecord { path: path.into(), place, why });
            }
            Found::Newer(version) => return Err(LogError::NewerBinary { path: path.into(), version }),
        }
    }
    Ok((reader.end().clone(), reader.format()))
}

/// A place in a message for people.
pub(crate) fn shown(place: &Place) -> String {
    let Place { number, offset, frame, format, .. } = place;
    let unit = if format.is_binary() { "message" } else { "line" };
    match frame {
        None => format!("{unit} {number} (byte {offset})"),
        Some(frame) => format!("{unit} {number} (byte {offset}, in the frame at byte {frame} of the file)"),
    }
}

/// The first bytes of a log in JSON, whichever version wrote it.
const BEGINNING: &[u8] = br#"{"record":"header""#;
/// Bytes that are read in search of a header: its maximal length.
const LONGEST_HEADER: u64 = 16 << 20;

/// The header of the log in `file`; none when the file is empty or has only an incomplete header.
pub(crate) fn header_of(path: &Path, mut file: &File) -> Result<Option<RunHeader>, LogError> {
    let failed = |source| LogError::Io { what: "read", path: path.into(), source };
    let no_log = |what: String| LogError::NotALog { path: path.into(), what };
    file.rewind().map_err(failed)?;
    let found = {
        let mut reader = Reader::new(file.take(LONGEST_HEADER)).map_err(failed)?;
        let found = match reader.next().map_err(failed)? {
            Some(Found::Record(_, Record::Header(header), _)) if header.version > FORMAT_VERSION => {
                Err(LogError::Newer { path: path.into(), version: header.version })
            }
            Some(Found::Record(_, Record::Header(header), _)) => Ok(Some(header.clone())),
            Some(Found::Newer(version)) => Err(LogError::NewerBinary { path: path.into(), version }),
            Some(Found::Record(..) | Found::Blank(_)) => {
                Err(no_log("it does not begin with a header".to_owned()))
            }
            Some(Found::Damaged(_, why)) => Err(no_log(why)),
            None => Ok(None),
        };
        // A file that is not a log may be one long line.
        let is_json = reader.format() == LogFormat::Json;
        (found, is_json)
    };
    if let (Ok(None), true) = &found {
        let mut start = Vec::new();
        file.rewind().map_err(failed)?;
        file.take(BEGINNING.len() as u64).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let torn = start.starts_with(BEGINNING) || BEGINNING.starts_with(&start);
        let cut = crate::format::may_begin(&start);
        return if torn || cut {
            Ok(None)
        } else {
            Err(no_log("it does not begin with a header".to_owned()))
        };
    }
    file.rewind().map_err(failed)?;
    found.0
}

/// The footer of the log at `path`; none when its last record is another one, or incomplete. Reads only the end of the
/// file.
pub fn footer_at(path: &Path) -> Option<Footer> {
    let mut file = File::open(path).ok()?;
    let mut start = Vec::new();
    (&file).take(8).read_to_end(&mut start).ok()?;
    // What begins a part that can be read by itself, and a little more than the content of a frame or block.
    let (begins, longest) = match () {
        () if is_compressed(&start) => (&MAGIC[..], FRAME + (1 << 20)),
        () if is_binary(&start) => (MARK_START, 2 << 20),
        () => (&b"\n"[..], 64 << 10),
    };
    let length = file.metadata().ok()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(longest))).ok()?;
    let mut tail = Vec::new();
    file.take(longest).read_to_end(&mut tail).ok()?;
    // Not the line break at the end.
    let searched = &tail[..tail.len().checked_sub(1)?];
    // What begins a part may occur by chance.
    memchr::memmem::rfind_iter(searched, begins).take(3).find_map(|at| {
        let mut reader = Reader::new(&tail[at..]).ok()?;
        let mut last = None;
        while let Some(found) = reader.next().ok()? {
            match found {
                Found::Record(_, Record::Footer(footer), _) => last = Some(Some(footer.clone())),
                Found::Record(..) => last = Some(None),
                Found::Blank(_) => {}
                Found::Damaged(..) | Found::Newer(_) => return None,
            }
        }
        Some(last?.filter(|_| reader.end().torn == 0))
    })?
}

/// The header of the log at `path`; none when it has only an incomplete one.
///
/// # Errors
/// When the file cannot be read, is not a log, or has a later format.
pub fn header_at(path: &Path) -> Result<Option<RunHeader>, LogError> {
    let file = File::open(path).map_err(|source| LogError::Io { what: "open", path: path.into(), source })?;
    header_of(path, &file)
}

/// Whether a log could be written in that folder, or at that path, as far as can be checked before there is
/// one.
///
/// # Errors
/// Why not.
pub fn check(place: &Path, folder: bool) -> Result<(), LogError> {
    match std::fs::metadata(place) {
        Ok(there) if folder && there.is_dir() => Ok(()),
        Ok(_) if folder => Err(LogError::Io {
            what: "make the folder of",
            path: place.join("*.jsonl"),
            source: io::ErrorKind::NotADirectory.into(),
        }),
        Ok(there) => {
            is_file(place, &there)?;
            let failed = |source| LogError::Io { what: "read", path: place.into(), source };
            header_of(place, &File::open(place).map_err(failed)?).map(|_| ())
        }
        Err(_) => Ok(()),
    }
}

/// Opening a FIFO or writing to a device could block or do damage.
pub(crate) fn is_file(path: &Path, there: &Metadata) -> Result<(), LogError> {
    let kind = there.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(LogError::NotAFile { path: path.into(), what })
}
