//! Numbers for records: from 1, without gaps. Losses are records, too.

use crate::intake::Entry;
use crate::losses::Losses;

/// Numbers records, and adds a record for losses after them.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// Number of the last record.
    last: u64,
    /// Lost results that no record reports yet.
    untold: Losses,
}

/// Records with consecutive numbers.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Number of the first.
    pub(crate) first: u64,
    pub(crate) entries: Vec<Entry>,
    /// Results and hits among them.
    pub(crate) counted: u64,
    /// The losses among them, in case the batch itself is lost.
    told: Losses,
}

impl Batch {
    /// Number of the last.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }
}

impl Numbering {
    /// Counts results as lost.
    pub(crate) fn lose(&mut self, count: u64, why: &str) {
        self.untold.add(count, why);
    }

    pub(crate) const fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Continues after `last`, unless it is there already.
    pub(crate) fn skip_to(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// Numbers `entries`, and after them the losses that are not reported yet.
    pub(crate) fn number(&mut self, mut entries: Vec<Entry>, at_unix_ns: u64) -> Batch {
        let counted = entries.iter().filter(|entry| entry.is_counted()).count() as u64;
        let told = std::mem::take(&mut self.untold);
        let losses = told.iter().map(|(count, why)| Entry::Lost { at_unix_ns, count, why: why.to_owned() });
        entries.extend(losses);
        let first = self.last + 1;
        self.last += entries.len() as u64;
        Batch { first, entries, counted, told }
    }

    /// The newest batch was never sent: the next one gets its numbers and reports its losses.
    pub(crate) fn take_back(&mut self, batch: Batch, why: &str) {
        self.last = batch.first - 1;
        for (count, why) in batch.told {
            self.untold.add(count, &why);
        }
        self.untold.add(batch.counted, why);
    }
}

#[cfg(test)]
mod tests {
    use wec_record::{ChainResult, LoadSample};

    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::Chain(ChainResult::default()),
            Entry::Load { at_unix_ns: 1, load: LoadSample::default() },
            Entry::Chain(ChainResult::default()),
        ]
    }

    #[test]
    fn numbers_have_no_gaps_and_losses_have_numbers() {
        let mut numbering = Numbering::default();
        let batch = numbering.number(entries(), 7);
        assert_eq!((batch.first, batch.last(), batch.counted), (1, 3, 2));
        numbering.lose(4, "full");
        let batch = numbering.number(entries(), 7);
        assert_eq!((batch.first, batch.last(), batch.counted), (4, 7, 2));
        assert!(matches!(&batch.entries[3], Entry::Lost { at_unix_ns: 7, count: 4, why } if why == "full"));
        assert!(!numbering.has_untold(), "each loss is reported once");
    }

    #[test]
    fn a_batch_that_was_never_sent_is_lost_and_its_numbers_are_reused() {
        let mut numbering = Numbering::default();
        numbering.number(entries(), 0);
        numbering.lose(4, "damaged");
        let batch = numbering.number(entries(), 0);
        numbering.take_back(batch, "full");
        let batch = numbering.number(Vec::new(), 0);
        let told = |entry: &Entry| match entry {
            Entry::Lost { count, why, .. } => (*count, why.clone()),
            other => panic!("{other:?} is not a loss"),
        };
        let told: Vec<_> = batch.entries.iter().map(told).collect();
        assert_eq!((batch.first, told), (4, vec![(4, "damaged".to_owned()), (2, "full".to_owned())]));
    }
}
