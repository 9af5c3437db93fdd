//! Many requests at once: whether every one is answered, by all nodes, and how fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use wec_pki::Tls;

use crate::client::{Client, ClientError};
use crate::wire::{Reply, Scope};

/// A request without a reply for this long is missing one.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// What to send.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The node that is asked, HOST:PORT.
    pub address: String,
    /// Connections; each has one request at a time.
    pub concurrent: usize,
    /// Most requests of all connections together.
    pub number: u64,
    /// No more requests are sent after this time.
    pub within: Option<Duration>,
    /// Number of nodes that each reply must have; none to accept any.
    pub nodes: Option<usize>,
    /// TLS with the node.
    pub tls: Option<Tls>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Requests sent.
    pub requests: u64,
    /// Replies received.
    pub responses: u64,
    /// Requests without a reply: the connection ended, or ten seconds passed.
    pub missing: u64,
    /// Replies with an error, their own or a node's.
    pub failed: u64,
    /// Replies with another number of nodes than expected, with figures that cannot be, or that are no replies.
    pub invalid: u64,
    /// From the first request to the last reply.
    pub took: Duration,
    /// The reason of one request that was missing, failed or invalid.
    pub reason: Option<String>,
    /// Times from request to reply, ascending.
    times: Vec<Duration>,
}

impl Checked {
    /// Whether every request was answered well.
    pub fn is_good(&self) -> bool {
        self.requests > 0 && self.missing + self.failed + self.invalid == 0
    }

    /// Replies in a second.
    pub fn per_second(&self) -> f64 {
        self.responses as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The time within which this share of the replies came; none without replies.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.times.len() as f64 * share).ceil() as usize;
        self.times.get(rank.clamp(1, self.times.len().max(1)) - 1).copied()
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.responses += other.responses;
        self.missing += other.missing;
        self.failed += other.failed;
        self.invalid += other.invalid;
        self.reason = self.reason.take().or(other.reason);
        self.times.extend(other.times);
    }

    fn count(&mut self, answer: Result<Reply, ClientError>, took: Duration, nodes: Option<usize>) {
        self.requests += 1;
        let problem = match &answer {
            Ok(reply) => problem(reply, nodes),
            Err(ClientError::NoReply { .. }) => Some(Problem::Invalid),
            Err(_) => {
                self.missing += 1;
                None
            }
        };
        if let Ok(_) | Err(ClientError::NoReply { .. }) = &answer {
            self.responses += 1;
            self.times.push(took);
        }
        match problem {
            Some(Problem::Failed) => self.failed += 1,
            Some(Problem::Invalid) => self.invalid += 1,
            None => {}
        }
        let reason = match (&answer, problem) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(reply), Some(Problem::Failed)) => errors(reply).next().map(str::to_owned),
            (Ok(reply), Some(Problem::Invalid)) => Some(format!("a reply has {} nodes", reply.nodes.len())),
            (Ok(_), None) => None,
        };
        self.reason = self.reason.take().or(reason);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Problem {
    Failed,
    Invalid,
}

fn errors(reply: &Reply) -> impl Iterator<Item = &str> {
    let all = std::iter::once(&reply.error).chain(reply.nodes.values().map(|node| &node.error));
    all.map(String::as_str).filter(|error| !error.is_empty())
}

/// What is wrong with a reply.
fn problem(reply: &Reply, nodes: Option<usize>) -> Option<Problem> {
    if errors(reply).next().is_some() {
        return Some(Problem::Failed);
    }
    let is_share = |percent: f64| (0.0..=100.0).contains(&percent);
    let plausible = reply.nodes.iter().all(|(address, node)| {
        *address == node.address
            && [node.cpu_used, node.disk_used_percent, node.memory_used_percent].into_iter().all(is_share)
            && node.disk_used <= node.disk_total
            && node.memory_used <= node.memory_total
    });
    let complete = nodes.is_none_or(|nodes| nodes == reply.nodes.len());
    (!plausible || !complete).then_some(Problem::Invalid)
}

/// Sends the requests and counts.
///
/// # Errors
/// When the first connection fails.
pub async fn check(options: LoadOptions) -> Result<Checked, ClientError> {
    // Reports a wrong address before anything is counted.
    drop(Client::connect(&options.address, options.tls.as_ref()).await?);
    let options = Arc::new(options);
    let sent = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..options.concurrent {
        clients.spawn(client(Arc::clone(&options), Arc::clone(&sent), began));
    }
    let mut all = Checked::default();
    while let Some(ended) = clients.join_next().await {
        // The panic hook has reported a panic.
        all.add(ended.unwrap_or_default());
    }
    all.took = began.elapsed();
    all.times.sort_unstable();
    Ok(all)
}

async fn client(options: Arc<LoadOptions>, sent: Arc<AtomicU64>, began: Instant) -> Checked {
    let mut counted = Checked::default();
    let mut connection = None;
    let goes_on = || options.within.is_none_or(|within| began.elapsed() < within);
    while goes_on() && sent.fetch_add(1, Ordering::Relaxed) < options.number {
        let start = Instant::now();
        let asking = async {
            let mut client = match connection.take() {
                Some(client) => client,
                None => Client::connect(&options.address, options.tls.as_ref()).await?,
            };
            let reply = client.ask(Scope::AllNodes).await?;
            connection = Some(client);
            Ok(reply)
        };
        let answer = timeout(REPLY_WITHIN, asking).await.unwrap_or_else(|_| {
            let reason = format!("no reply within {} s", REPLY_WITHIN.as_secs());
            Err(ClientError::Ended { address: options.address.clone(), reason })
        });
        counted.count(answer, start.elapsed(), options.nodes);
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::NodeStats;

    fn reply(nodes: Vec<NodeStats>) -> Reply {
        let nodes = nodes.into_iter().map(|node| (node.address.clone(), node)).collect();
        Reply { host: "a".to_owned(), nodes, error: String::new() }
    }

    #[test]
    fn a_reply_is_judged_by_errors_number_and_figures() {
        let node = |address: &str| NodeStats { address: address.to_owned(), ..NodeStats::default() };
        let both = reply(vec![node("a"), node("b")]);
        assert_eq!(problem(&both, Some(2)), None);
        assert_eq!(problem(&both, None), None);
        assert_eq!(problem(&both, Some(3)), Some(Problem::Invalid));
        let down = reply(vec![node("a"), NodeStats::down("b", "refused")]);
        assert_eq!(problem(&down, Some(2)), Some(Problem::Failed));
        assert_eq!(problem(&Reply::refusal("a", "unknown type 7".to_owned()), None), Some(Problem::Failed));
        let wrong = reply(vec![NodeStats { memory_used_percent: 101.0, ..node("a") }]);
        assert_eq!(problem(&wrong, None), Some(Problem::Invalid));
        let wrong = reply(vec![NodeStats { disk_used: 1, ..node("a") }]);
        assert_eq!(problem(&wrong, None), Some(Problem::Invalid));
    }

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let times = (1..=100).map(Duration::from_millis).collect();
        let checked = Checked { times, ..Checked::default() };
        for (share, ms) in [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)] {
            assert_eq!(checked.quantile(share), Some(Duration::from_millis(ms)), "{share}");
        }
        assert_eq!(Checked::default().quantile(0.5), None);
    }
}
