//! The percentile distribution as text, in the form of HdrHistogram's `outputPercentileDistribution`, which
//! its plotter and others read.

use std::fmt::Write as _;

use wec_figures::distribution::Times;

/// Steps in each half of the remaining distance to 100 %, as other tools write.
const TICKS: u32 = 5;
/// Of an HdrHistogram from 1 ns to one hour with three digits.
const SUB_BUCKETS: u64 = 2_048;
const BUCKETS: u64 = 32;

/// The distribution of these times in milliseconds. `of` is a comment line that names the chain or endpoint.
pub fn hdr(times: &Times, of: &str) -> String {
    let ms = |ns: f64| ns / 1e6;
    let n = times.count() as f64;
    let mean = if n > 0.0 { times.sum() as f64 / n } else { 0.0 };
    let deviation =
        if n > 0.0 { (times.sum_of_squares() as f64 / n - mean * mean).max(0.0).sqrt() } else { 0.0 };
    let mut text = format!("#[Response times of {}, in milliseconds]\n", wec_text::visible(of));
    _ = writeln!(
        text,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for step in times.quantile_steps(TICKS) {
        _ = write!(text, "{:12.6} {:.12} {:10}", ms(step.value as f64), step.quantile, step.count);
        // The last line has no fourth column: its value is infinite.
        if step.quantile < 1.0 {
            _ = write!(text, " {:14.2}", 1.0 / (1.0 - step.quantile));
        }
        text.push('\n');
    }
    _ = writeln!(text, "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]", ms(mean), ms(deviation));
    _ = writeln!(text, "#[Max     = {:12.6}, Total count    = {:12}]", ms(times.max() as f64), times.count());
    _ = writeln!(text, "#[Buckets = {BUCKETS:12}, SubBuckets     = {SUB_BUCKETS:12}]");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that HdrHistogram's plotFiles.html plots: no comment, four numbers.
    fn plotted(text: &str) -> Vec<[f64; 4]> {
        let numbers = |line: &str| -> Option<[f64; 4]> {
            let numbers: Vec<f64> =
                line.split_whitespace().map(|part| part.parse().ok()).collect::<Option<_>>()?;
            numbers.try_into().ok()
        };
        text.lines().filter(|line| !line.starts_with('#')).filter_map(numbers).collect()
    }

    #[test]
    fn the_plotter_reads_percentiles_of_all_samples() {
        let mut times = Times::default();
        (1..=10_000).for_each(|n| times.record(n * 1_000_000));
        let text = hdr(&times, "all requests");
        let lines = plotted(&text);
        assert!(lines.len() > 30, "{text}");
        assert!(
            lines.is_sorted_by(|a, b| a[0] <= b[0] && a[1] < b[1] && a[2] <= b[2] && a[3] < b[3]),
            "{text}"
        );
        let half = lines.iter().find(|line| line[1] == 0.5).unwrap();
        assert!((half[0] - 5_000.0).abs() < 5.0 && half[2] >= 5_000.0 && half[3] == 2.0, "{half:?}");
        let mut last = text.lines().rev();
        assert_eq!(last.next().unwrap(), "#[Buckets =           32, SubBuckets     =         2048]");
        assert_eq!(last.next().unwrap(), "#[Max     = 10000.000000, Total count    =        10000]");
        assert_eq!(last.next().unwrap(), "#[Mean    =  5000.500000, StdDeviation   =  2886.751332]");
        let end: Vec<_> = last.next().unwrap().split_whitespace().collect();
        assert_eq!(end, ["10000.000000", "1.000000000000", "10000"]);
        assert!(text.starts_with("#[Response times of all requests, in milliseconds]\n       Value     Percentile TotalCount 1/(1-Percentile)\n\n"));
    }

    #[test]
    fn nothing_has_a_distribution_too() {
        assert!(plotted(&hdr(&Times::default(), "nothing")).is_empty());
    }
}
