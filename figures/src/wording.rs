//! Formats numbers for people.

/// Units of time, each with its length in nanoseconds.
const UNITS: [(&str, u64); 4] = [("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

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

/// The ends of an interval in the unit of its value and with as many decimals: `1.21–1.25`.
pub fn interval(value: u64, [low, high]: [u64; 2]) -> String {
    let text = duration(value);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, "ns"));
    let size = UNITS.iter().find(|(name, _)| *name == unit).map_or(1, |(_, size)| *size) as f64;
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    format!("{:.decimals$}–{:.decimals$}", low as f64 / size, high as f64 / size)
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

    #[test]
    fn an_interval_has_the_unit_and_digits_of_its_value() {
        let cases = [
            (26_400_000, [26_240_000, 26_560_000], "26.2–26.6"),
            (1_000_000, [998_000, 1_250_000], "1.00–1.25"),
            (999_000_000, [960_000_000, 1_100_000_000], "960–1100"),
            (1_230_000_000, [9_000_000, 1_230_000_000], "0.01–1.23"),
            (12, [3, 40], "3–40"),
        ];
        for (value, between, text) in cases {
            assert_eq!(interval(value, between), text);
        }
    }
}
