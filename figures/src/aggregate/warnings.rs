//! Warnings of the processes of the load tester, by cause.

use wec_record::Event;

use super::shortened;
use crate::snapshot::WarningFigures;

/// Most causes that are separate.
const MOST: usize = 50;
/// Most nodes that are named with a cause.
const MOST_NODES: usize = 10;
/// Bytes of a text that make its cause.
const LONGEST: usize = 300;

/// Warnings by cause: level, part of the program, and text without numbers and generated names.
#[derive(Clone, Debug, Default)]
pub(super) struct Warnings {
    by_cause: Vec<(String, WarningFigures)>,
    /// How many are not in the list, because it is full.
    others: u64,
}

impl Warnings {
    pub(super) fn record(&mut self, event: &Event) {
        self.add(WarningFigures {
            level: event.level,
            count: event.count,
            first_unix_ns: if event.first_unix_ns == 0 { event.at_unix_ns } else { event.first_unix_ns },
            last_unix_ns: event.at_unix_ns,
            nodes: vec![shortened(&event.node)],
            target: shortened(&event.target),
            text: shortened(&event.text),
        });
    }

    fn add(&mut self, more: WarningFigures) {
        let text = wec_text::folded(&more.text, LONGEST);
        let same = |(known, figures): &&mut (String, WarningFigures)| {
            (figures.level, &figures.target, known) == (more.level, &more.target, &text)
        };
        let Some((_, known)) = self.by_cause.iter_mut().find(same) else {
            if self.by_cause.len() < MOST {
                self.by_cause.push((text, more));
            } else {
                self.others = self.others.saturating_add(more.count);
            }
            return;
        };
        known.count = known.count.saturating_add(more.count);
        known.first_unix_ns = known.first_unix_ns.min(more.first_unix_ns);
        known.last_unix_ns = known.last_unix_ns.max(more.last_unix_ns);
        for node in more.nodes {
            if known.nodes.len() < MOST_NODES && !known.nodes.contains(&node) {
                known.nodes.push(node);
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.others = self.others.saturating_add(other.others);
        other.by_cause.into_iter().for_each(|(_, figures)| self.add(figures));
    }

    /// Errors and warnings, most frequent first.
    pub(super) fn figures(&self) -> Vec<WarningFigures> {
        let mut figures: Vec<_> = self.by_cause.iter().map(|(_, figures)| figures.clone()).collect();
        figures.sort_by_key(|figures| std::cmp::Reverse(figures.count));
        figures
    }

    pub(super) const fn others(&self) -> u64 {
        self.others
    }
}

#[cfg(test)]
mod tests {
    use wec_record::Level;

    use super::*;

    fn event(node: &str, at_unix_ns: u64, text: &str, count: u64) -> Event {
        let (node, text) = (node.to_owned(), text.to_owned());
        Event { node, at_unix_ns, text, count, ..Event::default() }
    }

    #[test]
    fn events_of_one_cause_are_counted_together_most_frequent_first() {
        let mut warnings = Warnings::default();
        warnings.record(&event("r1", 5, "slow", 1));
        warnings.record(&event("r1", 3, "records 5 to 7 never arrived", 2));
        let mut more = Warnings::default();
        more.record(&event("r2", 9, "records 8 to 17 never arrived", 3));
        more.record(&Event { level: Level::Error, ..event("r2", 9, "slow", 1) });
        warnings.merge(more);
        let figures = warnings.figures();
        let told: Vec<_> = figures.iter().map(|it| (it.count, it.level, it.text.as_str())).collect();
        assert_eq!(
            told,
            [
                (5, Level::Warn, "records 5 to 7 never arrived"),
                (1, Level::Warn, "slow"),
                (1, Level::Error, "slow")
            ]
        );
        let first = &figures[0];
        assert_eq!((first.first_unix_ns, first.last_unix_ns), (3, 9));
        assert_eq!(first.nodes, ["r1", "r2"]);
    }

    #[test]
    fn causes_and_nodes_are_bounded_and_what_is_not_listed_is_counted() {
        let mut warnings = Warnings::default();
        for number in 0..1_000_usize {
            let text = "x".repeat(number % 100 + 1);
            warnings.record(&event(&format!("r{number}"), 1, &text, 2));
        }
        let figures = warnings.figures();
        assert_eq!((figures.len(), warnings.others()), (MOST, 1_000));
        assert_eq!(figures[0].nodes.len(), MOST_NODES);
        assert_eq!(figures.iter().map(|it| it.count).sum::<u64>(), 1_000);
    }
}
