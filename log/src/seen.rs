//! `Seen`: which records of a run were read before, so that each counts once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use wec_record::Record;

use crate::ranges::Numbers;

/// Records without a number that are compared with those of other files: two days of an observed program.
const MAX_UNNUMBERED: usize = 200_000;

/// The records of a run that were read.
///
/// A record with a number is known by its node and that number. Of the others a file may have equal ones, but what
/// another file has, too, is the same record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub(crate) numbers: Numbers,
    /// Marks, observations, footers and events without a number, by their hash, with the first file that has them.
    unnumbered: HashMap<u64, usize>,
}

impl Seen {
    /// Whether the record was not read before. `file` distinguishes the files of the run.
    pub fn is_new(&mut self, record: &Record, file: usize) -> bool {
        if let Some((node, number)) = record.origin().filter(|(_, number)| *number > 0) {
            return self.numbers.add(node, number);
        }
        match record {
            Record::Mark(_) | Record::Footer(_) | Record::Event(_) | Record::Observation(_) => {
                !self.is_in_another(record, file)
            }
            _ => true,
        }
    }

    /// Whether no more records without a number are compared.
    pub(crate) fn is_full(&self) -> bool {
        self.unnumbered.len() >= MAX_UNNUMBERED
    }

    /// Whether another file has the same record, to the nanosecond.
    fn is_in_another(&mut self, record: &Record, file: usize) -> bool {
        let Some(hash) = hash(record) else { return false };
        let has_room = self.unnumbered.len() < MAX_UNNUMBERED;
        match self.unnumbered.get(&hash) {
            Some(first) => *first != file,
            None if has_room => self.unnumbered.insert(hash, file).is_some(),
            None => false,
        }
    }
}

/// Of its content, by its JSON; none if it has none.
pub(crate) fn hash(record: &Record) -> Option<u64> {
    let json = serde_json::to_string(record).ok()?;
    let mut hasher = DefaultHasher::new();
    json.hash(&mut hasher);
    Some(hasher.finish())
}
