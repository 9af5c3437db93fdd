//! What a driven fleet asked for and what it got: a paragraph, its charts, and a table by class.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use wec_figures::aggregate::Aggregate;
use wec_figures::snapshot::ObservedSeries;
use wec_figures::wording::counted;
use wec_record::FLEET_SOURCE;

use super::charts::Charts;
use super::tables::{begin, end};
use super::text::Text;

/// Figures of each class, with their series and the heads of their columns.
const OF_CLASS: [(&str, &str); 7] = [
    ("orders", "orders"),
    ("issued", "issued"),
    ("refused", "refused"),
    ("failed", "failed"),
    ("not_sent", "not sent"),
    ("late", "late"),
    ("expired", "expired"),
];

/// The fleet's part of the report; nothing for a run without a fleet.
pub(super) fn fleet(page: &mut String, aggregate: &Aggregate, charts: &Charts<'_>) {
    let last = aggregate.observed_last(FLEET_SOURCE);
    if last.is_empty() {
        return;
    }
    _ = writeln!(
        page,
        "<section>\n<h2>Fleet</h2>\n<p>{}</p>",
        Text(&paragraph(&last, &aggregate.observed()))
    );
    charts.write_fleet(page);
    by_class(page, &last);
    page.push_str("</section>\n");
}

fn paragraph(last: &BTreeMap<String, f64>, observed: &[ObservedSeries]) -> String {
    let value = |name: &str| last.get(name).map_or(0, |value| *value as u64);
    let planned = |name: &str| match last.get(name) {
        Some(value) => format!(" ({} were planned)", *value as u64),
        None => String::new(),
    };
    let most = |name: &str| {
        let series = observed.iter().find(|series| series.source == FLEET_SOURCE && series.name == name);
        series.map_or(0.0, |series| series.values.iter().copied().fold(0.0, f64::max)) as u64
    };
    let mut text = format!(
        "The clients began {}{} and got {}{}; {} became due.",
        counted(value("orders_total"), "order", "orders"),
        planned("planned_orders_total"),
        counted(value("issued_total"), "certificate", "certificates"),
        planned("planned_issued_total"),
        counted(value("due_total"), "renewal", "renewals"),
    );
    let (refused, failed) = (value("refused_total"), value("failed_total"));
    if refused + failed > 0 {
        _ = write!(text, " The CA refused {refused} with 429 or 503, and {failed} failed otherwise.");
    }
    match value("not_sent_total") {
        0 => {}
        unsent => _ = write!(text, " {unsent} were not sent, because no worker was free."),
    }
    let peak = value("worst_second_orders");
    if peak > 0 {
        let mean = value("orders_total") as f64 / value("clock_seconds").max(1) as f64;
        _ = write!(
            text,
            " In the worst second of the fleet's clock {} began, {:.1} times the mean.",
            counted(peak, "order", "orders"),
            peak as f64 / mean
        );
    }
    let waited = value("largest_backlog").max(most("waiting"));
    _ = write!(text, " At most {} waited at the same time", counted(waited, "renewal", "renewals"));
    if waited > 0 && last.contains_key("largest_backlog") {
        _ = write!(text, ", {} s after the begin", value("largest_backlog_after_seconds"));
        match last.get("backlog_drained_after_seconds") {
            Some(seconds) => _ = write!(text, " and drained {seconds} s later"),
            None => text.push_str(" and not drained at the end"),
        }
    }
    _ = write!(
        text,
        "; {} waited at the end, and {} were served late.",
        value("waiting"),
        value("late_total")
    );
    match value("expired_total") {
        0 => text.push_str(" No certificate expired."),
        expired => {
            _ = write!(
                text,
                " {} expired before the renewal: at most {} at the same time, {} at the end.",
                counted(expired, "certificate", "certificates"),
                counted(most("sites_down"), "site was down", "sites were down"),
                value("sites_down"),
            );
        }
    }
    text
}

