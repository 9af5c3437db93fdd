//! `Baseline`: what a comparison needs of one run, and its file.
//!
//! The file is JSON with a version. Times are counted in cells whose width is below 0.8 % of their value, so
//! that the file of a usual run is some ten kilobytes. A comparison counts a log's times in the same cells,
//! so a log and its baseline compare equally.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_figures::aggregate::Aggregate;
use wec_figures::distribution::{Cells, Times, may_be_named, nearest_rank};
use wec_record::{Chain, Plan};

/// Version of the file's format. It grows when a reader of the old format would misread the new one.
pub const VERSION: u32 = 1;
/// The value of the file's first key.
const FORMAT: &str = "wec-baseline";
/// Binary digits of a cell.
const DIGITS: u32 = 8;

/// One run, as far as a comparison needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    format: String,
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// Program and version.
    pub program: String,
    /// The CA's directory URL.
    pub target: String,
    /// Start, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// Host name of the requester.
    pub host: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Logical processors.
    pub cpus: u32,
    /// The plan as in the log; none of a log without one.
    #[serde(default, deserialize_with = "wec_record::plan::lenient")]
    pub plan: Option<Box<Plan>>,
    /// Length of the run, or of the part of it, nanoseconds.
    pub elapsed_ns: u64,
    /// Whether the load tester itself was a limit.
    pub generator_limited: bool,
    /// Why the log was not complete; empty if it was. At most three sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_problems: Vec<String>,
    /// Certificates issued.
    pub issued: u64,
    /// Chains and endpoints.
    pub rows: Vec<Row>,
}

/// A chain or an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is.
    #[serde(flatten)]
    pub key: Key,
    /// Its figures.
    #[serde(flatten)]
    pub sample: Sample,
}

/// The identity of a row in both sides of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = ComparedRow)]
pub struct Key {
    /// Whether it is a chain; else an endpoint.
    pub chain: bool,
    /// Name of the chain, or RFC 8555's name of the endpoint.
    pub name: String,
    /// HTTP method of an endpoint.
    pub method: String,
    /// URI template of an endpoint.
    pub uri: String,
}

/// The counts and response times of a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Sample {
    /// Ended, without those cut off and those abandoned.
    pub count: u64,
    /// Failed.
    pub failed: u64,
    /// Sum of the times, nanoseconds.
    pub sum: f64,
    /// Sum of their squares.
    pub sum_of_squares: f64,
    /// The times.
    pub(crate) cells: Cells<DIGITS>,
}

/// A sample in the file: cells as the distance from the cell before, and the count, in turn.
#[derive(Serialize, Deserialize)]
struct Written {
    count: u64,
    failed: u64,
    sum_ns: f64,
    sum_of_squares: f64,
    cells: Vec<u32>,
}

/// Why a file is not a baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It is not the JSON of one.
    #[error("it is not a baseline: {0}")]
    Json(#[from] serde_json::Error),
    /// A later program wrote it.
    #[error("it has version {0} of the format, this program reads up to {VERSION}")]
    Newer(u32),
}

impl Baseline {
    /// Of the run, or the part of it, in this aggregate.
    pub fn of(aggregate: &Aggregate) -> Self {
        let snapshot = aggregate.snapshot();
        let stamp = &snapshot.run.stamp;
        let chains = Chain::ALL.into_iter().map(|chain| {
            let figures = &snapshot.chains[&chain];
            let key = Key { chain: true, name: chain.name().to_owned(), ..Key::default() };
            Row {
                key,
                sample: Sample::of(
                    figures.count - figures.abandoned,
                    figures.failed,
                    aggregate.chain_times(chain),
                ),
            }
        });
        let endpoints = snapshot.endpoints.iter().zip(aggregate.endpoint_times()).map(|(figures, times)| {
            let key = Key {
                chain: false,
                name: figures.endpoint.clone(),
                method: figures.method.clone(),
                uri: figures.uri.clone(),
            };
            Row { key, sample: Sample::of(figures.count - figures.cut_off, figures.failed, times) }
        });
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            run: snapshot.run.id.clone(),
            program: snapshot.run.program.clone(),
            target: snapshot.run.target.clone(),
            started_unix_ns: snapshot.run.started_unix_ns,
            host: stamp.host.clone(),
            platform: stamp.platform.clone(),
            cpus: stamp.cpus,
            plan: stamp.plan.clone(),
            elapsed_ns: snapshot.elapsed_ns,
            generator_limited: snapshot.generator.limited,
            log_problems: Vec::new(),
            issued: snapshot.issued.count,
            rows: chains.chain(endpoints).filter(|row| row.sample.count > 0).collect(),
        }
    }

    /// Adds why the log was not complete.
    #[must_use]
    pub fn with_problems(mut self, problems: &[String]) -> Self {
        self.log_problems = problems.iter().take(3).cloned().collect();
        self
    }

    /// Whether a file that begins with these bytes is meant to be a baseline.
    pub fn is_one(start: &[u8]) -> bool {
        let text = String::from_utf8_lossy(&start[..start.len().min(64)]).into_owned();
        // Editors on Windows may have written a byte order mark.
        let text = text.trim_start_matches('\u{feff}').trim_start();
        text.starts_with('{') && text.contains(FORMAT)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is not a baseline, or of a later version.
    pub fn read(text: &str) -> Result<Self, BaselineError> {
        let baseline: Self = serde_json::from_str(text)?;
        if baseline.version > VERSION {
            return Err(BaselineError::Newer(baseline.version));
        }
        Ok(baseline)
    }

    /// The file's text: a line for each row, so that version control shows which changed.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let head = serde_json::to_string(&Self { rows: Vec::new(), ..self.clone() })?;
        let rows: Vec<_> = self.rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let head = head.strip_suffix("\"rows\":[]}").unwrap_or(&head);
        Ok(format!("{head}\n\"rows\":[\n{}\n]}}\n", rows.join(",\n")))
    }
}

