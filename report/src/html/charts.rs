//! Charts over time, as SVG.
//!
//! The drawing is stretched to its place, and its lines keep their width. Labels are HTML around it, so their
//! size does not depend on the width of the screen or of the paper. A missing value is a gap, not zero.
//! Lines of one chart differ in their dashes as well as in their colours.

use std::fmt::Write as _;

use wec_figures::aggregate::Aggregate;
use wec_figures::snapshot::{ChainPercentiles, ObservedSeries, Series, Snapshot};
use wec_figures::wording::{duration as time_text, rate as rate_text};
use wec_record::{Chain, FLEET_SOURCE, Mark};

use super::text::Text;

/// Points of a line. A bucket of the series is a second or more.
const POINTS: usize = 120;
/// Points of a line of percentiles, at least, where the run is long enough: fewer samples have no p99.
const PERCENTILE_POINTS: usize = 8;
/// Marks with a line; the table lists all.
const MARKS: usize = 30;
/// The least share of a bucket inside the run for which a rate is drawn.
const LEAST_COVERED: f64 = 0.25;
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 100.0;
/// Parts of each axis between labels.
const PARTS: usize = 4;

/// The charts of a fleet: title, unit, and lines with their series and style.
type FleetChart = (&'static str, &'static str, &'static [(&'static str, &'static str, &'static str)]);
const FLEET: &[FleetChart] = &[
    (
        "Demand and service of the fleet",
        "per second",
        &[
            ("orders", "orders_total", "l1 k-chains"),
            ("issued", "issued_total", "l2 k-certificate"),
            ("planned orders", "planned_orders_total", "l3 k-target"),
        ],
    ),
    (
        "Backlog of the fleet",
        "renewals and sites",
        &[("waiting", "waiting", "l1 k-doubt"), ("sites down", "sites_down", "l2 k-bad")],
    ),
    (
        "Orders of the fleet without a certificate",
        "per second",
        &[
            ("refused with 429 or 503", "refused_total", "l1 k-bad"),
            ("failed otherwise", "failed_total", "l2 k-doubt"),
            ("not sent", "not_sent_total", "l3 k-target"),
        ],
    ),
];

pub(super) struct Charts<'a> {
    snapshot: &'a Snapshot,
    series: Series,
    percentiles: Vec<(Chain, ChainPercentiles)>,
    observed: Vec<ObservedSeries>,
    /// The axis of time, nanoseconds since the Unix epoch.
    from: u64,
    to: u64,
}

/// A line of a chart.
struct Line<'a> {
    name: &'a str,
    class: String,
    points: Vec<Option<f64>>,
}

/// What a chart shows.
struct Chart<'a> {
    title: String,
    /// Aggregation and unit, below the title.
    about: String,
    /// Middles of the buckets, nanoseconds since the Unix epoch.
    at: Vec<u64>,
    lines: Vec<Line<'a>>,
    show: fn(f64) -> String,
    /// The smallest top of the axis.
    least: f64,
}

impl<'a> Charts<'a> {
    pub(super) fn of(aggregate: &Aggregate, snapshot: &'a Snapshot) -> Self {
        let series = aggregate.coarse_series(POINTS);
        let percentiles =
            Chain::ALL.map(|chain| (chain, aggregate.percentiles_over_time(chain, PERCENTILE_POINTS)));
        let to = snapshot.at_unix_ns;
        Self {
            snapshot,
            series,
            percentiles: percentiles
                .into_iter()
                .filter(|(_, found)| found.n.iter().any(|n| *n > 0))
                .collect(),
            observed: aggregate.observed(),
            // The warm-up is drawn, too.
            from: match snapshot.period {
                None if snapshot.run.warm_up_ns > 0 => snapshot.run.started_unix_ns,
                _ => to.saturating_sub(snapshot.elapsed_ns),
            },
            to,
        }
    }

