//! Finds the times in which the parts of all nodes were less than the target, and marks them: after a loss of a
//! node until others have taken its part over, while no node may send, and where all nodes together are too weak.
//!
//! Each node samples every second how much its own part has required by then, and how much the target of all nodes
//! together has: chains or requests of a rate, worker-seconds of a number of workers. Both are read off at the ends of
//! whole seconds, between the samples of each node. A second is judged some seconds later, when every live node has
//! sampled after it.

use std::collections::{BTreeMap, VecDeque};

use wec_record::{Gap, Mark, MarkBy, MarkValue, MarkWhat, Record, ScenarioSample};

const SECOND: u64 = 1_000_000_000;
/// A second is judged when the latest sample is this much later.
const SETTLE_S: u64 = 3;
/// Less than this part of the target is not marked: nodes see a change of it at different moments.
const LEAST: f64 = 0.02;
/// Longest time that is judged second by second; after a longer one without any sample a gap ends.
const MAX_JUMP_S: u64 = 3_600;
/// Nodes of a scenario that are followed.
const MAX_NODES: usize = 10_000;
/// Scenarios that are followed.
const MAX_SCENARIOS: usize = 64;
/// The unit of a scenario with a number of workers.
const WORKERS: &str = "workers";

/// Follows the samples of a run.
#[derive(Debug, Default)]
pub(crate) struct GapWatch {
    scenarios: BTreeMap<String, Followed>,
}

#[derive(Debug, Default)]
struct Followed {
    unit: String,
    nodes: BTreeMap<String, VecDeque<Scheduled>>,
    latest_unix_ns: u64,
    /// The first second that is not judged, since the Unix epoch.
    next: Option<u64>,
    open: Option<Open>,
}

/// A node's totals at a moment.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    at_unix_ns: u64,
    of_all: f64,
    part: f64,
}

/// A gap that has not ended.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Its first second.
    from: u64,
    missing: f64,
    required: f64,
}

impl GapWatch {
    /// Reads records; returns a mark for each gap that has ended.
    pub(crate) fn read(&mut self, records: &[Record]) -> Vec<Mark> {
        let mut marks = Vec::new();
        for record in records {
            let Record::Load { node, at_unix_ns, load, .. } = record else { continue };
            let shared = |sample: &&ScenarioSample| {
                sample.rate_target_of_all.is_some() || sample.workers_target_of_all.is_some()
            };
            for sample in load.scenarios.iter().filter(shared) {
                if self.scenarios.len() >= MAX_SCENARIOS && !self.scenarios.contains_key(&sample.name) {
                    continue;
                }
                let followed = self.scenarios.entry(sample.name.clone()).or_default();
                followed.add(node, *at_unix_ns, sample);
                let end = (followed.latest_unix_ns / SECOND).saturating_sub(SETTLE_S);
                marks.extend(followed.judge(end).into_iter().map(|(at, gap)| mark(&sample.name, at, gap)));
            }
        }
        marks
    }

    /// The run has ended: returns a mark for each gap that has not.
    pub(crate) fn end(&mut self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for (name, followed) in &mut self.scenarios {
            let end = followed.latest_unix_ns / SECOND;
            let gaps = followed.judge(end).into_iter().chain(followed.close(end));
            marks.extend(gaps.map(|(at, gap)| mark(name, at, gap)));
        }
        marks
    }
}

fn mark(scenario: &str, end_s: u64, gap: Gap) -> Mark {
    let at_unix_ns = end_s.saturating_mul(SECOND);
    let mark = Mark::new(at_unix_ns, MarkBy::Generator, MarkWhat::Gap, MarkValue::Gap(gap));
    Mark { scenario: scenario.to_owned(), ..mark }
}

