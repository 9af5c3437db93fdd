//! `Follower`: the task that keeps the view as etcd has it.
//!
//! It reads everything once and watches from the revision after. When the watch ends it goes on from the revision
//! it had reached, so that no change is missed; only when etcd has compacted that revision away, or is another
//! cluster than before, does it read everything again.

use std::sync::Arc;
use std::time::Duration;

use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;

use super::api::etcdserverpb::watch_client::WatchClient;
use super::api::etcdserverpb::watch_request::RequestUnion;
use super::api::etcdserverpb::{RangeResponse, WatchCreateRequest, WatchRequest, WatchResponse};
use super::api::mvccpb::event::EventType;
use super::api::mvccpb::{Event, KeyValue};
use super::link::{Link, chain, end_of};
use super::{Keys, parse};
use crate::view::View;
use crate::{BoardError, Connection, NodeInfo, Session, Versioned};

/// First and longest wait before connecting again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(super) struct Follower {
    link: Arc<Link>,
    keys: Keys,
    view: Arc<View>,
    /// The cluster that the view is of.
    cluster: u64,
    /// The last revision that the view has.
    seen: i64,
}

/// Why a watch ended.
enum Ended {
    /// etcd no longer has the revision we would have gone on from.
    Compacted,
    /// Anything else, for people.
    Lost(String),
}

impl Follower {
    /// Reads the board for the first time.
    pub(super) async fn start(link: Arc<Link>, keys: Keys, view: Arc<View>) -> Result<Self, BoardError> {
        let board = link.list(&keys.all, "reading the board").await?;
        let mut follower = Self { link, keys, view, cluster: 0, seen: 0 };
        follower.show_all(&board, None);
        Ok(follower)
    }

    /// Follows until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut wait = BACKOFF.0;
            loop {
                match self.watch(&mut wait).await {
                    Ended::Compacted => {
                        tracing::warn!(revision = self.seen, "etcd has compacted what the board had not yet shown");
                        if let Ok(board) = self.link.list(&self.keys.all, "reading the board").await {
                            self.show_all(&board, Some(self.seen));
                        }
                    }
                    Ended::Lost(reason) => {
                        tracing::warn!(%reason, "the board is out of reach: going on with what was last seen");
                        self.view.set_connection(Connection::Lost { reason });
                    }
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
                self.look().await;
            }
        })
        .await;
    }

    /// Before going on: whether it is still the cluster that it was, and not one restored from an older state.
    async fn look(&mut self) {
        let Ok(board) = self.link.list(&self.keys.all, "reading the board").await else { return };
        if let Some(header) = board.header
            && (header.cluster_id != self.cluster || header.revision < self.seen)
        {
            tracing::warn!("etcd has lost or changed its state: the board is what it has now");
            self.show_all(&board, None);
        }
    }

    /// Follows one watch to its end; `wait` is set back once it stands.
    async fn watch(&mut self, wait: &mut Duration) -> Ended {
        let create = WatchCreateRequest {
            key: self.keys.all.clone().into(),
            range_end: end_of(&self.keys.all),
            start_revision: self.seen + 1,
        };
        let opened = self.link.call("watching the board", |channel| {
            let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create.clone())) };
            // etcd ends the watch when we end our side.
            let mut request = tonic::Request::new(tokio_stream::once(create).chain(tokio_stream::pending()));
            // Without it a member cut off from the others would go on showing us nothing.
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
            async move { WatchClient::new(channel).watch(request).await }
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
                    if response.created {
                        *wait = BACKOFF.0;
                        self.view.set_connection(Connection::Connected);
                    }
                    for event in &response.events {
                        self.show(event);
                    }
                }
                Ok(None) => return Ended::Lost("etcd ended the watch".to_owned()),
                Err(status) => return Ended::Lost(chain(&status)),
            }
        }
    }

    fn show(&mut self, event: &Event) {
        let Some(pair) = &event.kv else { return };
        self.seen = self.seen.max(pair.mod_revision);
        let gone = event.r#type() == EventType::Delete;
        match (self.place(pair), gone) {
            (Place::Node(id), true) => self.view.remove_node(id),
            (Place::Node(_), false) => {
                if let Some(node) = parse::<NodeInfo>(pair) {
                    self.view.put_node(node.value);
                }
            }
            (Place::Session(id), true) => self.view.remove_session(id, pair.mod_revision.unsigned_abs()),
            (Place::Session(_), false) => {
                if let Some(session) = parse::<Session>(pair) {
                    let changes = session.value.last_changes.clone();
                    self.view.put_session(session);
                    changes.into_iter().for_each(|changed| self.view.report(changed));
                }
            }
            (Place::Elsewhere, _) => {}
        }
    }

    /// Shows the whole board; of changes, those made after `missed` are reported, as far as they can still be told.
    fn show_all(&mut self, board: &RangeResponse, missed: Option<i64>) {
        let mut nodes = Vec::new();
        let mut sessions: Vec<Versioned<Session>> = Vec::new();
        for pair in &board.kvs {
            match self.place(pair) {
                Place::Node(_) => nodes.extend(parse::<NodeInfo>(pair).map(|node| node.value)),
                Place::Session(_) => sessions.extend(parse::<Session>(pair)),
                Place::Elsewhere => {}
            }
        }
        let mut changes: Vec<_> = sessions
            .iter()
            .filter(|session| missed.is_some_and(|seen| session.version > seen.unsigned_abs()))
            .map(|session| (session.version, session.value.last_changes.clone()))
            .collect();
        changes.sort_unstable_by_key(|(version, _)| *version);
        self.view.set_nodes(nodes);
        self.view.set_sessions(sessions);
        for changed in changes.into_iter().flat_map(|(_, changes)| changes) {
            self.view.report(changed);
        }
        if let Some(header) = board.header {
            self.cluster = header.cluster_id;
            self.seen = header.revision;
        }
    }

    fn place<'a>(&self, pair: &'a KeyValue) -> Place<'a> {
        let key = std::str::from_utf8(&pair.key).unwrap_or_default();
        if let Some(id) = key.strip_prefix(&self.keys.nodes) {
            Place::Node(id)
        } else if let Some(id) = key.strip_prefix(&self.keys.sessions) {
            Place::Session(id)
        } else {
            Place::Elsewhere
        }
    }
}

/// What a key is of.
enum Place<'a> {
    Node(&'a str),
    Session(&'a str),
    Elsewhere,
}
