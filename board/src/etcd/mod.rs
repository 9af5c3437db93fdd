//! The board in etcd: leases for life, a watch for change, compare-and-swap for writes.
//!
//! | key | value | written by |
//! | --- | --- | --- |
//! | `{prefix}/v1/nodes/{id}` | [`NodeInfo`] as JSON, bound to the node's lease | that node |
//! | `{prefix}/v1/sessions/{id}` | [`Session`] as JSON | anybody, by compare-and-swap |
//! | `{prefix}/v1/pools/{session}/{scenario}` | [`Pool`] as JSON | requesters, by compare-and-swap |

mod follow;
mod link;
mod presence;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::pool::Pool;
use crate::view::View;
use crate::{BoardError, Change, EtcdOptions, Made, NodeInfo, Session, Versioned};

use link::Link;
use presence::Presence;

/// etcd's v3 API, as much as the board speaks.
mod api {
    pub(crate) mod mvccpb {
        #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
        tonic::include_proto!("mvccpb");
    }
    pub(crate) mod etcdserverpb {
        #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
        tonic::include_proto!("etcdserverpb");
    }
}

/// Times that a change is tried against others who change the same session.
const ATTEMPTS: u32 = 20;

#[derive(Debug)]
pub(crate) struct Etcd {
    link: Arc<Link>,
    keys: Keys,
    view: Arc<View>,
    lease_seconds: i64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Where things are.
#[derive(Clone, Debug)]
struct Keys {
    nodes: String,
    sessions: String,
    pools: String,
    all: String,
}

impl Keys {
    fn under(prefix: &str) -> Self {
        let all = format!("{}/v1/", prefix.trim_end_matches('/'));
        Self {
            nodes: format!("{all}nodes/"),
            sessions: format!("{all}sessions/"),
            pools: format!("{all}pools/"),
            all,
        }
    }

    fn node(&self, id: &str) -> String {
        format!("{}{id}", self.nodes)
    }

    fn pool(&self, session: &str, scenario: &str) -> String {
        format!("{}{session}/{scenario}", self.pools)
    }

    fn session(&self, id: &str) -> String {
        format!("{}{id}", self.sessions)
    }
}

impl Etcd {
    pub(crate) async fn connect(options: EtcdOptions, view: Arc<View>) -> Result<Self, BoardError> {
        let link = Arc::new(Link::new(&options.endpoints)?);
        let keys = Keys::under(&options.prefix);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let follower = follow::Follower::start(link.clone(), keys.clone(), view.clone()).await?;
        tasks.spawn(follower.run(stop.clone()));
        let lease_seconds = i64::try_from(options.lease.as_secs()).unwrap_or(i64::MAX).max(1);
        Ok(Self { link, keys, view, lease_seconds, tasks, stop })
    }

    pub(crate) async fn join(
        &self,
        node: NodeInfo,
        leave: CancellationToken,
    ) -> Result<(JoinHandle<()>, watch::Sender<Vec<u8>>), BoardError> {
        let (tell, value) = watch::channel(json(&node));
        let presence = Presence::establish(
            self.link.clone(),
            self.keys.node(&node.id),
            node.id.clone(),
            value,
            self.lease_seconds,
        )
        .await?;
        // Who wrote reads what it wrote.
        self.view.put_node(node);
        Ok((self.tasks.spawn(presence.hold(leave)), tell))
    }

    pub(crate) async fn put_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        let key = self.keys.session(&session.id);
        let version = self.link.put(&key, json(&session), "putting a session on the board").await?;
        Ok(self.show(session, version))
    }

    pub(crate) async fn open_session(&self, session: Session) -> Result<Versioned<Session>, BoardError> {
        let key = self.keys.session(&session.id);
        for _ in 0..ATTEMPTS {
            if let Some(there) = self.read(&session.id).await? {
                return Ok(there);
            }
            let doing = "opening a session on the board";
            if let Some(version) = self.link.put_if(&key, 0, json(&session), 0, doing).await? {
                return Ok(self.show(session, version));
            }
        }
        Err(BoardError::Contended(session.id))
    }