    /// The rules for the positions of marks.
    pub(super) fn rules(&self) -> String {
        let mut rules = String::new();
        for (place, mark) in self.marks() {
            _ = writeln!(rules, ".m{place}{{left:{:.2}%}}", self.x(mark.at_unix_ns) / WIDTH * 100.0);
        }
        rules
    }

    pub(super) fn write(&self, page: &mut String) {
        if self.series.at_unix_s.is_empty() || self.to <= self.from {
            return;
        }
        page.push_str("<section>\n<h2>Over time</h2>\n");
        if !self.snapshot.marks.is_empty() {
            page.push_str("<p class=\"soft\">Numbered lines are marks, listed below the charts.</p>\n");
        }
        if self.warm_up().is_some() {
            page.push_str("<p class=\"soft\">The shaded part is the warm-up, which is in no figure.</p>\n");
        }
        page.push_str("<div class=\"charts\">\n");
        for chart in [self.issued(), self.requests(), self.failures(), self.workers()] {
            self.chart(page, &chart);
        }
        for (chain, found) in &self.percentiles {
            self.chart(page, &self.times(*chain, found));
        }
        page.push_str("</div>\n");
        self.mark_table(page);
        page.push_str("</section>\n");
    }

    /// The metrics of other programs, under the same axis of time, in the order of the table.
    pub(super) fn write_observed(&self, page: &mut String) {
        if self.to <= self.from {
            return;
        }
        page.push_str("<div class=\"charts\">\n");
        for figures in &self.snapshot.observed {
            let same = |series: &&ObservedSeries| {
                (&series.source, &series.name, series.measure)
                    == (&figures.source, &figures.name, figures.measure)
            };
            if let Some(series) = self.observed.iter().find(same) {
                self.chart(page, &self.observed_chart(series));
            }
        }
        page.push_str("</div>\n");
    }

    /// What a driven fleet asked for, what it got, and what waited.
    pub(super) fn write_fleet(&self, page: &mut String) {
        if self.to <= self.from {
            return;
        }
        let fleet: Vec<_> = self.observed.iter().filter(|series| series.source == FLEET_SOURCE).collect();
        let Some(first) = fleet.first() else { return };
        page.push_str("<div class=\"charts\">\n");
        for (title, about, lines) in FLEET {
            let found = lines.iter().filter_map(|(name, series, class)| {
                let (_, _, points) = self.observed_points(fleet.iter().find(|of| of.name == *series)?);
                Some(Line { name, class: (*class).to_owned(), points })
            });
            let lines: Vec<_> = found.collect();
            let (at, seconds, _) = self.observed_points(first);
            let about = format!("{about}; each point is of {seconds:.1} s");
            self.chart(
                page,
                &Chart { title: (*title).to_owned(), about, at, lines, show: short, least: 1.0 },
            );
        }
        page.push_str("</div>\n");
    }

