//! `LogFormat`: the forms in which a log is written.

use std::path::Path;

use crate::binary::MARK_START;
use crate::frames;

/// The form of a log's file. Readers detect it by the file's first bytes, never by its name.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    clap::ValueEnum,
    strum::EnumCount,
    strum::IntoStaticStr,
    strum::Display,
    strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum LogFormat {
    /// JSON Lines
    #[default]
    Json,
    /// JSON Lines, compressed by zstd
    JsonZstd,
    /// Length-delimited protobuf messages
    Binary,
    /// Length-delimited protobuf messages, compressed by zstd
    BinaryZstd,
}

wec_record::closed_set!(all of LogFormat);

impl LogFormat {
    /// How the names of its files end, without the dot before it.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "jsonl",
            Self::JsonZstd => "jsonl.zst",
            Self::Binary => "wecb",
            Self::BinaryZstd => "wecb.zst",
        }
    }

    /// The format that a file's name stands for; none for another name.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ends = |format: &Self| {
            name.strip_suffix(format.extension()).is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
        };
        Self::ALL.into_iter().find(ends)
    }

    /// Whether zstd compresses it.
    pub const fn is_compressed(self) -> bool {
        matches!(self, Self::JsonZstd | Self::BinaryZstd)
    }

    /// Whether its records are protobuf messages.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Binary | Self::BinaryZstd)
    }

    pub(crate) const fn new(binary: bool, compressed: bool) -> Self {
        match (binary, compressed) {
            (false, false) => Self::Json,
            (false, true) => Self::JsonZstd,
            (true, false) => Self::Binary,
            (true, true) => Self::BinaryZstd,
        }
    }
}

/// Bytes at the start of a file that decide whether it is compressed.
pub const DECISIVE: usize = 4;

/// Whether a file that begins with these bytes is compressed.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(&frames::MAGIC)
        || (start.len() >= DECISIVE
            && frames::is_skippable(u32::from_le_bytes([start[0], start[1], start[2], start[3]])))
}

/// The program that decompresses a file that begins with these bytes, if it is not zstd.
pub(crate) fn other_compression(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x1f, 0x8b, ..] => Some("gzip"),
        b"BZh1" | b"BZh2" | b"BZh3" | b"BZh4" | b"BZh5" | b"BZh6" | b"BZh7" | b"BZh8" | b"BZh9" => {
            Some("bzip2")
        }
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        _ => None,
    }
}

/// Whether a file that is no longer than this start could become a log that is not JSON.
pub(crate) fn may_begin(start: &[u8]) -> bool {
    frames::MAGIC.starts_with(start) || MARK_START.starts_with(start)
}

/// Whether content that begins with these bytes is binary.
pub(crate) fn is_binary(start: &[u8]) -> bool {
    start.starts_with(&MARK_START[..MARK_START.len().min(start.len()).max(2)])
}
