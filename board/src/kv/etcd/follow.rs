//! `Follower`: the task that passes etcd's content to a watcher.
//!
//! It reads everything once and watches from the next revision. When the watch ends, it continues from the
//! revision that it had reached, so that no change is missed. It reads everything again only when etcd has
//! compacted that revision, or is another cluster than before.

use std::sync::Arc;
use std::time::Duration;

use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;

use super::Root;
use super::api::etcdserverpb::watch_client::WatchClient;
use super::api::etcdserverpb::watch_request::RequestUnion;
use super::api::etcdserverpb::{
    RangeResponse, ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse,
};
use super::api::mvccpb;
use super::api::mvccpb::event::EventType;
use super::link::{Link, chain, end_of};
use crate::kv::{KeyEvent, Watcher};
use crate::{BoardError, Connection};

/// First and longest wait before connecting again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

pub(super) struct Follower {
    link: Arc<Link>,
    root: Root,
    /// As in etcd.
    prefix: Vec<u8>,
    watcher: Arc<dyn Watcher>,
    /// The cluster of the watcher's data.
    cluster: u64,
    /// The last revision that the watcher has received.
    seen: i64,
}

/// Why a watch ended.
enum Ended {
    /// etcd has compacted the next revision.
    Compacted,
    /// Anything else, for people.
    Lost(String),
}

impl Follower {
    /// Reads the board for the first time.
    pub(super) async fn start(
        link: Arc<Link>,
        root: Root,
        prefix: &str,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Self, BoardError> {
        let prefix = root.key(prefix);
        let mut follower = Self { link, root, prefix, watcher, cluster: 0, seen: 0 };
        let board = follower.read().await?;
        follower.show_all(board, None);
        Ok(follower)
    }

    async fn read(&self) -> Result<RangeResponse, BoardError> {
        self.link.range(&self.prefix, end_of(&self.prefix), "reading the board").await
    }

    /// Follows until stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut wait = BACKOFF.0;
            loop {
                match self.watch(&mut wait).await {
                    Ended::Compacted => {
                        tracing::warn!(revision = self.seen, "etcd has compacted changes that were not read yet: the board is read again");
                        if let Ok(board) = self.read().await {
                            self.show_all(board, Some(self.seen.unsigned_abs()));
                        }
                    }
                    Ended::Lost(reason) => {
                        tracing::warn!(%reason, "the board cannot be reached: continuing with the last known state");
                        self.watcher.set_connection(Connection::Lost { reason });
                    }
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
                self.look().await;
            }
        })
        .await;
    }

    /// Checks before continuing that it is the same cluster, and not one restored from an older state.
    async fn look(&mut self) {
        let Ok(board) = self.read().await else { return };
        if let Some(header) = board.header
            && (header.cluster_id != self.cluster || header.revision < self.seen)
        {
            tracing::warn!("etcd has lost or changed its state: the board is read again");
            self.show_all(board, None);
        }
    }

    /// Follows one watch to its end; resets `wait` once the watch exists.
    async fn watch(&mut self, wait: &mut Duration) -> Ended {
        let create = WatchCreateRequest {
            key: self.prefix.clone(),
            range_end: end_of(&self.prefix),
            start_revision: self.seen + 1,
        };
        let opened = self.link.call("watching the board", |lane| {
            let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create.clone())) };
            // etcd ends the watch when our side of the stream ends.
            let mut request = tonic::Request::new(tokio_stream::once(create).chain(tokio_stream::pending()));
            // Without it, a member that is cut off from the others would report no changes and no error.
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            async move { WatchClient::new(lane).watch(request).await }
        });
        let mut responses = match opened.await {
            Ok(responses) => responses,
            Err(error) => return Ended::Lost(error.to_string()),
        };
        loop {
            match responses.message().await {
                Ok(Some(WatchResponse { compact_revision: 1.., .. })) => return Ended::Compacted,
                Ok(Some(response)) if response.canceled => return Ended::Lost(response.cancel_reason),
                Ok(Some(response)) => {
                    let other = |header: &ResponseHeader| {
                        header.cluster_id != self.cluster || header.revision < self.seen
                    };
                    // It may have been exchanged since it was looked at.
                    if response.created && response.header.as_ref().is_some_and(other) {
                        return Ended::Lost("etcd has lost or changed its state".to_owned());
                    }
                    if response.created {
                        *wait = BACKOFF.0;
                        self.watcher.set_connection(Connection::Connected);
                    }
                    let events: Vec<_> =
                        response.events.into_iter().filter_map(|event| self.event(event)).collect();
                    self.watcher.show(&events);
                }
                Ok(None) => return Ended::Lost("etcd ended the watch".to_owned()),
                Err(status) => return Ended::Lost(chain(&status)),
            }
        }
    }

    /// Also records the revision that the watcher has received.
    fn event(&mut self, event: mvccpb::Event) -> Option<KeyEvent> {
        let gone = event.r#type() == EventType::Delete;
        let pair = event.kv?;
        self.seen = self.seen.max(pair.mod_revision);
        if gone {
            return Some(KeyEvent::Deleted {
                key: self.root.own(&pair.key)?,
                version: pair.mod_revision.unsigned_abs(),
            });
        }
        self.root.pair(pair).map(KeyEvent::Put)
    }

    fn show_all(&mut self, board: RangeResponse, missed: Option<u64>) {
        let pairs: Vec<_> = board.kvs.into_iter().filter_map(|pair| self.root.pair(pair)).collect();
        self.watcher.show_all(&pairs, missed);
        if let Some(header) = board.header {
            self.cluster = header.cluster_id;
            self.seen = header.revision;
        }
    }
}