    fn observed_chart<'b>(&self, series: &'b ObservedSeries) -> Chart<'b> {
        let (at, seconds, points) = self.observed_points(series);
        Chart {
            title: format!("{} {}", series.source, series.name),
            about: format!("{}; each point is of {seconds:.1} s", series.measure.about()),
            at,
            lines: vec![Line { name: series.measure.about(), class: "l1 k-chains".to_owned(), points }],
            show: short,
            least: 1e-6,
        }
    }

    /// Parts of the run, their length in seconds, and the mean of the samples in each.
    fn observed_points(&self, series: &ObservedSeries) -> (Vec<u64>, f64, Vec<Option<f64>>) {
        let span = self.to - self.from;
        let width = (span / POINTS as u64).max(series.step_s * 1_000_000_000);
        let parts = usize::try_from(span.div_ceil(width)).unwrap_or(POINTS).max(1);
        let mut sums = vec![(0.0, 0_u32); parts];
        for (at, value) in series.at_unix_ns.iter().zip(&series.values) {
            let part = at.checked_sub(self.from).map(|after| (after / width) as usize);
            // The axis begins at 0.
            if let Some(sum) = part.and_then(|part| sums.get_mut(part)).filter(|_| *value >= 0.0) {
                *sum = (sum.0 + value, sum.1 + 1);
            }
        }
        let points = sums.into_iter().map(|(sum, n)| (n > 0).then(|| sum / f64::from(n))).collect();
        let at = (0..parts as u64).map(|part| self.from + part * width + width / 2).collect();
        (at, width as f64 / 1e9, points)
    }

    fn issued(&self) -> Chart<'_> {
        let series = &self.series;
        let chains = (0..series.at_unix_s.len())
            .map(|place| series.chains.values().map(|chain| chain.count[place]).sum());
        let mut lines = vec![
            Line {
                name: "issued",
                class: "l1 k-certificate".into(),
                points: self.rates(series.issued.iter().copied()),
            },
            Line { name: "chains", class: "l2 k-chains".into(), points: self.rates(chains) },
        ];
        lines.extend(target("target of chains", &series.chains_target));
        self.series_chart("Certificates and chains", "per second", lines, number, 1.0)
    }

    fn requests(&self) -> Chart<'_> {
        let series = &self.series;
        let mut lines = vec![
            Line {
                name: "requests",
                class: "l1 k-requests".into(),
                points: self.rates(series.requests.iter().copied()),
            },
            Line {
                name: "validations",
                class: "l2 k-hits".into(),
                points: self.rates(series.hits.iter().copied()),
            },
        ];
        lines.extend(target("target of requests", &series.requests_target));
        self.series_chart("Requests and validations", "per second", lines, number, 1.0)
    }

    fn failures(&self) -> Chart<'_> {
        let series = &self.series;
        let chains = (0..series.at_unix_s.len())
            .map(|place| series.chains.values().map(|chain| chain.failed[place]).sum());
        let lines = vec![
            Line { name: "failed chains", class: "l1 k-bad".into(), points: self.rates(chains) },
            Line {
                name: "failed requests",
                class: "l2 k-doubt".into(),
                points: self.rates(series.requests_failed.iter().copied()),
            },
        ];
        self.series_chart("Failures", "per second", lines, number, 1.0)
    }

    fn workers(&self) -> Chart<'_> {
        let series = &self.series;
        let line = |name, class: &str, column: &[Option<u64>]| Line {
            name,
            class: class.to_owned(),
            points: column.iter().map(|value| value.map(|value| value as f64)).collect(),
        };
        let lines = vec![
            line("in flight", "l1 k-chains", &series.busy),
            line("workers", "l2 k-requests", &series.workers),
            line("target of workers", "l3 k-target", &series.workers_target),
        ];
        self.series_chart("Chains in flight and workers", "number", lines, number, 1.0)
    }

    fn times(&self, chain: Chain, found: &ChainPercentiles) -> Chart<'_> {
        let line = |name, dash: u8, column: &[Option<u64>]| Line {
            name,
            class: format!("l{dash} k-{chain}"),
            points: column.iter().map(|value| value.map(|value| value as f64)).collect(),
        };
        let n: u64 = found.n.iter().sum();
        let mut lines =
            vec![line("p50", 1, &found.p50_ns), line("p95", 2, &found.p95_ns), line("p99", 3, &found.p99_ns)];
        // Where no point has enough samples for a percentile, that of the run is drawn.
        let whole = &self.snapshot.chains[&chain].response_time_ns;
        let whole = [
            ("p50 of the whole run", whole.p50),
            ("p95 of the whole run", whole.p95),
            ("p99 of the whole run", whole.p99),
        ];
        for (line, (name, value)) in lines.iter_mut().zip(whole) {
            if let Some(value) = value.filter(|_| line.points.iter().all(Option::is_none)) {
                line.name = name;
                line.points.fill(Some(value as f64));
            }
        }
        Chart {
            title: format!("Response time of {chain}"),
            about: format!("each point is of {} s; N {n}; a gap has too few samples", found.step_s),
            at: middles(&found.at_unix_s, found.step_s),
            lines,
            show: |ns| time_text(ns.round() as u64),
            least: 1e3,
        }
    }

    fn series_chart<'b>(
        &self,
        title: &str,
        unit: &str,
        lines: Vec<Line<'b>>,
        show: fn(f64) -> String,
        least: f64,
    ) -> Chart<'b> {
        let step = self.series.step_s;
        Chart {
            title: title.to_owned(),
            about: format!("{unit}; each point is of {step} s"),
            at: middles(&self.series.at_unix_s, step),
            lines,
            show,
            least,
        }
    }

    /// Counts per second of the part of each bucket that lies in the run.
    fn rates(&self, counts: impl Iterator<Item = u64>) -> Vec<Option<f64>> {
        let step_ns = self.series.step_s * 1_000_000_000;
        let starts = self.series.at_unix_s.iter().map(|start| start * 1_000_000_000);
        let rate = |(start, count): (u64, u64)| {
            let covered = (start + step_ns).min(self.to).saturating_sub(start.max(self.from));
            let enough = covered as f64 >= LEAST_COVERED * step_ns as f64;
            enough.then(|| count as f64 * 1e9 / covered as f64)
        };
        starts.zip(counts).map(rate).collect()
    }

    fn x(&self, unix_ns: u64) -> f64 {
        let share =
            unix_ns.saturating_sub(self.from) as f64 / self.to.saturating_sub(self.from).max(1) as f64;
        WIDTH * share.clamp(0.0, 1.0)
    }

    /// Where the warm-up is, and its width; none if it is not in the charts.
    fn warm_up(&self) -> Option<(f64, f64)> {
        let run = &self.snapshot.run;
        let [from, to] = [0, run.warm_up_ns].map(|after| self.x(run.started_unix_ns.saturating_add(after)));
        (to > from).then_some((from, to - from))
    }

    /// The marks that have a line, numbered from 1.
    fn marks(&self) -> impl Iterator<Item = (usize, &Mark)> {
        (1..).zip(&self.snapshot.marks).take(MARKS)
    }

    fn chart(&self, page: &mut String, chart: &Chart<'_>) {
        let values = || chart.lines.iter().flat_map(|line| line.points.iter().flatten().copied());
        let top = nice(values().fold(chart.least, f64::max));
        _ = write!(
            page,
            "<figure>\n<figcaption><h3>{}</h3><p class=\"soft\">{}</p><ul class=\"legend\">",
            Text(&chart.title),
            Text(&chart.about)
        );
        let drawn = || chart.lines.iter().filter(|line| line.points.iter().any(Option::is_some));
        for line in drawn() {
            _ = write!(
                page,
                "<li><svg viewBox=\"0 0 24 4\" aria-hidden=\"true\"><path class=\"{}\" d=\"M1 2H23\"/></svg>{}</li>",
                line.class,
                Text(line.name)
            );
        }
        page.push_str("</ul></figcaption>\n<div class=\"plot\">\n<div class=\"ys\" aria-hidden=\"true\">");
        for part in (0..=PARTS).rev() {
            let label = (chart.show)(top * part as f64 / PARTS as f64);
            _ = write!(page, "<span>{}</span>", axis(&label));
        }
        _ = write!(
            page,
            "</div>\n<div class=\"area\">\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{}\">\n",
            Text(&alternative(chart, self.from))
        );
        if let Some((x, width)) = self.warm_up() {
            _ = write!(page, "<rect class=\"warm\" x=\"{x:.2}\" width=\"{width:.2}\" height=\"{HEIGHT}\"/>");
        }
        for part in 0..=PARTS {
            _ = write!(
                page,
                "<path class=\"grid\" d=\"M0 {}H{WIDTH}\"/>",
                HEIGHT * part as f64 / PARTS as f64
            );
        }
        for line in drawn() {
            let points = chart.at.iter().zip(&line.points);
            let points =
                points.map(|(at, value)| value.map(|value| (self.x(*at), HEIGHT * (1.0 - value / top))));
            _ = write!(page, "\n<path class=\"{}\" d=\"{}\"/>", line.class, path(points));
        }
        page.push_str("\n</svg>\n");
        let mut before: Option<f64> = None;
        for (place, mark) in self.marks() {
            let x = self.x(mark.at_unix_ns);
            // Numbers that overlap are left out; their lines are drawn.
            let apart = before.is_none_or(|before| x - before >= 0.03 * WIDTH);
            before = if apart { Some(x) } else { before };
            let edge = if x > 0.97 * WIDTH { " edge" } else { "" };
            let number = if apart { place.to_string() } else { String::new() };
            _ = write!(page, "<span class=\"mark m{place}{edge}\" aria-hidden=\"true\">{number}</span>");
        }
        page.push_str("</div>\n<div class=\"xs\" aria-hidden=\"true\">");
        let start = self.snapshot.period.map_or(0, |period| period.from_ns);
        let span = self.to - self.from;
        for part in 0..=PARTS as u64 {
            _ = write!(page, "<span>{}</span>", after(start + span / PARTS as u64 * part, span));
        }
        page.push_str("</div>\n</div>\n");
        self.numbers(page, chart, start);
        page.push_str("</figure>\n");
    }

    /// The points as a table, for those who cannot see the chart or need the numbers.
    fn numbers(&self, page: &mut String, chart: &Chart<'_>, start: u64) {
        _ = write!(
            page,
            "<details><summary>Numbers</summary>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\">\
             <table><caption>{0}</caption><thead><tr><th scope=\"col\">after</th>",
            Text(&chart.title)
        );
        for line in &chart.lines {
            _ = write!(page, "<th scope=\"col\">{}</th>", Text(line.name));
        }
        page.push_str("</tr></thead><tbody>\n");
        for (place, at) in chart.at.iter().enumerate() {
            let seconds = (start + at.saturating_sub(self.from)) as f64 / 1e9;
            _ = write!(page, "<tr><th scope=\"row\">{seconds:.1} s</th>");
            for line in &chart.lines {
                let value = line.points.get(place).copied().flatten();
                _ = write!(page, "<td>{}</td>", value.map_or("–".to_owned(), chart.show));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div></details>\n");
    }

    fn mark_table(&self, page: &mut String) {
        let marks = &self.snapshot.marks;
        if marks.is_empty() {
            return;
        }
        page.push_str(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Marks\"><table class=\"words\"><caption>Marks: \
             changes of the load, and of the load tester's condition</caption>\
             <thead><tr><th scope=\"col\">no.</th><th scope=\"col\">after</th><th scope=\"col\">by</th>\
             <th scope=\"col\">scenario</th><th scope=\"col\">what</th><th scope=\"col\">change</th></tr></thead><tbody>\n",
        );
        for (number, mark) in (1..).zip(marks) {
            let after = mark.at_unix_ns.saturating_sub(self.snapshot.run.started_unix_ns);
            _ = write!(page, "<tr><th scope=\"row\">{number}</th><td>{}</td>", time_text(after));
            for text in [
                mark.by.to_string(),
                if mark.scenario.is_empty() { "all".to_owned() } else { mark.scenario.clone() },
                mark.what.to_string(),
                format!("{} → {}", mark.from, mark.to),
            ] {
                _ = write!(page, "<td>{}</td>", Text(&text));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
    }
}

/// Three digits, and a prefix for large numbers.
pub(super) fn short(value: f64) -> String {
    let (value, prefix) = match value.abs() {
        size if size >= 1e15 => return format!("{value:.2e}"),
        size if size >= 1e12 => (value / 1e12, " T"),
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 4,
        _ => 6,
    };
    format!("{value:.digits$}{prefix}")
}

fn target<'a>(name: &'a str, column: &[Option<f64>]) -> Option<Line<'a>> {
    column.iter().any(Option::is_some).then(|| Line {
        name,
        class: "l3 k-target".to_owned(),
        points: column.to_vec(),
    })
}

fn middles(starts: &[u64], step_s: u64) -> Vec<u64> {
    starts.iter().map(|start| start * 1_000_000_000 + step_s * 500_000_000).collect()
}

/// The line of these points, with gaps. A point between two gaps is a dot.
fn path(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    let mut open = 0_u32;
    for point in points {
        let Some((x, y)) = point else {
            if open == 1 {
                path.push_str("h0.1");
            }
            open = 0;
            continue;
        };
        _ = write!(path, "{}{x:.1} {y:.2}", if open == 0 { 'M' } else { 'L' });
        open += 1;
    }
    if open == 1 {
        path.push_str("h0.1");
    }
    path
}

/// The chart in words: the mean of each line, its smallest and largest value, and their times.
fn alternative(chart: &Chart<'_>, from: u64) -> String {
    let mut text = format!("{}, {}.", chart.title, chart.about);
    for line in &chart.lines {
        let points = || {
            let points = chart.at.iter().zip(&line.points);
            points.filter_map(|(at, value)| value.map(|value| (at.saturating_sub(from), value)))
        };
        let Some((low_at, low)) = points().min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let Some((high_at, high)) = points().max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let (sum, n) = points().fold((0.0, 0_u32), |(sum, n), (_, value)| (sum + value, n + 1));
        _ = write!(
            text,
            " {}: {} on average over the points, lowest {} after {}, highest {} after {}.",
            line.name,
            (chart.show)(sum / f64::from(n)),
            (chart.show)(low),
            time_text(low_at),
            (chart.show)(high),
            time_text(high_at)
        );
    }
    text
}

/// The next number above that divides well by four: 1, 2, 4, 8 of a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(10.0 * power)
}