impl Followed {
    fn add(&mut self, node: &str, at_unix_ns: u64, sample: &ScenarioSample) {
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(node) {
            return;
        }
        if self.unit.is_empty() {
            let unit = sample.workers_target_of_all.map_or(sample.rate_unit.as_str(), |_| WORKERS);
            unit.clone_into(&mut self.unit);
        }
        let samples = self.nodes.entry(node.to_owned()).or_default();
        if samples.back().is_none_or(|last| last.at_unix_ns < at_unix_ns) {
            samples.push_back(Scheduled {
                at_unix_ns,
                of_all: sample.scheduled_of_all,
                part: sample.scheduled,
            });
            self.latest_unix_ns = self.latest_unix_ns.max(at_unix_ns);
            // The second of the first sample is not whole.
            self.next.get_or_insert(at_unix_ns / SECOND + 1);
        }
    }

    /// Judges the seconds before `end`; returns the gaps that have ended, each with its end.
    fn judge(&mut self, end: u64) -> Vec<(u64, Gap)> {
        let mut ended = Vec::new();
        let Some(mut next) = self.next.filter(|next| *next < end) else { return ended };
        if end - next > MAX_JUMP_S {
            ended.extend(self.close(next));
            next = end - 1;
        }
        for second in next..end {
            let (required, part) = self.between(second * SECOND, (second + 1) * SECOND);
            let missing = required - part;
            if missing > required * LEAST {
                let open = self.open.get_or_insert(Open { from: second, ..Open::default() });
                open.missing += missing;
                open.required += required;
            } else {
                ended.extend(self.close(second));
            }
        }
        self.next = Some(end);
        self.forget(end * SECOND);
        ended
    }

    /// Ends the gap. Less than one is none.
    fn close(&mut self, end: u64) -> Option<(u64, Gap)> {
        let Open { from, missing, required } = self.open.take()?;
        let seconds = end.saturating_sub(from);
        // Of worker-seconds, the workers.
        let each = if self.unit == WORKERS { seconds.max(1) as f64 } else { 1.0 };
        let [missing, required] = [missing, required].map(|sum| (sum / each).round() as u64);
        let gap = Gap { seconds, missing, required, unit: self.unit.clone() };
        (gap.missing > 0).then_some((end, gap))
    }

    /// What the target required of all nodes together between two moments, and what was a node's part of it.
    fn between(&self, from: u64, to: u64) -> (f64, f64) {
        let growth = |samples: &VecDeque<Scheduled>, of: fn(&Scheduled) -> f64| {
            at(samples, to, of) - at(samples, from, of)
        };
        // Each node that lives knows the target.
        let required = self.nodes.values().map(|samples| growth(samples, |sample| sample.of_all));
        let parts = self.nodes.values().map(|samples| growth(samples, |sample| sample.part));
        (required.fold(0.0, f64::max), parts.sum())
    }

    /// Drops what is not needed for the time after a moment. The last sample of a node stays.
    fn forget(&mut self, unix_ns: u64) {
        for samples in self.nodes.values_mut() {
            while samples.get(1).is_some_and(|second| second.at_unix_ns <= unix_ns) {
                samples.pop_front();
            }
        }
    }
}

