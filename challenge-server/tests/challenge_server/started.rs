//! A challenge server on free loopback ports, with challenge data from the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wec_challenge_server::{
    ChallengeServer, Config, DohCertificate, DohConfig, HitStream, ListenLimits, ManagementConfig,
};
use wec_record::ChallengeType;
use wec_record::ValidationHit;
use wec_store::{ChallengeData, ChallengeReader, ChallengeWriter, MemoryChallenges};

use crate::client::PATIENCE;

pub(crate) const TOKEN: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
pub(crate) const KEY_AUTHORIZATION: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0.thumb";

/// A running server; dropping it stops it.
pub(crate) struct Started {
    pub(crate) server: ChallengeServer,
    pub(crate) store: Arc<MemoryChallenges>,
    pub(crate) hits: HitStream,
    stop: CancellationToken,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Every listener on a free port.
pub(crate) fn everything() -> Config {
    Config {
        http01: Some(loopback()),
        tls_alpn01: Some(loopback()),
        dns: Some(loopback()),
        doh: Some(DohConfig { listen: loopback(), certificate: DohCertificate::SelfSigned }),
        management: Some(ManagementConfig { listen: loopback(), token: None, open: false }),
        default_ipv4: Some(Ipv4Addr::LOCALHOST),
        default_ipv6: None,
        caa: wec_store::challenge::CaaRules::default(),
        limits: ListenLimits::default(),
    }
}

/// Time limits that a test can wait for, and that a fast client keeps on a busy machine.
pub(crate) fn impatient() -> ListenLimits {
    ListenLimits { connections: 4, request_timeout: Duration::from_secs(3) }
}

/// Few places and long time limits: a client that is answered has not waited for another's timeout.
pub(crate) fn crowded() -> ListenLimits {
    ListenLimits { connections: 4, request_timeout: Duration::from_secs(600) }
}

pub(crate) async fn start(config: Config) -> Started {
    let store = Arc::new(MemoryChallenges::new());
    let (server, hits, stop) = start_over(config, Arc::clone(&store) as Arc<dyn ChallengeReader>).await;
    Started { server, store, hits, stop }
}

pub(crate) async fn start_over(
    config: Config,
    reader: Arc<dyn ChallengeReader>,
) -> (ChallengeServer, HitStream, CancellationToken) {
    let stop = CancellationToken::new();
    let server = ChallengeServer::start(config, reader, stop.clone()).await.unwrap();
    let hits = server.hits().stream(1000);
    (server, hits, stop)
}

impl Started {
    pub(crate) async fn put(&self, kind: ChallengeType, name: &str) -> ChallengeData {
        let data = challenge(kind, name);
        self.store.put(&data).await.unwrap();
        data
    }

    pub(crate) async fn hit(&mut self) -> ValidationHit {
        next(&mut self.hits).await
    }
}

pub(crate) async fn next(hits: &mut HitStream) -> ValidationHit {
    tokio::time::timeout(PATIENCE, hits.recv()).await.expect("a hit").expect("a running server")
}

pub(crate) fn challenge(kind: ChallengeType, name: &str) -> ChallengeData {
    ChallengeData {
        kind,
        name: name.into(),
        token: TOKEN.into(),
        key_authorization: KEY_AUTHORIZATION.into(),
    }
}