    /// Writes what `next` makes of the session that is there and of the nodes, as they are at one moment; nothing when
    /// that is none.
    pub(crate) async fn revise(
        &self,
        id: &str,
        next: impl Fn(Option<&Session>, &[NodeInfo]) -> Result<Option<Session>, BoardError>,
    ) -> Result<Versioned<Session>, BoardError> {
        let (key, doing) = (self.keys.session(id), "taking part in a session");
        for _ in 0..ATTEMPTS {
            let board = self.link.list(&self.keys.all, doing).await?;
            let nodes = board.kvs.iter().filter(|pair| pair.key.starts_with(self.keys.nodes.as_bytes()));
            let nodes: Vec<_> = nodes.filter_map(parse::<NodeInfo>).map(|node| node.value).collect();
            let pair = board.kvs.iter().find(|pair| pair.key == key.as_bytes());
            // What another program has put there is written over, not taken for nothing.
            let revision = pair.map_or(0, |pair| pair.mod_revision);
            let now = pair.and_then(parse::<Session>);
            let Some(next) = next(now.as_ref().map(|now| &now.value), &nodes)? else {
                return now.ok_or_else(|| BoardError::NoSession(id.to_owned()));
            };
            if let Some(version) = self.link.put_if(&key, revision, json(&next), 0, doing).await? {
                return Ok(self.show(next, version));
            }
        }
        Err(BoardError::Contended(id.to_owned()))
    }

    pub(crate) async fn pool(
        &self,
        session: &str,
        scenario: &str,
        next: impl Fn(Option<&Pool>) -> Pool,
    ) -> Result<Pool, BoardError> {
        let (key, doing) = (self.keys.pool(session, scenario), "sharing iterations");
        for _ in 0..ATTEMPTS {
            let range = self.link.get(&key, doing).await?;
            let revision = range.kvs.first().map_or(0, |pair| pair.mod_revision);
            let now = range.kvs.first().and_then(parse::<Pool>).map(|now| now.value);
            let next = next(now.as_ref());
            if now.as_ref() == Some(&next)
                || self.link.put_if(&key, revision, json(&next), 0, doing).await?.is_some()
            {
                return Ok(next);
            }
        }
        Err(BoardError::Contended(session.to_owned()))
    }

    pub(crate) async fn change<E: From<BoardError>>(
        &self,
        id: &str,
        changes: &[Change],
        allowed: impl Fn(&Session) -> Result<(), E>,
        at_unix_ns: u64,
    ) -> Result<Made, E> {
        let key = self.keys.session(id);
        for _ in 0..ATTEMPTS {
            let now = self.read(id).await?.ok_or_else(|| BoardError::NoSession(id.to_owned()))?;
            allowed(&now.value)?;
            // Also when an attempt of ours was carried out although its answer was lost.
            let Some(next) = now.value.after_all(changes, at_unix_ns)? else {
                return Ok(Made { session: now, changes: Vec::new() });
            };
            let revision = i64::try_from(now.version).unwrap_or(i64::MAX);
            if let Some(version) =
                self.link.put_if(&key, revision, json(&next), 0, "changing a session").await?
            {
                let changes = next.last_changes.clone();
                return Ok(Made { session: self.show(next, version), changes });
            }
        }
        Err(BoardError::Contended(id.to_owned()).into())
    }

    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The session as etcd has it now, not as this process last saw it.
    async fn read(&self, id: &str) -> Result<Option<Versioned<Session>>, BoardError> {
        let range = self.link.get(&self.keys.session(id), "reading a session").await?;
        Ok(range.kvs.first().and_then(parse::<Session>))
    }

    /// Shows a write of our own at once: who wrote reads what it wrote. Reports come from the watch, in order.
    fn show(&self, session: Session, version: i64) -> Versioned<Session> {
        let session = Versioned { version: version.unsigned_abs(), value: session };
        self.view.put_session(session.clone());
        session
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .expect("the board's types have string keys only, the one thing that JSON refuses")
}

/// A value as of its write; none, with a warning, for what another program or version has put there.
fn parse<T: serde::de::DeserializeOwned>(pair: &api::mvccpb::KeyValue) -> Option<Versioned<T>> {
    match serde_json::from_slice(&pair.value) {
        Ok(value) => Some(Versioned { version: pair.mod_revision.unsigned_abs(), value }),
        Err(error) => {
            tracing::warn!(key = %String::from_utf8_lossy(&pair.key), %error, "not understood on the board: ignored");
            None
        }
    }
}
