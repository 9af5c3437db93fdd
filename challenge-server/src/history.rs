//! Received requests in the form of pebble-challtestsrv's `…-request-history`: for the management API only.
//!
//! Unlike [`crate::hits`] it keeps every request, including those that are not validations. It keeps no
//! answers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Requests kept, of all hosts and kinds together; the oldest are dropped.
const REMEMBERED: usize = 1 << 14;

#[derive(Debug, Default)]
pub(crate) struct History {
    events: Mutex<VecDeque<Event>>,
}

#[derive(Debug)]
struct Event {
    host: String,
    request: Request,
}

/// One request; the field names are challtestsrv's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Request {
    #[serde(rename_all = "PascalCase")]
    Http {
        #[serde(rename = "URL")]
        url: String,
        host: String,
        #[serde(rename = "HTTPS")]
        https: bool,
        server_name: String,
        user_agent: String,
    },
    #[serde(rename_all = "PascalCase")]
    Dns { question: Question, user_agent: String },
    #[serde(rename_all = "PascalCase")]
    TlsAlpn { server_name: String, supported_protos: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
}

/// The kinds, with the names in `clear-request-history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Dns,
    TlsAlpn,
}

impl Kind {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Self::Http),
            "dns" => Some(Self::Dns),
            "tlsalpn" => Some(Self::TlsAlpn),
            _ => None,
        }
    }
}

impl Request {
    fn kind(&self) -> Kind {
        match self {
            Self::Http { .. } => Kind::Http,
            Self::Dns { .. } => Kind::Dns,
            Self::TlsAlpn { .. } => Kind::TlsAlpn,
        }
    }
}

impl History {
    /// Keeps a request under `host`: the Host without port, the SNI, or the question's name without final dot.
    pub(crate) fn add(&self, host: String, request: Request) {
        let mut events = self.events();
        if events.len() == REMEMBERED {
            events.pop_front();
        }
        events.push_back(Event { host, request });
    }

    pub(crate) fn of(&self, host: &str, kind: Kind) -> Vec<Request> {
        let events = self.events();
        let wanted = events.iter().filter(|event| event.host == host && event.request.kind() == kind);
        wanted.map(|event| event.request.clone()).collect()
    }

    pub(crate) fn clear(&self, host: &str, kind: Kind) {
        self.events().retain(|event| event.host != host || event.request.kind() != kind);
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
