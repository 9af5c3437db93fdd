//! `Sampler`: fetches the metrics of one source.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, Response};
use wec_outbound::{http_client, told};
use wec_record::Observation;

use crate::choice::{Chosen, Pattern};
use crate::exposition;
use crate::options::Source;

/// The longest time for one answer.
const WITHIN: Duration = Duration::from_secs(2);
/// The largest answer.
const MAX_BYTES: usize = 16 << 20;
/// Series that a warning names.
const NAMED: usize = 3;

/// Fetches the metrics of one source. Failures are warnings, once for each time that it fails after a success.
#[derive(Debug)]
pub struct Sampler {
    source: Source,
    chosen: Chosen,
    http: Client,
    failing: bool,
    /// What has been warned of.
    told_left_out: bool,
    told_not_finite: bool,
    told_defects: bool,
    told_nothing: bool,
    samples: u64,
    failed: u64,
}

impl Sampler {
    /// For one source.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(source: Source, patterns: Vec<Pattern>) -> reqwest::Result<Self> {
        Ok(Self {
            source,
            chosen: Chosen::new(patterns),
            http: http_client(WITHIN)?,
            failing: false,
            told_left_out: false,
            told_not_finite: false,
            told_defects: false,
            told_nothing: false,
            samples: 0,
            failed: 0,
        })
    }

    /// The present values; none if it has no answer.
    pub async fn sample(&mut self, now_unix_ns: impl Fn() -> u64) -> Option<Observation> {
        self.samples += 1;
        // The source reads its values at some moment in between.
        let asked = now_unix_ns();
        let text = match self.fetch().await {
            Ok(text) => text,
            Err(why) => {
                self.failed += 1;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("{} is not observed: {why}", self.place());
                }
                return None;
            }
        };
        if std::mem::take(&mut self.failing) {
            tracing::info!("{} is observed again", self.place());
        }
        let answered = now_unix_ns();
        self.read(&text, asked + answered.saturating_sub(asked) / 2)
    }

    /// The values in an answer.
    fn read(&mut self, text: &str, at_unix_ns: u64) -> Option<Observation> {
        let mut samples = Vec::new();
        let defects = exposition::parse(text, |sample| samples.push(sample));
        if let Some((line, why)) = defects.first.filter(|_| !std::mem::replace(&mut self.told_defects, true))
        {
            let lines = defects.lines;
            tracing::warn!("{}: {lines} lines are skipped, the first is line {line}: {why}", self.place());
        }
        let values = self.chosen.take(samples);
        if !values.left_out.is_empty() && !std::mem::replace(&mut self.told_left_out, true) {
            let named = values.left_out.iter().take(NAMED).map(|series| wec_text::line(series));
            tracing::warn!(
                "{}: {} series are left out, beyond {} or longer than {} bytes, such as {}: choose with --observe-series",
                self.place(),
                values.left_out.len(),
                crate::MAX_SERIES,
                crate::choice::LONGEST_SERIES,
                named.collect::<Vec<_>>().join(", ")
            );
        }
        if !values.not_finite.is_empty() && !std::mem::replace(&mut self.told_not_finite, true) {
            let named = values.not_finite.iter().take(NAMED).map(|series| wec_text::line(series));
            tracing::warn!(
                "{}: {} series to observe have NaN or an infinite value, such as {}: such samples are left out",
                self.place(),
                values.not_finite.len(),
                named.collect::<Vec<_>>().join(", ")
            );
        }
        if values.gauges.is_empty() && values.counters.is_empty() {
            if !std::mem::replace(&mut self.told_nothing, true) {
                tracing::warn!(
                    "{} has none of the series to observe: choose with --observe-series",
                    self.place()
                );
            }
            return None;
        }
        Some(Observation {
            at_unix_ns,
            source: self.source.name.clone(),
            gauges: values.gauges,
            counters: values.counters,
            left_out: (values.left_out.len() + values.not_finite.len()) as u64,
        })
    }

    /// Warns of the samples that are missing.
    pub fn conclude(&self) {
        if self.failed > 0 {
            tracing::warn!("{}: {} of {} samples are missing", self.place(), self.failed, self.samples);
        }
    }

    fn place(&self) -> String {
        format!("{} at {}", self.source.name, self.source.endpoint)
    }

    async fn fetch(&self) -> Result<String, String> {
        let request = self.http.get(self.source.endpoint.url().clone());
        let request = request
            .header(ACCEPT, "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5");
        let answer = request.send().await.map_err(told)?;
        match answer.status() {
            status if status.is_success() => body(answer).await,
            status => Err(status.to_string()),
        }
    }
}

async fn body(mut answer: Response) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(format!("its answer is larger than {} MiB", MAX_BYTES >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