fn by_class(page: &mut String, last: &BTreeMap<String, f64>) {
    let classes: BTreeSet<&str> = last.keys().filter_map(|name| class_of(name, "orders")).collect();
    if classes.is_empty() {
        return;
    }
    let columns: Vec<_> = std::iter::once("class").chain(OF_CLASS.map(|(_, head)| head)).collect();
    begin(page, "What became of the orders of each class of clients", "figures", &columns);
    for class in classes {
        _ = write!(page, "<tr><th scope=\"row\">{}</th>", Text(class));
        for (figure, _) in OF_CLASS {
            let found = last.iter().find(|(name, _)| class_of(name, figure) == Some(class));
            _ = write!(page, "<td>{}</td>", found.map_or(0.0, |(_, value)| *value));
        }
        page.push_str("</tr>\n");
    }
    end(page);
}

/// The class in the name of a series of this figure: `orders_total{class="ari"}`.
fn class_of<'a>(series: &'a str, figure: &str) -> Option<&'a str> {
    series.strip_prefix(figure)?.strip_prefix("_total{class=\"")?.strip_suffix("\"}")
}

#[cfg(test)]
mod tests {
    use wec_record::{Observation, Record};

    use super::*;

    fn driven() -> Aggregate {
        let mut aggregate = Aggregate::default();
        for (second, orders, waiting, expired) in
            [(0, 0.0, 0.0, 0.0), (1, 40.0, 25.0, 0.0), (2, 50.0, 3.0, 2.0)]
        {
            let counters = [
                ("orders_total", orders),
                ("planned_orders_total", 51.0),
                ("issued_total", 45.0),
                ("due_total", 48.0),
                ("refused_total", 4.0),
                ("not_sent_total", 3.0),
                ("expired_total", expired),
                ("orders_total{class=\"ari\"}", orders - 1.0),
                ("refused_total{class=\"ari\"}", 4.0),
                ("orders_total{class=\"certbot\"}", 1.0),
            ];
            let gauges = [
                ("waiting", waiting),
                ("sites_down", expired),
                ("clock_seconds", 100.0),
                ("worst_second_orders", 5.0),
                ("largest_backlog", 27.0),
                ("largest_backlog_after_seconds", 30.0),
            ];
            let owned = |values: &[(&str, f64)]| {
                values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
            };
            aggregate.record(&Record::Observation(Observation {
                at_unix_ns: (1_700_000_000 + second) * 1_000_000_000,
                source: FLEET_SOURCE.to_owned(),
                gauges: owned(&gauges),
                counters: owned(&counters),
                left_out: 0,
            }));
        }
        aggregate
    }

    #[test]
    fn a_paragraph_and_a_table_say_what_became_of_the_fleet() {
        let aggregate = driven();
        let last = aggregate.observed_last(FLEET_SOURCE);
        assert_eq!(
            paragraph(&last, &aggregate.observed()),
            "The clients began 50 orders (51 were planned) and got 45 certificates; 48 renewals became due. The CA \
             refused 4 with 429 or 503, and 0 failed otherwise. 3 were not sent, because no worker was free. In the worst \
             second of the fleet's clock 5 orders began, 10.0 times the mean. At most 27 renewals waited at the same time, \
             30 s after the begin and not drained at the end; 3 waited at the end, and 0 were served late. 2 certificates expired before the renewal: at most 2 sites were down at the same \
             time, 2 at the end."
        );
        let mut table = String::new();
        by_class(&mut table, &last);
        assert!(table.contains("<th scope=\"row\">ari</th><td>49</td><td>0</td><td>4</td>"), "{table}");
        assert!(table.contains("<th scope=\"row\">certbot</th><td>1</td>"), "{table}");
    }

    #[test]
    fn a_run_without_a_fleet_has_no_such_part() {
        let aggregate = Aggregate::default();
        let snapshot = aggregate.snapshot();
        let mut page = String::new();
        fleet(&mut page, &aggregate, &Charts::of(&aggregate, &snapshot));
        assert_eq!(page, "");
    }
}
