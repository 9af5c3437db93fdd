//! Formats numbers for the terminal.

/// Units of time, each with its length in nanoseconds.
pub const UNITS: [(&str, u64); 4] = [("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// Three digits and a unit: `1.23 ms`.
pub fn duration(ns: u64) -> String {
    let &(unit, size) = UNITS.iter().rev().find(|(_, size)| ns >= *size).unwrap_or(&UNITS[0]);
    let value = ns as f64 / size as f64;
    match value {
        _ if size == 1 => format!("{ns} ns"),
        ..9.995 => format!("{value:.2} {unit}"),
        ..99.95 => format!("{value:.1} {unit}"),
        ..999.5 => format!("{value:.0} {unit}"),
        // Rounding would give 1000: the next unit gives 1.00; seconds have no next unit.
        _ if unit == "s" => format!("{value:.0} s"),
        _ => duration(size * 1_000),
    }
}

/// A rate, three digits: `0.83`, `287.6`.
pub fn rate(per_second: f64) -> String {
    if per_second < 9.995 { format!("{per_second:.2}") } else { format!("{per_second:.1}") }
}

/// `1 window`, `3 windows`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (1_234_567, "1.23 ms"),
            (9_994_999, "9.99 ms"),
            (9_995_000, "10.0 ms"),
            (12_345_678, "12.3 ms"),
            (99_949_999, "99.9 ms"),
            (99_950_000, "100 ms"),
            (999_499_999, "999 ms"),
            (999_500_000, "1.00 s"),
            (60_000_000_000, "60.0 s"),
            (3_600_000_000_000, "3600 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }
}
