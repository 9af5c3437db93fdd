//! Renewal information (RFC 9773).

use std::time::Duration;

use serde::Deserialize;

/// When the CA would like a certificate to be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalInfo {
    /// The window in which to pick a random time.
    pub suggested_window: Window,
    /// A page that explains an unusual window.
    #[serde(rename = "explanationURL", default)]
    pub explanation_url: Option<String>,
    /// When to ask again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// A window of time, RFC 3339 as the CA wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// Its beginning.
    pub start: String,
    /// Its end.
    pub end: String,
}

impl Window {
    /// Beginning and end in seconds since the Unix epoch. None if they cannot be read or are in the wrong order; RFC
    /// 9773 §4.2 then allows the client to ignore the window.
    pub fn unix(&self) -> Option<(i64, i64)> {
        let (start, end) = (crate::time::rfc3339(&self.start)?, crate::time::rfc3339(&self.end)?);
        (start <= end).then_some((start, end))
    }
}
