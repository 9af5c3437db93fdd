//! The figures of a simulation as text for people.

use std::fmt::Write as _;

use crate::class::ClientClass;
use crate::outlook::{Outlook, Totals, Window};
use crate::scenario::Scenario;
use crate::time::{date_text, duration_text, rate_text};

/// The figures, with what was simulated. Ends with a line break.
pub fn outlook(scenario: &Scenario, outlook: &Outlook) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(text, "{}\n", fleet(scenario));
    for (name, value) in answers(scenario, outlook) {
        let _ = writeln!(text, "{name:<16}{value}");
    }
    text.push('\n');
    text.push_str(&table(&periods(outlook)));
    text.push('\n');
    text.push_str(&table(&classes(outlook)));
    if !outlook.balanced {
        text.push_str("\nthis is a fault of wec: due differs from served + late + expired + waiting\n");
    }
    text
}

/// One line: the fleet, its CA and its events.
fn fleet(scenario: &Scenario) -> String {
    let days = duration_text(scenario.length);
    let mut text = format!(
        "{} certificates of {}, for {days} from {}; ",
        count(scenario.certificates),
        duration_text(scenario.lifetime),
        date_text(scenario.start_day)
    );
    match scenario.ca.rate {
        None => text.push_str("a CA without limits"),
        Some(rate) => {
            let _ = write!(
                text,
                "a CA that issues {} with a queue of {}",
                rate_text(rate),
                count(scenario.ca.queue)
            );
        }
    }
    for event in &scenario.events {
        let _ = write!(text, "; {event}");
    }
    let _ = write!(text, "; seed {}", scenario.seed);
    text
}

fn answers(scenario: &Scenario, outlook: &Outlook) -> Vec<(&'static str, String)> {
    let demand = &outlook.demand;
    let Totals { orders, due, issued, on_time, late, expired, refused, failed, .. } = outlook.total;
    let mut answers = vec![
        (
            "demand",
            format!(
                "{} orders/s in the mean, {} of them renewals that become due",
                rate(demand.mean),
                rate(demand.mean_due)
            ),
        ),
        (
            "worst second",
            format!(
                "{} orders at {}, {} times the mean",
                count(demand.peak_second.orders),
                demand.peak_second.at,
                times(demand.peak_over_mean)
            ),
        ),
        ("worst minute", window(&demand.worst_minute)),
    ];
    if demand.worst_window.seconds != demand.worst_minute.seconds {
        answers.push(("worst window", window(&demand.worst_window)));
    }
    answers.push(("served", format!("{} certificates issued for {} orders", count(issued), count(orders))));
    let renewals = format!(
        "{} due: {} in time, {} later than {}, {} expired before, {} wait",
        count(due),
        count(on_time),
        count(late),
        duration_text(scenario.late_after),
        count(expired),
        count(outlook.backlog.at_end),
    );
    answers.push(("renewals", renewals));
    if refused + failed > 0 {
        answers.push((
            "not served",
            format!("{} orders answered with 503, {} without an answer", count(refused), count(failed)),
        ));
    }
    let backlog = &outlook.backlog;
    let drained = match backlog.drained_after {
        Some(seconds) => format!("drained {} later", duration_text(seconds)),
        None => "not drained at the end".to_owned(),
    };
    answers.push((
        "backlog",
        match backlog.max {
            0 => "none".to_owned(),
            max => format!(
                "at most {} renewals, at {}, {drained}; at most {} in the CA's queue",
                count(max),
                backlog.max_at,
                count(backlog.max_queue)
            ),
        },
    ));
    answers.push((
        "sites down",
        match expired {
            0 => "none: no certificate expired".to_owned(),
            _ => format!(
                "{} certificates expired; at most {} sites were down at once, {} at the end",
                count(expired),
                count(backlog.max_down),
                count(backlog.down_at_end)
            ),
        },
    ));
    if let Some(seconds) = backlog.revoked_replaced_after {
        answers.push((
            "revocation",
            format!("the last revoked certificate was replaced after {}", duration_text(seconds)),
        ));
    } else if backlog.revoked_at_end > 0 {
        answers.push((
            "revocation",
            format!("{} revoked certificates are in use at the end", count(backlog.revoked_at_end)),
        ));
    }
    answers
}