/// A label without trailing zeros: `80 ms` for `80.0 ms`.
fn axis(label: &str) -> String {
    let (number, unit) = label.split_once(' ').unwrap_or((label, ""));
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    if number == "0" || unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value >= 10_000.0 {
        format!("{:.1}k", value / 1e3)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value.fract() == 0.0 {
        format!("{value}")
    } else {
        rate_text(value)
    }
}

/// A time after the run's start, in the unit that fits an axis of this length.
fn after(ns: u64, span: u64) -> String {
    let s = ns as f64 / 1e9;
    match span as f64 / 1e9 {
        ..20.0 => format!("{s:.1} s"),
        ..600.0 => format!("{s:.0} s"),
        ..36_000.0 => format!("{:.1} min", s / 60.0),
        _ => format!("{:.1} h", s / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_above_its_values() {
        for (value, top) in
            [(1.0, 1.0), (1.01, 1.2), (287.0, 300.0), (2_328.8, 2_400.0), (0.07, 0.08), (9.9, 10.0)]
        {
            assert!((nice(value) - top).abs() < 1e-9 * top, "{value}: {}", nice(value));
        }
    }

    #[test]
    fn labels_of_an_axis_are_short() {
        for (label, short) in
            [("80.0 ms", "80 ms"), ("0 ns", "0"), ("1.20 s", "1.2 s"), ("400", "400"), ("2.5k", "2.5k")]
        {
            assert_eq!(axis(label), short);
        }
    }

    #[test]
    fn what_was_not_measured_is_a_gap_and_a_point_alone_is_a_dot() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0)), None];
        assert_eq!(path(points.into_iter()), "M0.0 1.00L1.0 2.00M3.0 4.00h0.1");
        assert_eq!(path([None, None].into_iter()), "");
    }
}
