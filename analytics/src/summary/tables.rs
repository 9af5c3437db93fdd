//! The tables by chain and by endpoint.

use std::collections::BTreeMap;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table, TableComponent};
use strum::{EnumCount, IntoStaticStr, VariantArray};
use wec_figures::snapshot::{ChainFigures, EndpointFigures, Snapshot, Timing};
use wec_figures::wording::{duration, interval, rate};
use wec_record::Chain;
use wec_startup::TextStyle;

/// A figure of every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
pub(super) enum Column {
    #[strum(serialize = "count")]
    Count,
    #[strum(serialize = "failed")]
    Failed,
    #[strum(serialize = "cut off")]
    CutOff,
    #[strum(serialize = "unknown")]
    Unknown,
    #[strum(serialize = "abandoned")]
    Abandoned,
    #[strum(serialize = "per s")]
    PerSecond,
    #[strum(serialize = "N")]
    N,
    #[strum(serialize = "mean")]
    Mean,
    #[strum(serialize = "std error")]
    StdError,
    #[strum(serialize = "p50")]
    P50,
    #[strum(serialize = "p90")]
    P90,
    #[strum(serialize = "p95")]
    P95,
    #[strum(serialize = "p99")]
    P99,
    #[strum(serialize = "p99.9")]
    P99_9,
    #[strum(serialize = "max")]
    Max,
}

wec_record::closed_set!(Column);

impl Column {
    /// In the order in which they are left out if the terminal is narrow. Names, failures, N, median and p99
    /// stay.
    pub(super) const LEFT_OUT: [Self; 8] = [
        Self::StdError,
        Self::Count,
        Self::P90,
        Self::Mean,
        Self::P99_9,
        Self::PerSecond,
        Self::P95,
        Self::Max,
    ];

    /// The columns for these rows: all, except those of rare events without any.
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a Row<'a>> + Clone) -> Vec<Self> {
        let any = |count: fn(&Row<'_>) -> u64| rows.clone().any(|row| count(row) > 0);
        let rare = [
            (Self::CutOff, any(|row| row.cut_off)),
            (Self::Unknown, any(|row| row.unknown)),
            (Self::Abandoned, any(|row| row.abandoned)),
        ];
        let shown = |column: &Self| rare.iter().all(|(other, any)| other != column || *any);
        Self::ALL.into_iter().filter(shown).collect()
    }
}

/// The figures of one row.
pub(super) struct Row<'a> {
    name: String,
    count: u64,
    failed: u64,
    cut_off: u64,
    unknown: u64,
    abandoned: u64,
    rps: f64,
    timing: &'a Timing,
}

impl Row<'_> {
    fn cell(&self, column: Column) -> String {
        let timing = self.timing;
        let (time, between) = match column {
            Column::Count => return self.count.to_string(),
            Column::Failed => return self.failed.to_string(),
            Column::CutOff => return self.cut_off.to_string(),
            Column::Unknown => return self.unknown.to_string(),
            Column::Abandoned => return self.abandoned.to_string(),
            Column::PerSecond => return rate(self.rps),
            Column::N => return timing.n.to_string(),
            Column::Mean => (timing.mean, None),
            Column::StdError => (timing.std_error, None),
            Column::P50 => (timing.p50, timing.p50_ci),
            Column::P90 => (timing.p90, timing.p90_ci),
            Column::P95 => (timing.p95, timing.p95_ci),
            Column::P99 => (timing.p99, timing.p99_ci),
            Column::P99_9 => (timing.p99_9, timing.p99_9_ci),
            Column::Max => (timing.max, None),
        };
        match (time, between) {
            (None, _) => "–".to_owned(),
            (Some(time), None) => duration(time),
            (Some(time), Some(between)) => format!("{}\n{}", duration(time), interval(time, between)),
        }
    }
}

/// The rows of one table, and the header of its first column.
pub(super) struct Rows<'a> {
    pub(super) name: &'static str,
    pub(super) rows: Vec<Row<'a>>,
}

pub(super) fn chain_row<'a>((chain, figures): (&Chain, &'a ChainFigures)) -> Row<'a> {
    Row {
        name: chain.name().to_owned(),
        count: figures.count,
        failed: figures.failed,
        cut_off: figures.cut_off,
        unknown: 0,
        abandoned: figures.abandoned,
        rps: figures.rps,
        timing: &figures.response_time_ns,
    }
}

/// Endpoints with the same name are numbered, and the returned text lists their URI templates: in the table
/// these would make lines too long for terminals.
///
/// The last row is of all requests, if there are several endpoints.
pub(super) fn endpoint_rows(snapshot: &Snapshot) -> (Rows<'_>, String) {
    let endpoints = &snapshot.endpoints;
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut apart = String::new();
    let rows = endpoints.iter().map(|figures| {
        let name = figures.endpoint.as_str();
        let mut row = Row {
            name: name.to_owned(),
            count: figures.count,
            failed: figures.failed,
            cut_off: figures.cut_off,
            unknown: figures.outcome_unknown,
            abandoned: 0,
            rps: figures.rps,
            timing: &figures.response_time_ns,
        };
        if endpoints.iter().filter(|other| other.endpoint == name).count() > 1 {
            let number = seen.entry(name).and_modify(|number| *number += 1).or_insert(1);
            row.name = format!("{name} {number}");
            apart.push_str(&format!("{}: {} {}\n", row.name, figures.method, figures.uri));
        }
        row
    });
    let mut rows: Vec<_> = rows.collect();
    if rows.len() > 1 {
        let sum = |of: fn(&EndpointFigures) -> u64| endpoints.iter().map(of).sum();
        rows.push(Row {
            name: "all requests".to_owned(),
            count: snapshot.requests,
            failed: snapshot.requests_failed,
            cut_off: sum(|endpoint| endpoint.cut_off),
            unknown: sum(|endpoint| endpoint.outcome_unknown),
            abandoned: 0,
            rps: snapshot.rps,
            timing: &snapshot.response_time_ns,
        });
    }
    let rows = Rows { name: "endpoint", rows };
    (rows, apart)
}

impl Rows<'_> {
    pub(super) fn table(&self, columns: &[Column]) -> Lines {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─');
        table.set_header(std::iter::once(self.name).chain(columns.iter().map(|column| column.name())));
        let mut faint = vec![false; 2];
        for row in &self.rows {
            let cells: Vec<String> = columns.iter().map(|column| row.cell(*column)).collect();
            faint.push(false);
            faint.extend(cells.iter().any(|cell| cell.contains('\n')).then_some(true));
            table.add_row(
                std::iter::once(wec_text::visible(&row.name).into_owned()).chain(cells).map(Cell::new),
            );
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 1));
            if index > 0 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Lines { lines: table.lines().map(|line| line.trim_end().to_owned()).collect(), faint }
    }
}

/// A table as lines.
pub(super) struct Lines {
    lines: Vec<String>,
    /// Which lines are less important and shown faint.
    faint: Vec<bool>,
}

impl Lines {
    pub(super) fn width(&self) -> usize {
        self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0)
    }

    pub(super) fn push(&self, text: &mut String, style: TextStyle) {
        for (line, faint) in self.lines.iter().zip(self.faint.iter().chain(std::iter::repeat(&false))) {
            text.push_str(&if *faint { style.dim(line) } else { line.clone() });
            text.push('\n');
        }
        text.push('\n');
    }
}