fn window(window: &Window) -> String {
    format!(
        "{} orders from {}: {} a second for {}",
        count(window.orders),
        window.at,
        rate(window.orders as f64 / f64::from(window.seconds.max(1))),
        duration_text(window.seconds)
    )
}

fn periods(outlook: &Outlook) -> Vec<Vec<String>> {
    let head =
        ["from", "orders/s", "worst second", "issued/s", "refused", "failed", "late", "expired", "backlog"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(outlook.periods.iter().map(|period| {
        let per_second = |number: u64| rate(number as f64 / f64::from(period.seconds.max(1)));
        vec![
            period.start.clone(),
            rate(period.mean),
            count(period.peak),
            per_second(period.total.issued),
            count(period.total.refused),
            count(period.total.failed),
            count(period.total.late),
            count(period.total.expired),
            count(period.max_backlog),
        ]
    }));
    rows
}

fn classes(outlook: &Outlook) -> Vec<Vec<String>> {
    let head = [
        "class",
        "orders",
        "worst second",
        "issued",
        "refused",
        "failed",
        "late",
        "expired",
        "next try after a 503",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(outlook.classes.iter().map(|class| {
        let Totals { orders, issued, late, expired, refused, failed, .. } = class.total;
        vec![
            class.name.clone(),
            count(orders),
            count(class.peak),
            count(issued),
            count(refused),
            count(failed),
            count(late),
            count(expired),
            class.takes_503.clone(),
        ]
    }));
    rows
}

/// What became of the orders of each class, as a table with a row for each.
pub fn by_class(classes: &[(ClientClass, Totals)]) -> String {
    let head = [
        "class",
        "orders",
        "issued",
        "refused",
        "failed",
        "not sent",
        "late",
        "expired",
        "next try after a 503",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(classes.iter().map(|(class, totals)| {
        let Totals { orders, issued, late, expired, refused, failed, not_sent, .. } = *totals;
        let counts = [orders, issued, refused, failed, not_sent, late, expired].map(count);
        [vec![class.name.to_owned()], counts.to_vec(), vec![class.after_503()]].concat()
    }));
    table(&rows)
}

/// Rows with columns as wide as their longest cell; numbers to the right, the first and the last column to the left
/// if it is text.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let is_text =
        |column: usize| rows.iter().skip(1).any(|row| row[column].starts_with(|c: char| c.is_alphabetic()));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column == 0 || is_text(column) {
            true => format!("{cell:<0$}", width(column)),
            false => format!("{cell:>0$}", width(column)),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        debug_assert_eq!(row.len(), columns);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count with commas: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rate(per_second: f64) -> String {
    match per_second {
        // Of small fleets: two significant digits.
        rate if rate > 0.0 && rate < 0.01 => format!("{rate:.0$}", (1.0 - rate.log10().floor()) as usize),
        rate if rate < 100.0 => format!("{rate:.2}"),
        rate => count(rate.round() as u64),
    }
}

/// How many times a mean: `3.4`, `1,234`.
pub fn times(ratio: f64) -> String {
    if ratio >= 10.0 { count(ratio.round() as u64) } else { format!("{ratio:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 12, 1_234, 1_234_567].map(count), ["0", "12", "1,234", "1,234,567"]);
        assert_eq!([0.0, 1.234, 99.5, 1_234.5].map(rate), ["0.00", "1.23", "99.50", "1,235"]);
        assert_eq!([0.009_96, 0.000_123].map(rate), ["0.0100", "0.00012"]);
    }

    #[test]
    fn a_table_aligns_numbers_to_the_right() {
        let rows = [["class", "orders", "then"], ["a", "5", "waits"], ["long", "1,234", "tries"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(table(&rows), "class  orders  then\na           5  waits\nlong    1,234  tries\n");
    }
}
