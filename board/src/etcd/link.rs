//! `Link`: calls to whichever endpoint answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use super::api::etcdserverpb::kv_client::KvClient;
use super::api::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, request_op,
};
use crate::BoardError;

/// Bound of one call to one endpoint.
pub(super) const CALL: Duration = Duration::from_secs(3);
/// etcd takes more frequent pings for an attack (its `--grpc-keepalive-min-time` is 5 s).
const PING: Duration = Duration::from_secs(7);

#[derive(Debug)]
pub(crate) struct Link {
    members: Vec<Member>,
    /// The one that answered last.
    current: AtomicUsize,
}

#[derive(Debug)]
struct Member {
    url: String,
    channel: Channel,
}

impl Link {
    /// Connects to nobody yet.
    pub(super) fn new(endpoints: &[String]) -> Result<Self, BoardError> {
        let members = endpoints
            .iter()
            .map(|url| {
                let bad = |reason: String| BoardError::BadEndpoint { endpoint: url.clone(), reason };
                if !url.starts_with("http://") {
                    return Err(bad("it does not begin with http://".to_owned()));
                }
                let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| bad(chain(&error)))?;
                let channel = endpoint
                    .connect_timeout(CALL)
                    .http2_keep_alive_interval(PING)
                    .keep_alive_timeout(CALL)
                    .connect_lazy();
                Ok(Member { url: url.clone(), channel })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if members.is_empty() {
            return Err(BoardError::BadEndpoint {
                endpoint: String::new(),
                reason: "no endpoint is given".to_owned(),
            });
        }
        Ok(Self { members, current: AtomicUsize::new(0) })
    }

    /// Makes a call, at each endpoint in turn until one answers, beginning with the one that did last.
    pub(super) async fn call<T, F>(
        &self,
        doing: &'static str,
        call: impl Fn(Channel) -> F,
    ) -> Result<T, BoardError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let first = self.current.load(Ordering::Relaxed);
        let mut reason = String::new();
        for at in (0..self.members.len()).map(|step| (first + step) % self.members.len()) {
            let member = &self.members[at];
            match tokio::time::timeout(CALL, call(member.channel.clone())).await {
                Ok(Ok(response)) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) if is_elsewhere(&status) => reason = chain(&status),
                Ok(Err(status)) => {
                    return Err(BoardError::Refused {
                        endpoint: member.url.clone(),
                        doing,
                        reason: status.message().to_owned(),
                    });
                }
                Err(_) => reason = format!("no answer within {} s", CALL.as_secs()),
            }
        }
        let endpoints: Vec<&str> = self.members.iter().map(|member| member.url.as_str()).collect();
        Err(BoardError::Unreachable { endpoints: endpoints.join(", "), doing, reason })
    }

    /// One key.
    pub(super) async fn get(&self, key: &str, doing: &'static str) -> Result<RangeResponse, BoardError> {
        self.range(RangeRequest { key: key.into(), range_end: Vec::new() }, doing).await
    }

    /// All keys that begin with `prefix`.
    pub(super) async fn list(&self, prefix: &str, doing: &'static str) -> Result<RangeResponse, BoardError> {
        self.range(RangeRequest { key: prefix.into(), range_end: end_of(prefix) }, doing).await
    }

    async fn range(&self, request: RangeRequest, doing: &'static str) -> Result<RangeResponse, BoardError> {
        self.call(doing, |channel| {
            let request = request.clone();
            async move { KvClient::new(channel).range(request).await }
        })
        .await
    }

    /// Writes whatever is there; says the write's revision.
    pub(super) async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        doing: &'static str,
    ) -> Result<i64, BoardError> {
        self.put_bound(key, value, 0, doing).await
    }

    /// The same, bound to `lease` (0: to none).
    pub(super) async fn put_bound(
        &self,
        key: &str,
        value: Vec<u8>,
        lease: i64,
        doing: &'static str,
    ) -> Result<i64, BoardError> {
        let put = PutRequest { key: key.into(), value, lease };
        self.txn(Vec::new(), put, doing).await.map(|(_, revision)| revision)
    }

    /// Writes if the key's last write is still `revision` (0: it does not exist), bound to `lease` (0: to none);
    /// says the write's revision, or none when it was not made.
    pub(super) async fn put_if(
        &self,
        key: &str,
        revision: i64,
        value: Vec<u8>,
        lease: i64,
        doing: &'static str,
    ) -> Result<Option<i64>, BoardError> {
        let unchanged = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.into(),
            target_union: Some(TargetUnion::ModRevision(revision)),
        };
        let put = PutRequest { key: key.into(), value, lease };
        let (done, revision) = self.txn(vec![unchanged], put, doing).await?;
        Ok(done.then_some(revision))
    }

    async fn txn(
        &self,
        compare: Vec<Compare>,
        put: PutRequest,
        doing: &'static str,
    ) -> Result<(bool, i64), BoardError> {
        let put = RequestOp { request: Some(request_op::Request::RequestPut(put)) };
        let request = TxnRequest { compare, success: vec![put] };
        let response = self
            .call(doing, |channel| {
                let request = request.clone();
                async move { KvClient::new(channel).txn(request).await }
            })
            .await?;
        Ok((response.succeeded, response.header.map_or(0, |header| header.revision)))
    }
}

/// Whether another endpoint may do better: this one is away, has no leader, or is no etcd at all.
fn is_elsewhere(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Internal
            | Code::Unimplemented
    )
}

/// The first key after all that begin with `prefix`, whose last byte is never 0xff.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// An error with its causes, which is where tonic keeps what a person needs to know.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}
