//! `Repeats`: whether records with the same number have the same content.
//!
//! The numbers that are there more than once are known only when all files have been read. So the files are read again,
//! and only these records are compared: a log without duplicates costs nothing.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use wec_record::Record;

use crate::ranges::Numbers;
use crate::reader::{Found, Place, Reader};
use crate::seen::hash;
use crate::{LogError, judge};

/// Records whose content is remembered, 26 MB.
const MAX_REMEMBERED: usize = 400_000;

/// Compares the records of some numbers.
#[derive(Debug)]
pub(crate) struct Repeats {
    of: Numbers,
    /// The places of nodes in the keys of `contents`.
    nodes: HashMap<String, u64>,
    /// The hash of the first record of each number.
    contents: HashMap<(u64, u64), u64>,
    compared: u64,
}

impl Repeats {
    /// Of the records with these numbers.
    pub(crate) fn new(of: Numbers) -> Self {
        Self { of, nodes: HashMap::new(), contents: HashMap::new(), compared: 0 }
    }

    /// Reads a file, and calls `differs` with every record that has another content than the first of its number.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        mut differs: impl FnMut(Place, &Record),
    ) -> Result<(), LogError> {
        let failed = |source| LogError::Io { what: "read again", path: path.into(), source };
        let mut reader = Reader::new(File::open(path).map_err(failed)?).map_err(failed)?;
        while let Some(found) = reader.next().map_err(failed)? {
            if let Found::Record(place, record, _) = found
                && judge(record).is_ok()
                && self.differs(record)
            {
                differs(place, record);
            }
        }
        Ok(())
    }

    /// How many records were compared with an earlier one.
    pub(crate) const fn compared(&self) -> u64 {
        self.compared
    }

    fn differs(&mut self, record: &Record) -> bool {
        let origin = record.origin().filter(|(node, number)| self.of.contains(node, *number));
        let (Some((node, number)), Some(hash)) = (origin, origin.and_then(|_| hash(record))) else {
            return false;
        };
        let key = (self.place(node), number);
        match self.contents.get(&key) {
            Some(first) => {
                self.compared += 1;
                *first != hash
            }
            None if self.contents.len() < MAX_REMEMBERED => self.contents.insert(key, hash).is_some(),
            None => false,
        }
    }

    fn place(&mut self, node: &str) -> u64 {
        let next = self.nodes.len() as u64;
        match self.nodes.get(node) {
            Some(place) => *place,
            None => *self.nodes.entry(node.to_owned()).or_insert(next),
        }
    }
}
