//! What is on its way to analytics: numbered without gaps, kept until acknowledged, bounded.
//!
//! Pure bookkeeping; the stream is [`crate::deliver`]'s.

use std::collections::VecDeque;

use wec_proto::results::entry::Entry as Content;
use wec_proto::results::{Entry, Lost};

/// Entries with consecutive numbers, the first of them `first`.
#[derive(Debug)]
pub(crate) struct Outbox {
    kept: VecDeque<Entry>,
    /// Number of the first kept entry.
    first: u64,
    /// Number of the next entry to send on the present stream.
    next: u64,
    most: usize,
    /// Dropped because `most` were kept; not yet reported by an entry.
    lost: u64,
}

impl Outbox {
    /// Keeps at most `most` entries.
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: VecDeque::new(), first: 1, next: 1, most, lost: 0 }
    }

    /// Takes an entry, or counts it as lost when full. `now` is the wall clock, nanoseconds.
    pub(crate) fn push(&mut self, content: Content, now: u64) {
        self.report_loss(now);
        if self.lost > 0 || self.kept.len() >= self.most {
            self.lost += 1;
        } else {
            self.kept.push_back(Entry { entry: Some(content) });
        }
    }

    /// Counts entries that never got here.
    pub(crate) fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    /// Says what was lost as soon as there is room to say it.
    pub(crate) fn report_loss(&mut self, now: u64) {
        if self.lost > 0 && self.kept.len() < self.most {
            let why = "the challenge server recorded validations faster than analytics took them".into();
            let count = std::mem::take(&mut self.lost);
            self.kept.push_back(Entry { entry: Some(Content::Lost(Lost { count, why, at_unix_ns: now })) });
        }
    }

    /// The next entries to send, and the number of the first.
    pub(crate) fn next_batch(&mut self, most: usize) -> Option<(u64, Vec<Entry>)> {
        let skip = usize::try_from(self.next - self.first).ok()?;
        let entries: Vec<Entry> = self.kept.iter().skip(skip).take(most).cloned().collect();
        if entries.is_empty() {
            return None;
        }
        let first = self.next;
        self.next += entries.len() as u64;
        Some((first, entries))
    }

    /// Number of the first entry not acknowledged.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Forgets what the receiver has written. Numbers never sent cannot be acknowledged and are ignored.
    pub(crate) fn acknowledge(&mut self, through: u64) {
        let through = through.min(self.next - 1);
        while self.first <= through && self.kept.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// A new stream starts with the first entry not acknowledged.
    pub(crate) fn rewind(&mut self) {
        self.next = self.first;
    }

    /// Whether everything was acknowledged and every loss reported.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.lost == 0
    }

    /// Entries kept, and hits lost and not reported.
    pub(crate) fn unfinished(&self) -> (usize, u64) {
        (self.kept.len(), self.lost)
    }
}

#[cfg(test)]
mod tests {
    use wec_proto::results::ValidationHit;

    use super::*;

    fn hit(name: u64) -> Content {
        Content::Hit(ValidationHit { name: name.to_string(), ..ValidationHit::default() })
    }

    fn shown(entries: &[Entry]) -> Vec<String> {
        let show = |entry: &Entry| match &entry.entry {
            Some(Content::Hit(hit)) => hit.name.clone(),
            Some(Content::Lost(lost)) => format!("lost {}", lost.count),
            other => format!("{other:?}"),
        };
        entries.iter().map(show).collect()
    }

    #[test]
    fn a_new_stream_starts_with_the_first_entry_not_acknowledged() {
        let mut outbox = Outbox::new(10);
        (1..=5).for_each(|name| outbox.push(hit(name), 0));
        assert_eq!(outbox.next_batch(2).map(|(first, _)| first), Some(1));
        assert_eq!(outbox.next_batch(2).map(|(first, _)| first), Some(3));
        outbox.acknowledge(3);
        outbox.rewind();
        let (first, entries) = outbox.next_batch(10).unwrap();
        assert_eq!((first, shown(&entries)), (4, vec!["4".to_owned(), "5".to_owned()]));
        assert!(outbox.next_batch(10).is_none());
        outbox.acknowledge(5);
        assert!(outbox.is_empty());
    }

    #[test]
    fn acknowledging_again_or_what_was_never_sent_changes_nothing() {
        let mut outbox = Outbox::new(10);
        (1..=3).for_each(|name| outbox.push(hit(name), 0));
        outbox.next_batch(1);
        outbox.acknowledge(1);
        outbox.acknowledge(1);
        outbox.acknowledge(99);
        assert_eq!(outbox.unfinished(), (2, 0));
        assert_eq!(outbox.next_batch(9).map(|(first, _)| first), Some(2));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_said_in_its_place() {
        let mut outbox = Outbox::new(2);
        (1..=4).for_each(|name| outbox.push(hit(name), 0));
        outbox.lose(10);
        assert_eq!(outbox.unfinished(), (2, 12));
        outbox.next_batch(9);
        outbox.acknowledge(2);
        outbox.push(hit(5), 0);
        let (first, entries) = outbox.next_batch(9).unwrap();
        assert_eq!((first, shown(&entries)), (3, vec!["lost 12".to_owned(), "5".to_owned()]));
    }
}
