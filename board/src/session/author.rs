//! Who changes a session, and in which way.

use serde::{Deserialize, Serialize};
use wec_record::MarkBy;

/// The author of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The web page.
    Page,
    /// A command line.
    Cli,
    /// The scenario's own stages.
    Schedule,
    /// A program using the web API.
    Api,
    /// A threshold with `abort`.
    Threshold,
    /// A capacity search.
    Capacity,
    /// A signal to the load tester, such as Ctrl-C.
    Signal,
}

impl By {
    /// The name as on the board and in marks.
    pub fn name(self) -> String {
        MarkBy::from(self).to_string()
    }
}

impl From<By> for MarkBy {
    fn from(by: By) -> Self {
        match by {
            By::Page => Self::Page,
            By::Cli => Self::Cli,
            By::Schedule => Self::Schedule,
            By::Api => Self::Api,
            By::Threshold => Self::Threshold,
            By::Capacity => Self::Capacity,
            By::Signal => Self::Signal,
        }
    }
}

/// Who makes a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The way.
    pub by: By,
    /// The name of the token; empty without one.
    pub who: String,
}

impl From<By> for Author {
    fn from(by: By) -> Self {
        Self { by, who: String::new() }
    }
}