impl Sample {
    fn of(count: u64, failed: u64, times: &Times) -> Self {
        let mut cells = Cells::default();
        for (cell, count) in times.cells() {
            cells.add(cell.middle(), u32::try_from(count).unwrap_or(u32::MAX));
        }
        Self { count, failed, sum: times.sum() as f64, sum_of_squares: times.sum_of_squares() as f64, cells }
    }

    /// Of these response times of successes.
    #[cfg(test)]
    pub(crate) fn of_times(times: impl IntoIterator<Item = u64>) -> Self {
        let mut sample = Self::default();
        for time in times {
            sample.count += 1;
            sample.sum += time as f64;
            sample.sum_of_squares += time as f64 * time as f64;
            sample.cells.add(time, 1);
        }
        sample
    }

    /// Number of times.
    pub fn n(&self) -> u64 {
        self.cells.count()
    }

    /// Adds another sample of the same row.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.failed = self.failed.saturating_add(other.failed);
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        self.cells.merge(&other.cells);
    }

    /// The time of this rank, from 1: within its cell by its place among the times there.
    pub fn at_rank(&self, rank: u64) -> Option<f64> {
        let mut before = 0;
        self.cells.iter().find_map(|(cell, count)| {
            let within = rank.saturating_sub(before);
            before += count;
            (before >= rank).then(|| {
                let share = (within as f64 - 0.5) / count as f64;
                cell.low as f64 + share * (cell.high - cell.low) as f64
            })
        })
    }

    /// A percentile; none with fewer than ten samples beyond it.
    pub fn percentile(&self, per_mille: u64) -> Option<f64> {
        let n = self.n();
        may_be_named(n, per_mille).then(|| self.at_rank(nearest_rank(n, per_mille)))?
    }
}

impl From<Sample> for Written {
    fn from(sample: Sample) -> Self {
        let mut before = 0;
        let cells = sample.cells.numbered().iter().flat_map(|&(place, count)| {
            let distance = u32::from(place - before);
            before = place;
            [distance, count]
        });
        let cells = cells.collect();
        let Sample { count, failed, sum, sum_of_squares, .. } = sample;
        Self { count, failed, sum_ns: sum, sum_of_squares, cells }
    }
}

impl TryFrom<Written> for Sample {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { count, failed, sum_ns, sum_of_squares, cells } = written;
        let mut place = 0_u16;
        let cells = cells.chunks(2).map(|pair| {
            let &[distance, count] = pair else { return None };
            place = place.checked_add(u16::try_from(distance).ok()?)?;
            Some((place, count))
        });
        let cells =
            cells.collect::<Option<Vec<_>>>().and_then(Cells::from_numbered).ok_or("wrong cells of times")?;
        if failed > count || cells.count() > count {
            return Err("more times or failures than were counted");
        }
        Ok(Self { count, failed, sum: sum_ns, sum_of_squares, cells })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sample_is_read_as_it_was_written(times in prop::collection::vec(1u64..3_600_000_000_000, 0..400)) {
            let sample = Sample::of_times(times);
            let text = serde_json::to_string(&sample).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
        }

        #[test]
        fn a_rank_has_its_value_within_a_cell(mut times in prop::collection::vec(1u64..1_000_000_000, 1..200)) {
            let sample = Sample::of_times(times.iter().copied());
            times.sort_unstable();
            for (rank, time) in (1..).zip(&times) {
                let found = sample.at_rank(rank).unwrap();
                prop_assert!((found - *time as f64).abs() <= 1.0 + *time as f64 / 100.0, "{found} for {time}");
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}", cells in prop::collection::vec(any::<u32>(), 0..9)) {
            let _ = Baseline::read(&text);
            let json = serde_json::json!({"count": 9, "failed": 1, "sum_ns": 1.0, "sum_of_squares": 1.0, "cells": cells});
            if let Ok(sample) = serde_json::from_value::<Sample>(json) {
                prop_assert!(sample.n() <= 9);
            }
        }
    }
}