/// A total at a moment: between two samples by a straight line, before the first and after the last theirs.
fn at(samples: &VecDeque<Scheduled>, unix_ns: u64, of: fn(&Scheduled) -> f64) -> f64 {
    let next = samples.partition_point(|sample| sample.at_unix_ns <= unix_ns);
    match (next.checked_sub(1).and_then(|place| samples.get(place)), samples.get(next)) {
        (Some(here), Some(next)) => {
            let part = (unix_ns - here.at_unix_ns) as f64 / (next.at_unix_ns - here.at_unix_ns) as f64;
            of(here) + (of(next) - of(here)) * part
        }
        (Some(only), None) | (None, Some(only)) => of(only),
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use wec_record::LoadSample;

    use super::*;

    const START: u64 = 1_795_254_960;

    /// A sample in the middle of a second: totals of all nodes and of this one.
    fn sample(node: &str, second: u64, of_all: f64, part: f64) -> Record {
        let scenario = ScenarioSample {
            name: "default".to_owned(),
            rate_unit: "chains".to_owned(),
            rate_target_of_all: Some(100.0),
            scheduled_of_all: of_all,
            scheduled: part,
            ..ScenarioSample::default()
        };
        let load = LoadSample { scenarios: vec![scenario], ..LoadSample::default() };
        let at_unix_ns = (START + second) * SECOND + SECOND / 2;
        Record::Load { node: node.to_owned(), seq: 0, at_unix_ns, load }
    }

    /// Two nodes share 100/s: `a` has 60, `b` has 40 until it dies; then `a` has 100.
    fn run(dies: u64, taken_over: u64, ends: u64) -> Vec<Record> {
        let mut records = Vec::new();
        for second in 0..ends {
            let part = second.min(taken_over) * 60 + second.saturating_sub(taken_over) * 100;
            records.push(sample("a", second, second as f64 * 100.0, part as f64));
            if second < dies {
                records.push(sample("b", second, second as f64 * 100.0, second as f64 * 40.0));
            }
        }
        records
    }

    fn gaps(marks: &[Mark]) -> Vec<(u64, Gap)> {
        let gap = |mark: &Mark| match &mark.to {
            MarkValue::Gap(gap) => (mark.at_unix_ns / SECOND - START, gap.clone()),
            other => panic!("{other:?}"),
        };
        marks.iter().map(gap).collect()
    }

    #[test]
    fn a_node_that_dies_leaves_a_gap_until_its_part_is_taken_over() {
        let mut watch = GapWatch::default();
        let marks: Vec<_> = run(10, 20, 40).chunks(1).flat_map(|record| watch.read(record)).collect();
        let found = gaps(&marks);
        assert_eq!(found.len(), 1, "{found:?}");
        let (end, gap) = &found[0];
        // Its last sample was in the second 9; the part is taken over in the middle of the second 20.
        assert_eq!((*end, gap.seconds, gap.unit.as_str()), (21, 12, "chains"));
        assert_eq!((gap.missing, gap.required), (440, 1_200));
        assert!(watch.end().is_empty());
    }

    #[test]
    fn a_gap_at_the_end_of_a_run_is_marked_and_a_full_load_is_not() {
        let mut watch = GapWatch::default();
        assert!(watch.read(&run(40, 40, 40)).is_empty() && watch.end().is_empty());
        let mut watch = GapWatch::default();
        assert!(watch.read(&run(10, 40, 30)).is_empty(), "it lasts");
        let found = gaps(&watch.end());
        assert_eq!((found.len(), found[0].0), (1, 29), "{found:?}");
    }

    #[test]
    fn samples_that_arrive_late_or_in_another_order_make_no_gap() {
        let mut records = run(40, 40, 40);
        records.chunks_mut(4).for_each(<[Record]>::reverse);
        let mut watch = GapWatch::default();
        let marks: Vec<_> = records.chunks(1).flat_map(|record| watch.read(record)).collect();
        assert!(marks.is_empty() && watch.end().is_empty(), "{marks:?}");
    }

    #[test]
    fn a_gap_of_workers_has_their_number_on_average() {
        // Two nodes have two of four workers each, until one dies.
        let workers = |mut record: Record| {
            let Record::Load { load, .. } = &mut record else { return record };
            let sample = &mut load.scenarios[0];
            (sample.rate_target_of_all, sample.workers_target_of_all) = (None, Some(4));
            sample.rate_unit.clear();
            sample.scheduled_of_all /= 25.0;
            sample.scheduled /= 25.0;
            record
        };
        let mut watch = GapWatch::default();
        let records: Vec<_> = run(10, 20, 40).into_iter().map(workers).collect();
        let found = gaps(&watch.read(&records));
        let gap = Gap { seconds: 12, missing: 1, required: 4, unit: "workers".to_owned() };
        assert_eq!(found, [(21, gap)], "40 % of four workers");
    }

    #[test]
    fn nodes_that_are_too_weak_leave_a_gap_for_the_whole_time() {
        let weak = |second: u64| sample("a", second, second as f64 * 100.0, second as f64 * 80.0);
        let mut watch = GapWatch::default();
        assert!(watch.read(&(0..20).map(weak).collect::<Vec<_>>()).is_empty());
        let found = gaps(&watch.end());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1.missing, found[0].1.required, found[0].1.seconds), (360, 1_800, 18));
    }
}
