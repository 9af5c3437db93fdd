//! What a listener allows.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// What a listener allows. Every bound holds for one listener.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The listener's name in messages and counters, such as `the page`.
    pub what: &'static str,
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address that is not loopback; none means no bound.
    pub per_source: Option<usize>,
    /// What happens to a new connection when all places are taken.
    pub when_full: WhenFull,
    /// From the accepted connection to the head of its first request, handshakes and prefaces included.
    pub first_request: Duration,
    /// How long a connection may wait between two requests, and how long each later head may take.
    pub idle: Duration,
    /// How long the body of a request may take; none means no bound, for requests that are streams.
    pub body: Option<Duration>,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of bodies that a peer may send ahead on one HTTP/2 stream. A connection has four times as much.
    pub window: u32,
    /// Time in which connections may finish after the stop.
    pub grace: Duration,
}

/// What happens to a new connection when all places are taken. Both replace the connection that has waited longest
/// for a request; they differ if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// If all are busy, or have waited for at most half a second, it waits, and further ones wait in the kernel's
    /// queue.
    Wait,
    /// If all are busy it is closed.
    Refuse,
}

impl Rules {
    /// For listeners that show or control a run: few clients, and none of them may exclude the others.
    pub fn control(what: &'static str) -> Self {
        let connections = within_descriptors(256, 16);
        Self {
            what,
            connections,
            per_source: Some((connections / 2).max(1)),
            when_full: WhenFull::Refuse,
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Some(Duration::from_secs(20)),
            head_bytes: 16 << 10,
            streams: 32,
            window: 64 << 10,
            grace: Duration::from_millis(500),
        }
    }
}

/// `wanted`, but at most one of `parts` of the file descriptors that this process may open: a flood at one listener
/// must leave descriptors for the rest of the process.
pub fn within_descriptors(wanted: usize, parts: u64) -> usize {
    match getrlimit(Resource::Nofile).current {
        Some(limit) => wanted.min(usize::try_from(limit / parts).unwrap_or(usize::MAX).max(4)),
        None => wanted,
    }
}
