//! The timeline as columns, whole or what changed.

use wec_record::Chain;

use super::Timeline;
use super::recent::{Recent, reach};
use crate::snapshot::Series;

impl Timeline {
    /// The buckets changed after revision `seen`, and the current revision. A percentile is also of the buckets before
    /// its own ([`Recent`]), so with a changed bucket come those after it.
    pub(crate) fn series(&mut self, seen: Option<u64>) -> (Series, u64) {
        let seen = seen.filter(|seen| (self.reset_at..self.revision).contains(seen));
        let now = self.revision;
        self.revision += 1;
        let mut series = Series { reset: seen.is_none(), ..Series::without_buckets(self.step_s) };
        let line = |per_mille| Recent::new(per_mille, self.step_s);
        let ran = |index: usize| self.buckets.iter().any(|bucket| bucket.chains[index].count > 0);
        let mut lines = Chain::ALL.map(|chain| ran(chain.index()).then(|| [500, 950, 990].map(line)));
        let mut lag = line(990);
        let mut changed = None;
        for (place, bucket) in self.buckets.iter().enumerate() {
            if seen.is_none_or(|seen| bucket.revision > seen) {
                changed = Some(place);
            }
            if changed.is_none_or(|changed| place - changed >= reach(self.step_s)) {
                continue;
            }
            for (class, failed) in &bucket.classes {
                let column = series.classes.entry(*class).or_default();
                column.resize(series.at_unix_s.len(), 0);
                column.push(*failed);
            }
            series.at_unix_s.push((self.first + place as u64) * self.step_s);
            series.issued.push(bucket.issued);
            series.requests.push(bucket.requests);
            series.requests_failed.push(bucket.requests_failed);
            series.bytes_sent.push(bucket.bytes_sent);
            series.bytes_received.push(bucket.bytes_received);
            series.hits.push(bucket.hits);
            let load = &bucket.load;
            series.workers_target.push(load.mean(load.workers_target));
            series.workers.push(load.mean(load.workers));
            series.busy.push(load.mean(load.busy));
            series.chains_target.push(load.target(load.chains_target, load.chains_target_of_all));
            series.requests_target.push(load.target(load.requests_target, load.requests_target_of_all));
            series.lag_p99_ns.push(lag.at(place, |place| {
                let load = &self.buckets[place].load;
                (load.lag_n, &load.lag)
            }));
            series.lag_max_ns.push((load.lag_n > 0).then_some(load.lag_max));
            let state = bucket.state.map(|(_, counts)| counts);
            series.registrations.push(state.map(|state| state.registrations));
            series.authorizations.push(state.map(|state| state.authorizations));
            series.certificates.push(state.map(|state| state.certificates));
            for (index, column) in series.chains.values_mut().enumerate() {
                let chain = &bucket.chains[index];
                let succeeded = chain.succeeded();
                let samples = |place: usize| {
                    let chain = &self.buckets[place].chains[index];
                    (chain.succeeded(), &chain.times)
                };
                let mut percentiles = [None; 3];
                if let Some(lines) = &mut lines[index] {
                    percentiles = lines.each_mut().map(|line| line.at(place, samples));
                }
                let [p50, p95, p99] = percentiles;
                column.count.push(chain.count);
                column.failed.push(chain.failed);
                column.mean_ns.push((succeeded > 0).then(|| (chain.sum / u128::from(succeeded)) as u64));
                column.p50_ns.push(p50);
                column.p95_ns.push(p95);
                column.p99_ns.push(p99);
                let by_ca = chain.by_ca_sum.checked_div(u128::from(chain.by_ca));
                column.ca_mean_ns.push(by_ca.map(|mean| mean as u64));
            }
        }
        let length = series.at_unix_s.len();
        series.classes.values_mut().for_each(|column| column.resize(length, 0));
        (series, now)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What a page has that puts each bucket of the changes at its time, of one chain.
    type Kept = BTreeMap<u64, [Option<u64>; 4]>;

    fn keep(kept: &mut Kept, series: &Series) {
        if series.reset {
            kept.clear();
        }
        let chain = &series.chains[&Chain::Certificate];
        for (n, at) in series.at_unix_s.iter().enumerate() {
            kept.insert(*at, [Some(chain.count[n]), chain.p50_ns[n], chain.p95_ns[n], chain.p99_ns[n]]);
        }
    }

    #[test]
    fn changes_put_together_are_the_whole_series() {
        let mut timeline = Timeline::default();
        let (mut live, mut whole) = (Kept::new(), Kept::new());
        let mut seen = None;
        for n in 0_u64..4_000 {
            // Up to 25 a second, with silences; some records come 40 seconds late.
            let second = 100 + n / 25 + if n % 900 > 700 { 20 } else { 0 };
            let late = if n % 11 == 0 { 40 } else { 0 };
            let took = 1_000_000 * (1 + (n * 7_919) % 90);
            timeline.chain(Some((second - late) * 1_000_000_000), Chain::Certificate, n % 7 > 0, took);
            if n % 60 == 0 {
                let (series, now) = timeline.series(seen);
                keep(&mut live, &series);
                seen = Some(now);
            }
        }
        keep(&mut live, &timeline.series(seen).0);
        keep(&mut whole, &timeline.series(None).0);
        assert_eq!(live, whole);
        let named = |column: usize| whole.values().filter(|row| row[column].is_some()).count();
        assert!((1..=3).all(|column| named(column) > 20), "{}, {}, {}", named(1), named(2), named(3));
    }
}
