//! Rows of figures as CSV (RFC 4180). Times are integers in nanoseconds; what is not known is empty.

use wec_figures::distribution::Timing;

use crate::by::Rows;

/// The rows of several tables below one head.
///
/// # Errors
/// When the text cannot be made, which the `csv` crate reports.
pub fn csv(tables: &[Rows]) -> Result<String, ::csv::Error> {
    let mut writer = ::csv::WriterBuilder::new().from_writer(Vec::new());
    let head = "by,group,name,method,uri,count,failed,cut_off,abandoned,per_second,n,mean_ns,std_error_ns,\
                min_ns,p50_ns,p50_low_ns,p50_high_ns,p90_ns,p90_low_ns,p90_high_ns,p95_ns,p95_low_ns,p95_high_ns,\
                p99_ns,p99_low_ns,p99_high_ns,p99_9_ns,p99_9_low_ns,p99_9_high_ns,max_ns";
    writer.write_record(head.split(','))?;
    for table in tables {
        let by: &str = table.by.into();
        for row in &table.rows {
            let mut cells = vec![by.to_owned()];
            cells.extend([&row.group, &row.name, &row.method, &row.uri].map(|text| plain(text)));
            cells.extend([row.count, row.failed, row.cut_off, row.abandoned].map(|count| count.to_string()));
            cells.push(row.per_second.to_string());
            cells.extend(timing(&row.response_time_ns));
            writer.write_record(cells)?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text that a spreadsheet does not take for a formula.
fn plain(text: &str) -> String {
    let text = wec_text::visible(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.into_owned() }
}

fn timing(timing: &Timing) -> Vec<String> {
    let text = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
    let mut cells = vec![timing.n.to_string(), text(timing.mean), text(timing.std_error), text(timing.min)];
    for (value, interval) in [
        (timing.p50, timing.p50_ci),
        (timing.p90, timing.p90_ci),
        (timing.p95, timing.p95_ci),
        (timing.p99, timing.p99_ci),
        (timing.p99_9, timing.p99_9_ci),
    ] {
        cells.extend([value, interval.map(|[low, _]| low), interval.map(|[_, high]| high)].map(text));
    }
    cells.push(text(timing.max));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_the_log_is_no_formula_and_no_second_cell() {
        assert_eq!(plain("=1+1"), "'=1+1");
        assert_eq!(plain("newOrder"), "newOrder");
        let mut table = Rows { by: crate::by::By::Endpoint, rows: Vec::new() };
        let mut row = crate::by::Groups::new(table.by)
            .rows(&wec_figures::aggregate::Aggregate::default().snapshot())
            .rows
            .remove(0);
        row.group = "a,\"b\"\nc".to_owned();
        table.rows.push(row);
        let text = csv(&[table]).unwrap();
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.len(), 30);
        assert_eq!(&record[1], "a,\"b\"\\nc");
    }
}
