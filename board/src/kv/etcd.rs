//! Keys and values in an etcd: leases for presence, a watch for changes, compare-and-swap for writes.
//!
//! Keys have the configured prefix ([`EtcdOptions::prefix`]); versions are etcd's revisions.

mod follow;
mod link;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Answer, Kv, Lease, LeaseId, Make, Pair, Watcher, Write};
use crate::{BoardError, EtcdOptions};

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::request_op::Request as Operation;
use api::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest,
    RequestOp, TxnRequest,
};
use api::mvccpb::KeyValue;
use follow::Follower;
use link::{CALL, Link, chain, end_of};

/// The part of etcd's v3 API that the board uses.
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

#[derive(Debug)]
pub(crate) struct Etcd {
    link: Arc<Link>,
    root: Root,
    /// The configured length.
    lease: Duration,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Etcd {
    /// Does not connect yet.
    pub(crate) fn new(options: &EtcdOptions) -> Result<Self, BoardError> {
        let root = Root(format!("{}/", options.prefix.trim_end_matches('/')));
        let link = Arc::new(Link::new(options)?);
        let lease = options.lease;
        Ok(Self { link, root, lease, tasks: TaskTracker::new(), stop: CancellationToken::new() })
    }
}

impl Kv for Etcd {
    fn list<'a>(&'a self, prefix: &'a str, doing: &'static str) -> Answer<'a, Vec<Pair>> {
        Box::pin(async move {
            let prefix = self.root.key(prefix);
            let range = self.link.range(&prefix, end_of(&prefix), doing).await?;
            Ok(range.kvs.into_iter().filter_map(|pair| self.root.pair(pair)).collect())
        })
    }

    fn get<'a>(&'a self, key: &'a str, doing: &'static str) -> Answer<'a, Option<Pair>> {
        Box::pin(async move {
            let range = self.link.range(&self.root.key(key), Vec::new(), doing).await?;
            Ok(range.kvs.into_iter().find_map(|pair| self.root.pair(pair)))
        })
    }

    fn write_if(&self, writes: Vec<Write>, doing: &'static str) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let (mut unchanged, mut operations) = (Vec::new(), Vec::new());
            for Write { key, after, make, lease } in writes {
                let key = self.root.key(&key);
                unchanged.extend(after.map(|after| {
                    let revision = TargetUnion::ModRevision(i64::try_from(after).unwrap_or(i64::MAX));
                    let (result, target) = (CompareResult::Equal.into(), CompareTarget::Mod.into());
                    Compare { result, target, key: key.clone(), target_union: Some(revision) }
                }));
                let request = match make {
                    Make::Value(value) => {
                        Operation::RequestPut(PutRequest { key, value, lease: lease.unwrap_or_default() })
                    }
                    Make::Nothing => {
                        Operation::RequestDeleteRange(DeleteRangeRequest { key, range_end: Vec::new() })
                    }
                    Make::Same => continue,
                };
                operations.push(RequestOp { request: Some(request) });
            }
            let request = TxnRequest { compare: unchanged, success: operations };
            let call = |lane| {
                let request = request.clone();
                async move { KvClient::new(lane).txn(request).await }
            };
            let response = self.link.call(doing, call).await?;
            let revision = response.header.map_or(0, |header| header.revision);
            Ok(response.succeeded.then_some(revision.unsigned_abs()))
        })
    }

    fn lease(&self, doing: &'static str) -> Answer<'_, Lease> {
        Box::pin(async move {
            let ttl = i64::try_from(self.lease.as_secs()).unwrap_or(i64::MAX).max(1);
            let request = LeaseGrantRequest { ttl, id: 0 };
            let granted = self
                .link
                .call(doing, |lane| async move { LeaseClient::new(lane).lease_grant(request).await })
                .await?;
            let length = Duration::from_secs(granted.ttl.max(1).unsigned_abs());
            Ok(Lease { id: granted.id, length: Some(length) })
        })
    }

    fn renew(&self, lease: LeaseId) -> Answer<'_, bool> {
        Box::pin(async move {
            let doing = "renewing a node's presence";
            let request = LeaseKeepAliveRequest { id: lease };
            let call = |lane| async move {
                LeaseClient::new(lane).lease_keep_alive(tokio_stream::once(request)).await
            };
            let mut answers = self.link.call(doing, call).await?;
            let lost = |reason: String| BoardError::Lost { doing, reason };
            match tokio::time::timeout(CALL, answers.message()).await {
                Ok(Ok(Some(answer))) => Ok(answer.ttl > 0),
                Ok(Ok(None)) => Err(lost("etcd ended the stream".to_owned())),
                Ok(Err(status)) => Err(lost(chain(&status))),
                Err(_) => Err(lost(format!("no answer within {} s", CALL.as_secs()))),
            }
        })
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            let request = LeaseRevokeRequest { id: lease };
            let call = |lane| async move { LeaseClient::new(lane).lease_revoke(request).await };
            self.link.call("leaving the board", call).await.map(|_| ())
        })
    }

    fn watch<'a>(&'a self, prefix: &'static str, watcher: Arc<dyn Watcher>) -> Answer<'a, ()> {
        Box::pin(async move {
            let follower = Follower::start(self.link.clone(), self.root.clone(), prefix, watcher).await?;
            self.tasks.spawn(follower.run(self.stop.clone()));
            Ok(())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            Ok(())
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Prefix of all of our keys in etcd.
#[derive(Clone, Debug)]
struct Root(String);

impl Root {
    /// The key in etcd.
    fn key(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.0).into_bytes()
    }

    /// The key without the prefix; none for a key of another program.
    fn own(&self, key: &[u8]) -> Option<String> {
        Some(std::str::from_utf8(key).ok()?.strip_prefix(&self.0)?.to_owned())
    }

    fn pair(&self, pair: KeyValue) -> Option<Pair> {
        let lease = (pair.lease != 0).then_some(pair.lease);
        let version = pair.mod_revision.unsigned_abs();
        Some(Pair { key: self.own(&pair.key)?, value: pair.value, version, lease })
    }
}

#[cfg(test)]
mod tests {
    use wec_testbed::etcd::Etcd as Server;

    use super::*;

    /// As after a restart of etcd that took longer than the lease: a node that joins tries again with another one.
    #[tokio::test]
    async fn a_lease_that_has_ended_before_its_write_is_no_refusal() {
        let server = Server::start().await.unwrap();
        let kv = Etcd::new(&EtcdOptions::new([server.endpoint()])).unwrap();
        let lease = kv.lease("testing").await.unwrap().id;
        kv.revoke(lease).await.unwrap();
        let (key, make) = ("node".to_owned(), Make::Value(b"{}".to_vec()));
        let write = Write { key, after: Some(0), make, lease: Some(lease) };
        let lost = kv.write_if(vec![write], "testing").await.unwrap_err();
        assert!(matches!(lost, BoardError::Lost { .. }), "{lost}");
        assert!(!kv.renew(lease).await.unwrap());
    }
}
