//! Figures over time in a bounded number of buckets.
//!
//! Buckets are aligned to the Unix epoch. Their width in seconds is the smallest power of two with which the
//! whole run fits. So the timeline depends on its records but not on their order, and two timelines merge
//! exactly. Percentiles of a bucket come from sparse cells: 18,000 dense histograms would take gigabytes.

mod attempts;
mod load_bucket;
mod recent;
mod series;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use wec_record::{Chain, FailureClass, LoadSample, StateCounts};

pub(crate) use self::attempts::Attempts;
use self::load_bucket::LoadBucket;
use super::later;
use crate::distribution::{Cell, Cells, LONGEST_NS, MOST, may_be_named};
use crate::snapshot::{ChainPercentiles, DistributionCell, TimesInBucket};

/// One hour of buckets of one second.
const MAX_BUCKETS: usize = 3_600;
/// The end of the times that a bucket can have, seconds since the Unix epoch: beyond the year 2500.
const LATEST_S: u64 = 1 << 34;
/// Bound of a sum of times or of what is weighted by time; 65,536 of these do not overflow.
const LARGEST_SUM: u128 = 1 << 112;
/// 4,096 s: with it the timeline spans 170 days. A record further away has a wrong clock.
const MAX_STEP_S: u64 = 1 << 12;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Timeline {
    step_s: u64,
    /// Number of the first bucket: its start divided by `step_s`.
    first: u64,
    #[serde(with = "sparse")]
    buckets: VecDeque<Bucket>,
    /// The first second of the bucket of the last record, and its place: the next one is often in it.
    #[serde(skip)]
    last: Option<(u64, usize)>,
    /// Current revision. A reader who has seen revision r has seen every change up to r.
    #[serde(skip, default = "first_revision")]
    revision: u64,
    /// Readers who have seen an earlier revision must discard what they have.
    #[serde(skip)]
    reset_at: u64,
    outside: u64,
    /// Nothing of it is drawn: it has counts and sums, but no percentiles and no load.
    #[serde(skip)]
    pub(super) undrawn: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Bucket {
    #[serde(skip)]
    revision: u64,
    issued: u64,
    /// Issuances with a response time, and the sum of these times, nanoseconds.
    issuances: u64,
    issuances_sum: u128,
    requests: u64,
    requests_failed: u64,
    bytes_sent: u64,
    bytes_received: u64,
    hits: u64,
    load: LoadBucket,
    /// What the state store held by its latest report, and when.
    state: Option<(u64, StateCounts)>,
    /// Failed iterations.
    classes: BTreeMap<FailureClass, u64>,
    chains: [ChainBucket; Chain::ALL.len()],
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct ChainBucket {
    count: u64,
    failed: u64,
    abandoned: u64,
    /// Sum of the successful ones that were not abandoned, nanoseconds.
    sum: u128,
    times: Cells<6>,
    /// Successful ones of which it is known how long the CA and the network took, and the sum of these times,
    /// nanoseconds.
    #[serde(default)]
    by_ca: u64,
    #[serde(default)]
    by_ca_sum: u128,
}

/// The buckets that have a record, each with its place: a piece of a run may have few.
mod sparse {
    use std::collections::VecDeque;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::{Bucket, MAX_BUCKETS};

    pub(super) fn serialize<S: Serializer>(
        buckets: &VecDeque<Bucket>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let filled =
            buckets.iter().enumerate().filter(|(_, bucket)| bucket.records() > 0 || bucket.state.is_some());
        (buckets.len(), filled.collect::<Vec<_>>()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VecDeque<Bucket>, D::Error> {
        let (length, filled) = <(usize, Vec<(usize, Bucket)>)>::deserialize(deserializer)?;
        if length > MAX_BUCKETS {
            return Err(de::Error::custom("there are too many buckets"));
        }
        let mut buckets = VecDeque::from(vec![Bucket::default(); length]);
        for (place, bucket) in filled {
            *buckets.get_mut(place).ok_or_else(|| de::Error::custom("a bucket has no place"))? = bucket;
        }
        Ok(buckets)
    }
}

const fn first_revision() -> u64 {
    1
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            step_s: 1,
            first: 0,
            buckets: VecDeque::new(),
            last: None,
            revision: first_revision(),
            reset_at: 0,
            outside: 0,
            undrawn: false,
        }
    }
}

impl Timeline {
    /// An iteration that ended at `at_unix_ns`; `took` nanoseconds.
    pub(crate) fn chain(&mut self, at_unix_ns: Option<u64>, chain: Chain, successful: bool, took: u64) {
        let drawn = !self.undrawn;
        if let Some(bucket) = self.bucket(at_unix_ns) {
            let chain = &mut bucket.chains[chain.index()];
            chain.count += 1;
            if successful {
                let took = took.min(LONGEST_NS);
                chain.sum += u128::from(took);
                if drawn {
                    chain.times.record(took);
                }
            } else {
                chain.failed += 1;
            }
        }
    }

    /// The time that the CA and the network took in an iteration that succeeded and was counted just before,
    /// nanoseconds.
    pub(crate) fn by_ca(&mut self, at_unix_ns: Option<u64>, chain: Chain, took: u64) {
        if let Some(bucket) = self.last_bucket(at_unix_ns) {
            let chain = &mut bucket.chains[chain.index()];
            chain.by_ca += 1;
            chain.by_ca_sum += u128::from(took.min(LONGEST_NS));
        }
    }

    /// The class of an iteration that failed and was counted just before.
    pub(crate) fn failed_chain(&mut self, at_unix_ns: Option<u64>, class: FailureClass) {
        if let Some(bucket) = self.last_bucket(at_unix_ns) {
            *bucket.classes.entry(class).or_default() += 1;
        }
    }

    /// A certificate issued at `at_unix_ns`, and how long the whole issuance took.
    pub(crate) fn issued(&mut self, at_unix_ns: Option<u64>, took: Option<u64>) {
        if let Some(bucket) = self.bucket(at_unix_ns) {
            bucket.issued += 1;
            bucket.issuances += u64::from(took.is_some());
            bucket.issuances_sum += u128::from(took.unwrap_or(0));
        }
    }

    /// The mean response time of issuances, nanoseconds, by the start of each bucket that has any, in buckets of at
    /// least this width. Also the width of the buckets, seconds.
    pub(crate) fn issuance_means(&self, step_s: u64) -> (u64, BTreeMap<u64, f64>) {
        let mut timeline = self.clone();
        while timeline.step_s < step_s.min(MAX_STEP_S) {
            timeline.double_step();
        }
        let means = (timeline.first..).zip(&timeline.buckets).filter(|(_, bucket)| bucket.issuances > 0);
        let mean = |bucket: &Bucket| bucket.issuances_sum as f64 / bucket.issuances as f64;
        let means = means.map(|(index, bucket)| (index * timeline.step_s, mean(bucket))).collect();
        (timeline.step_s, means)
    }

    /// An iteration that left an order unfinished on purpose.
    pub(crate) fn abandoned_chain(&mut self, at_unix_ns: Option<u64>, chain: Chain) {
        if let Some(bucket) = self.bucket(at_unix_ns) {
            let chain = &mut bucket.chains[chain.index()];
            chain.count += 1;
            chain.abandoned += 1;
        }
    }

    /// HTTP attempts that ended in the second of `at_unix_ns`.
    pub(crate) fn requests(&mut self, at_unix_ns: Option<u64>, attempts: Attempts) {
        let Attempts { count, failed, bytes_sent, bytes_received } = attempts;
        if count == 0 {
            return;
        }
        if let Some(bucket) = self.bucket(at_unix_ns) {
            bucket.requests += count;
            bucket.requests_failed += failed;
            bucket.bytes_sent = bucket.bytes_sent.saturating_add(bytes_sent);
            bucket.bytes_received = bucket.bytes_received.saturating_add(bytes_received);
        } else {
            // One of them is counted.
            self.outside += count - 1;
        }
    }

    /// A validation that arrived at `at_unix_ns`.
    pub(crate) fn hit(&mut self, at_unix_ns: Option<u64>) {
        if let Some(bucket) = self.bucket(at_unix_ns) {
            bucket.hits += 1;
        }
    }

    /// A load sample of `node` that ends at `at_unix_ns`.
    pub(crate) fn load(&mut self, at_unix_ns: u64, node: &str, load: &LoadSample) {
        let drawn = !self.undrawn;
        if let Some(bucket) = self.bucket(Some(at_unix_ns)).filter(|_| drawn) {
            bucket.load.record(node, load);
        }
    }

    /// What the state store held at `at_unix_ns`.
    pub(crate) fn state(&mut self, at_unix_ns: u64, counts: &StateCounts) {
        if let Some(bucket) = self.bucket(Some(at_unix_ns)) {
            bucket.state = later(bucket.state, Some((at_unix_ns, *counts)));
        }
    }

    /// Response times of one chain over time, in at most `most` buckets, and the width of these, seconds.
    pub(super) fn over_time(&self, chain: Chain, most: usize) -> (u64, Vec<TimesInBucket>) {
        let timeline = self.coarser(most);
        let buckets = (timeline.first..).zip(&timeline.buckets);
        let of = |(index, bucket): (u64, &Bucket)| TimesInBucket {
            at_unix_s: index * timeline.step_s,
            cells: DistributionCell::of(
                bucket.chains[chain.index()].times.iter().map(|(cell, count)| (cell.low, count)),
            ),
        };
        (timeline.step_s, buckets.map(of).collect())
    }

    /// What is here is out of the range of the run.
    pub(crate) fn restart(&mut self) {
        self.outside += self.buckets.drain(..).map(|bucket| bucket.records()).sum::<u64>();
        self.step_s = 1;
        self.last = None;
        self.reset_at = self.revision;
    }

    /// A record that is not shown.
    pub(crate) const fn leave_out(&mut self) {
        self.outside += 1;
    }

    /// Whether records can have made it.
    pub(crate) fn is_sound(&self) -> bool {
        self.step_s.is_power_of_two()
            && self.step_s <= MAX_STEP_S
            && self.first <= LATEST_S / self.step_s
            && self.outside <= MOST
            && self.buckets.iter().all(Bucket::is_sound)
    }

    /// Number of records that fit no bucket.
    pub(crate) const fn outside(&self) -> u64 {
        self.outside
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        self.outside += other.outside;
        if other.buckets.is_empty() {
            return;
        }
        while other.step_s < self.step_s {
            other.double_step();
        }
        while self.step_s < other.step_s {
            self.double_step();
        }
        let (first, end) = (other.first, other.first + other.buckets.len() as u64);
        // Both ends first: the step may double, and `other` must double with it before its buckets are added.
        self.make_room(first * other.step_s);
        self.make_room(end * other.step_s - 1);
        while other.step_s < self.step_s {
            other.double_step();
        }
        let revision = self.revision;
        for (index, bucket) in (other.first..).zip(other.buckets) {
            match index.checked_sub(self.first).and_then(|place| self.buckets.get_mut(place as usize)) {
                Some(ours) => ours.add(bucket, revision),
                None => self.outside += bucket.records(),
            }
        }
    }

    /// The timeline in at most `buckets` buckets.
    pub(crate) fn coarser(&self, buckets: usize) -> Self {
        let mut coarser = self.clone();
        while coarser.buckets.len() > buckets.max(1) && coarser.step_s < MAX_STEP_S {
            coarser.double_step();
        }
        coarser
    }

    /// Percentiles of one chain, in the smallest buckets of which most have enough samples for a 95th
    /// percentile, but in at least `buckets`.
    pub(crate) fn percentiles(&self, chain: Chain, buckets: usize) -> ChainPercentiles {
        let mut timeline = self.clone();
        let enough = |timeline: &Self| {
            let counts = timeline.buckets.iter().map(|bucket| bucket.chains[chain.index()].succeeded());
            let ran: Vec<_> = counts.filter(|n| *n > 0).collect();
            let named = ran.iter().filter(|n| may_be_named(**n, 950)).count();
            4 * named >= 3 * ran.len()
        };
        while !enough(&timeline) && timeline.buckets.len() >= 2 * buckets.max(1) {
            timeline.double_step();
        }
        let mut found = ChainPercentiles { step_s: timeline.step_s, ..ChainPercentiles::default() };
        for (index, bucket) in (timeline.first..).zip(&timeline.buckets) {
            let chain = &bucket.chains[chain.index()];
            let n = chain.succeeded();
            let time = |per_mille| chain.times.percentile(n, per_mille).map(Cell::middle);
            found.at_unix_s.push(index * timeline.step_s);
            found.n.push(n);
            found.p50_ns.push(time(500));
            found.p95_ns.push(time(950));
            found.p99_ns.push(time(990));
        }
        found
    }

    /// The bucket for a record of that time, marked as changed. None is a time out of the range of the run.
    fn bucket(&mut self, at_unix_ns: Option<u64>) -> Option<&mut Bucket> {
        let second = at_unix_ns.map(|at| at / 1_000_000_000);
        let place = match (second, self.last) {
            (Some(second), Some((first, place)))
                if second.checked_sub(first).is_some_and(|after| after < self.step_s) =>
            {
                place
            }
            (Some(second), _) if self.make_room(second) => {
                let number = second / self.step_s;
                let place = (number - self.first) as usize;
                self.last = Some((number * self.step_s, place));
                place
            }
            _ => {
                self.outside += 1;
                return None;
            }
        };
        let bucket = &mut self.buckets[place];
        bucket.revision = self.revision;
        Some(bucket)
    }

    /// The bucket of the last record, if it is the one for this time.
    fn last_bucket(&mut self, at_unix_ns: Option<u64>) -> Option<&mut Bucket> {
        let (first, place) = self.last?;
        let after = (at_unix_ns? / 1_000_000_000).checked_sub(first)?;
        (after < self.step_s).then(|| &mut self.buckets[place])
    }

    /// Makes the timeline cover the second `at`, by new buckets or wider ones. False when even the widest
    /// buckets do not suffice.
    fn make_room(&mut self, at: u64) -> bool {
        if self.buckets.is_empty() {
            self.first = at / self.step_s;
            self.push_back();
            return true;
        }
        let span = |first: u64, last: u64, step: u64| (last / step - first / step) as usize + 1;
        let first_s = at.min(self.first * self.step_s);
        let last_s = at.max((self.first + self.buckets.len() as u64) * self.step_s - 1);
        let mut step = self.step_s;
        while span(first_s, last_s, step) > MAX_BUCKETS {
            step *= 2;
            if step > MAX_STEP_S {
                return false;
            }
        }
        while self.step_s < step {
            self.double_step();
        }
        let index = at / self.step_s;
        while index < self.first {
            self.first -= 1;
            self.last = None;
            self.buckets.push_front(Bucket { revision: self.revision, ..Bucket::default() });
        }
        while index >= self.first + self.buckets.len() as u64 {
            self.push_back();
        }
        true
    }

    fn push_back(&mut self) {
        self.buckets.push_back(Bucket { revision: self.revision, ..Bucket::default() });
    }

    /// Merges each two neighbours into one bucket.
    fn double_step(&mut self) {
        self.last = None;
        let old = std::mem::take(&mut self.buckets);
        let first = self.first / 2;
        for (index, bucket) in (self.first..).zip(old) {
            while self.buckets.len() as u64 <= index / 2 - first {
                self.push_back();
            }
            let revision = self.revision;
            self.buckets[(index / 2 - first) as usize].add(bucket, revision);
        }
        self.first = first;
        self.step_s *= 2;
        self.reset_at = self.revision;
    }
}

impl ChainBucket {
    const fn succeeded(&self) -> u64 {
        self.count - self.failed - self.abandoned
    }
}

impl Bucket {
    fn is_sound(&self) -> bool {
        let Self {
            revision: _,
            issued,
            issuances,
            issuances_sum,
            requests,
            requests_failed,
            bytes_sent: _,
            bytes_received: _,
            hits,
            load,
            state: _,
            classes,
            chains,
        } = self;
        let sound_chain = |chain: &ChainBucket| {
            let ChainBucket { count, failed, abandoned, sum, times: _, by_ca, by_ca_sum } = chain;
            [count, failed, abandoned, by_ca].into_iter().all(|count| *count <= MOST)
                && failed + abandoned <= *count
                && *sum.max(by_ca_sum) <= LARGEST_SUM
        };
        [issued, issuances, requests, requests_failed, hits].into_iter().all(|count| *count <= MOST)
            && *issuances_sum <= LARGEST_SUM
            && load.is_sound()
            && classes.values().all(|count| *count <= MOST)
            && chains.iter().all(sound_chain)
    }

    fn add(&mut self, other: Self, revision: u64) {
        self.revision = revision;
        self.issued += other.issued;
        self.issuances += other.issuances;
        self.issuances_sum += other.issuances_sum;
        self.requests += other.requests;
        self.requests_failed += other.requests_failed;
        self.bytes_sent = self.bytes_sent.saturating_add(other.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(other.bytes_received);
        self.hits += other.hits;
        self.load.merge(other.load);
        self.state = later(self.state, other.state);
        for (class, failed) in other.classes {
            *self.classes.entry(class).or_default() += failed;
        }
        for (ours, theirs) in self.chains.iter_mut().zip(other.chains) {
            ours.count += theirs.count;
            ours.failed += theirs.failed;
            ours.abandoned += theirs.abandoned;
            ours.sum += theirs.sum;
            ours.times.merge(&theirs.times);
            ours.by_ca += theirs.by_ca;
            ours.by_ca_sum += theirs.by_ca_sum;
        }
    }

    fn records(&self) -> u64 {
        self.requests + self.hits + self.load.n + self.chains.iter().map(|chain| chain.count).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wec_record::{GeneratorSample, ScenarioSample};

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_795_254_960;
    const ONE: Attempts = Attempts { count: 1, failed: 0, bytes_sent: 0, bytes_received: 0 };

    fn at(second: u64) -> u64 {
        (START + second) * SECOND
    }

    #[test]
    fn puts_a_record_into_the_second_of_its_own_end() {
        let mut timeline = Timeline::default();
        timeline.chain(Some(at(5) + 999_999_999), Chain::Revoke, true, 7_000_000);
        timeline.chain(Some(at(3)), Chain::Revoke, false, 1);
        timeline
            .requests(Some(at(3)), Attempts { count: 1, failed: 1, bytes_sent: 700, bytes_received: 1_500 });
        timeline.hit(Some(at(4)));
        let (series, _) = timeline.series(None);
        assert_eq!(series.at_unix_s, [START + 3, START + 4, START + 5]);
        assert_eq!(series.requests, [1, 0, 0]);
        assert_eq!(series.requests_failed, [1, 0, 0]);
        assert_eq!((series.bytes_sent, series.bytes_received), (vec![700, 0, 0], vec![1_500, 0, 0]));
        assert_eq!(series.hits, [0, 1, 0]);
        let revoke = &series.chains[&Chain::Revoke];
        assert_eq!((&*revoke.count, &*revoke.failed), (&[1, 0, 1][..], &[1, 0, 0][..]));
        assert_eq!(revoke.mean_ns, [None, None, Some(7_000_000)]);
        assert_eq!(revoke.p50_ns, [None; 3], "one sample makes no median");
    }

    #[test]
    fn sends_only_what_changed_since_it_was_last_read() {
        let mut timeline = Timeline::default();
        timeline.requests(Some(at(0)), ONE);
        timeline.requests(Some(at(1)), ONE);
        let (all, seen) = timeline.series(None);
        assert!(all.reset);
        assert_eq!(all.at_unix_s.len(), 2);
        timeline.requests(Some(at(0)), ONE);
        timeline.requests(Some(at(3)), ONE);
        let (changes, seen) = timeline.series(Some(seen));
        assert!(!changes.reset);
        let all = [START, START + 1, START + 2, START + 3];
        assert_eq!(changes.at_unix_s, all, "percentiles of the second one may have changed");
        assert_eq!(changes.requests, [2, 1, 0, 1]);
        let (nothing, _) = timeline.series(Some(seen));
        assert!(nothing.at_unix_s.is_empty() && !nothing.reset);
        assert!(timeline.series(Some(u64::MAX)).0.reset, "a revision of an earlier process is ignored");
    }

    fn sample(over_ns: u64, workers: u64, target: Option<f64>) -> LoadSample {
        let scenario = ScenarioSample {
            workers,
            busy: workers / 2,
            workers_target: 10,
            rate_target: target,
            rate_unit: if target.is_some() { "chains".to_owned() } else { String::new() },
            ..ScenarioSample::default()
        };
        let generator =
            GeneratorSample { lag: vec![(50_000, 990), (7_000_000, 20)], ..GeneratorSample::default() };
        LoadSample { over_ns, scenarios: vec![scenario], generator, ..LoadSample::default() }
    }

    #[test]
    fn load_is_the_mean_of_a_nodes_samples_summed_over_the_nodes() {
        let mut timeline = Timeline::default();
        timeline.load(at(0), "a", &sample(SECOND, 10, Some(2.5)));
        timeline.load(at(0), "b", &sample(SECOND, 4, Some(2.5)));
        timeline.hit(Some(at(1)));
        // Two samples of one node fall into one second, because one was late.
        timeline.load(at(2), "a", &sample(SECOND, 10, None));
        timeline.load(at(2), "a", &sample(SECOND, 20, None));
        let (series, _) = timeline.series(None);
        assert_eq!(series.workers, [Some(14), None, Some(15)]);
        assert_eq!(series.busy, [Some(7), None, Some(8)]);
        assert_eq!(series.workers_target, [Some(20), None, Some(10)]);
        assert_eq!(series.chains_target, [Some(5.0), None, None]);
        assert_eq!(series.requests_target, [None; 3]);
        assert_eq!(series.lag_max_ns, [Some(7_000_000), None, Some(7_000_000)]);
        let p99 = series.lag_p99_ns[0].unwrap();
        assert!(p99.abs_diff(7_000_000) * 50 <= 7_000_000, "{p99}");
    }

    #[test]
    fn doubles_its_step_instead_of_growing() {
        let mut timeline = Timeline::default();
        for second in 0..3 * MAX_BUCKETS as u64 {
            timeline.requests(Some(at(second)), ONE);
        }
        let seen = timeline.revision - 1;
        let (series, _) = timeline.series(Some(seen));
        assert_eq!(series.step_s, 4);
        assert!(series.reset);
        assert!(series.at_unix_s.len() <= MAX_BUCKETS);
        assert_eq!(series.requests.iter().sum::<u64>(), 3 * MAX_BUCKETS as u64);
        assert_eq!(series.requests[1..series.requests.len() - 1].iter().max(), Some(&4));
    }

    #[test]
    fn counts_records_of_a_wrong_clock_instead_of_showing_them() {
        let mut timeline = Timeline::default();
        timeline.requests(Some(at(0)), ONE);
        timeline.requests(Some(0), ONE);
        timeline.requests(Some(u64::MAX), ONE);
        timeline.requests(None, Attempts { count: 3, ..ONE });
        assert_eq!(timeline.outside(), 5);
        assert_eq!(timeline.series(None).0.requests, [1]);
        assert_eq!(timeline.step_s, 1);
    }

    proptest! {
        // Each case makes two series of up to an hour.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn merged_timelines_equal_one_timeline(
            a in proptest::collection::vec((0u64..20_000, 0usize..5, any::<bool>(), 0u64..1 << 42), 0..40),
            b in proptest::collection::vec((0u64..20_000, 0usize..5, any::<bool>(), 0u64..1 << 42), 0..40),
        ) {
            let fill = |timeline: &mut Timeline, records: &[(u64, usize, bool, u64)]| {
                for &(second, chain, successful, took) in records {
                    timeline.chain(Some(at(second)), Chain::ALL[chain], successful, took);
                }
            };
            let mut whole = Timeline::default();
            fill(&mut whole, &a);
            fill(&mut whole, &b);
            let (mut first, mut second) = (Timeline::default(), Timeline::default());
            fill(&mut first, &a);
            fill(&mut second, &b);
            first.merge(second);
            prop_assert_eq!(first.series(None).0, whole.series(None).0);
        }
    }
}
