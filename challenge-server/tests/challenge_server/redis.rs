//! With a real Redis to which the requester writes: its data is answered, also after an outage of Redis.

use std::sync::Arc;

use rustls::version::TLS13;
use rustls_pki_types::ServerName;
use wec_challenge_server::{ChallengeServer, HitStream};
use wec_record::ChallengeType;
use wec_record::Verdict;
use wec_store::{ChallengeReader, ChallengeWriter, RedisChallenges};
use wec_testbed::redis::Redis;

use crate::client::{get, handshake};
use crate::started::{KEY_AUTHORIZATION, TOKEN, challenge, everything, next, start_over};

async fn http01(server: &ChallengeServer, hits: &mut HitStream) -> (u16, String, Verdict) {
    let path = format!("/.well-known/acme-challenge/{TOKEN}");
    let (status, body) = get(server.addresses().http01.unwrap(), "www.example.test", &path).await;
    (status, body, next(hits).await.verdict)
}

#[tokio::test]
async fn answers_from_redis_before_and_after_its_outage() {
    let mut redis = Redis::start().await.unwrap();
    let writer = RedisChallenges::connect(&redis.url()).await.unwrap();
    let reader = Arc::new(RedisChallenges::connect(&redis.url()).await.unwrap()) as Arc<dyn ChallengeReader>;
    let (server, mut hits, stop) = start_over(everything(), reader).await;

    for kind in [ChallengeType::Http01, ChallengeType::TlsAlpn01] {
        writer.put(&challenge(kind, "www.example.test")).await.unwrap();
    }
    let answered = (200, KEY_AUTHORIZATION.to_owned(), Verdict::Answered);
    assert_eq!(http01(&server, &mut hits).await, answered);
    let name = ServerName::try_from("www.example.test").unwrap();
    let address = server.addresses().tls_alpn01.unwrap();
    handshake(address, name, &[b"acme-tls/1"], &[&TLS13]).await.unwrap();
    assert_eq!(next(&mut hits).await.verdict, Verdict::Answered);

    writer.remove(&challenge(ChallengeType::Http01, "www.example.test")).await.unwrap();
    assert_eq!(http01(&server, &mut hits).await.2, Verdict::Unknown);

    redis.kill().unwrap();
    let (status, _, verdict) = http01(&server, &mut hits).await;
    assert_eq!((status, verdict), (503, Verdict::StoreFailed));

    redis.restart().await.unwrap();
    writer.put(&challenge(ChallengeType::Http01, "www.example.test")).await.unwrap();
    // The reader reconnects by itself, a little later than the writer.
    let mut outcome = http01(&server, &mut hits).await;
    for _ in 0..20 {
        if outcome == answered {
            break;
        }
        outcome = http01(&server, &mut hits).await;
    }
    assert_eq!(outcome, answered);
    stop.cancel();
}
