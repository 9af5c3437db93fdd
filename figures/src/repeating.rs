//! Reports errors that repeat from the start while the run is on, so that a missing contact is not found only
//! at the end.
//!
//! An error repeats when it has occurred five times with equal endpoint, class, status, problem and detail,
//! and its endpoint has never succeeded. Errors without a request of their own, such as a failed validation,
//! are found among the chains. What the CA accepted although it must refuse it is reported the first time.

use wec_record::FailureClass;

use crate::snapshot::{FailureFigures, FailureScope, Snapshot};
use crate::way_out::way_out;

/// Number of occurrences before an error is reported.
pub const REPEATS: u64 = 5;
/// Number of errors reported per run; the table of failures has all.
const MOST: usize = 5;

/// What has been reported for a run.
#[derive(Debug, Default)]
pub struct Reported {
    run: String,
    known: Vec<(FailureScope, String, Option<FailureClass>, u16, String, String)>,
}

impl Reported {
    /// Repeating errors that have not been reported yet, each in a sentence with the remedy.
    pub fn news(&mut self, snapshot: &Snapshot) -> Vec<String> {
        if self.run != snapshot.run.id {
            *self = Self { run: snapshot.run.id.clone(), known: Vec::new() };
        }
        let mut news = Vec::new();
        let is_accepted = |failure: &FailureFigures| failure.class == Some(FailureClass::Accepted);
        for failure in
            snapshot.failures.iter().filter(|failure| failure.count >= REPEATS || is_accepted(failure))
        {
            let key = (
                failure.scope,
                failure.name.clone(),
                failure.class,
                failure.status,
                failure.problem.clone(),
                failure.detail.clone(),
            );
            let is_news = is_accepted(failure) || never_went_well(snapshot, failure);
            if self.known.len() >= MOST || self.known.contains(&key) || !is_news {
                continue;
            }
            self.known.push(key);
            let text = failure.example.replace(char::is_control, " ");
            let way = way_out(failure.class, &failure.problem, &text);
            if is_accepted(failure) {
                news.push(format!("the CA accepted what it must refuse: {text}"));
                continue;
            }
            news.push(format!(
                "{} has failed {} times and never succeeded: {text}{}",
                failure.name,
                failure.count,
                way.map_or_else(String::new, |way| format!("; {way}"))
            ));
        }
        news
    }
}

fn never_went_well(snapshot: &Snapshot, failure: &FailureFigures) -> bool {
    match failure.scope {
        FailureScope::Request => {
            let same = snapshot.endpoints.iter().filter(|endpoint| endpoint.endpoint == failure.name);
            failure.class != Some(FailureClass::BadNonce)
                && same.map(|endpoint| endpoint.count - endpoint.failed - endpoint.cut_off).sum::<u64>() == 0
        }
        // The others are reported as requests.
        FailureScope::Chain => {
            let apart = matches!(
                failure.class,
                Some(
                    FailureClass::Validation
                        | FailureClass::PollTimeout
                        | FailureClass::WrongCertificate
                        | FailureClass::Internal
                        | FailureClass::RefusedOrigin
                )
            );
            let chain = snapshot.chains.iter().find(|(chain, _)| chain.name() == failure.name);
            apart && chain.is_some_and(|(_, figures)| figures.count <= figures.failed + figures.abandoned)
        }
    }
}
