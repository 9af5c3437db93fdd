//! A picture of a simulation: orders and issued certificates over time, as SVG.

use std::fmt::Write as _;

use crate::scenario::Scenario;
use crate::step::{Flow, Tick};
use crate::time::{DAY, date_text, duration_text};

/// Points of the picture at most.
const POINTS: i32 = 720;
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
/// Left, right, top and bottom of the plot.
const PLOT: [f64; 4] = [64.0, 846.0, 34.0, 262.0];

/// Collects the seconds of a simulation for a picture.
#[derive(Debug)]
pub struct Picture {
    scenario: Scenario,
    /// Seconds of a point.
    step: i32,
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Point {
    flow: Flow,
    waiting: u64,
    down: u64,
}

impl Picture {
    /// Of a simulation of this scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let step = (scenario.length / POINTS).max(1);
        Self { scenario: scenario.clone(), step, points: Vec::new() }
    }

    /// The next second.
    pub fn add(&mut self, tick: &Tick) {
        let place = (tick.second / self.step) as usize;
        self.points.resize(place + 1, Point::default());
        let point = &mut self.points[place];
        point.flow.add(&tick.total());
        point.waiting = point.waiting.max(tick.waiting);
        point.down = point.down.max(tick.down);
    }

    /// The picture: two plots over time, rates above, levels below.
    pub fn svg(&self) -> String {
        let per_second = |number: u64| number as f64 / f64::from(self.step);
        let series = |value: fn(&Point) -> u64| self.points.iter().map(value).collect::<Vec<_>>();
        let rates = [
            ("orders a second", "#c2410c", series(|point| point.flow.attempts)),
            ("certificates issued a second", "#1d4ed8", series(|point| point.flow.served())),
        ];
        let levels = [
            ("renewals that wait", "#7c3aed", series(|point| point.waiting)),
            ("sites down", "#111827", series(|point| point.down)),
        ];
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {0}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{0}\" fill=\"#fff\"/>\n",
            2.0 * HEIGHT
        );
        self.plot(
            &mut svg,
            0.0,
            &rates.map(|(name, colour, values)| (name, colour, values.into_iter().map(per_second).collect())),
        );
        self.plot(
            &mut svg,
            HEIGHT,
            &levels.map(|(name, colour, values)| {
                (name, colour, values.into_iter().map(|value| value as f64).collect())
            }),
        );
        svg.push_str("</svg>\n");
        svg
    }

    fn plot(&self, svg: &mut String, down: f64, series: &[(&str, &str, Vec<f64>)]) {
        let [left, right, top, bottom] = PLOT;
        let (top, bottom) = (top + down, bottom + down);
        let most = nice(series.iter().flat_map(|(_, _, values)| values).copied().fold(0.0, f64::max));
        // Writing into a string does not fail.
        for part in 0..=4 {
            let value = most * f64::from(part) / 4.0;
            let y = bottom - (bottom - top) * f64::from(part) / 4.0;
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#e5e7eb\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\" fill=\"#374151\">{}</text>",
                left - 6.0,
                y + 4.0,
                short(value)
            );
        }
        let points = self.points.len().max(1) as f64;
        for part in 0..=4 {
            let x = left + (right - left) * f64::from(part) / 4.0;
            let second = (f64::from(self.scenario.length) * f64::from(part) / 4.0) as i32;
            let anchor = if part == 4 { "end" } else { "middle" };
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#374151\">{}</text>",
                bottom + 18.0,
                date_text(self.scenario.start_day + second / DAY)
            );
        }
        for (number, (name, colour, values)) in series.iter().enumerate() {
            let mut path = String::new();
            for (place, value) in values.iter().enumerate() {
                let x = left + (right - left) * (place as f64 + 0.5) / points;
                let y = bottom - (bottom - top) * value / most;
                let _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
            }
            let _ = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 fill=\"{colour}\">{name}, {}</text>",
                left + 330.0 * number as f64,
                top - 14.0,
                match down > 0.0 {
                    true => format!("the most in {}", duration_text(self.step)),
                    false => format!("means of {}", duration_text(self.step)),
                }
            );
        }
    }
}

/// The next number above with one or two digits.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|nice| *nice >= value)
        .unwrap_or(1.0)
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(
            [0.0, 0.7, 1.0, 3.1, 17.0, 99.0, 601.0].map(nice),
            [1.0, 1.0, 1.0, 4.0, 20.0, 100.0, 800.0]
        );
        assert_eq!([0.5, 250.0, 1_500.0, 2e6].map(short), ["0.5", "250", "1.5k", "2M"]);
    }
}
