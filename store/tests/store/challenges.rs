//! Challenge stores against the real servers.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wec_record::ChallengeType;
use wec_store::challenge::{behind_redirect, detour, is_delegated};
use wec_store::{
    ChallTestSrvWriter, ChallengeData, ChallengeReader, ChallengeStoreError, ChallengeWriter,
    MemoryChallenges, RedisChallenges, ValidationFault,
};
use wec_testbed::{ChallTestSrv, Redis};

fn challenge(kind: ChallengeType, name: &str, token: &str) -> ChallengeData {
    let key_authorization = format!("{token}.thumbprint");
    ChallengeData { kind, name: name.into(), token: token.into(), key_authorization }
}

/// The contract of every store that we can read.
async fn keeps_and_forgets(store: &(impl ChallengeWriter + ChallengeReader)) {
    let [a, b] = ["a", "b"].map(|token| challenge(ChallengeType::Http01, "Host.Test.", token));
    store.put(&a).await.unwrap();
    store.put(&b).await.unwrap();
    assert_eq!(store.http01("host.test", "a").await.unwrap().as_deref(), Some("a.thumbprint"));
    assert_eq!(store.http01("other.test", "a").await.unwrap(), None);
    store.remove(&a).await.unwrap();
    store.remove(&a).await.unwrap();
    assert_eq!(store.http01("host.test", "a").await.unwrap(), None);
    assert_eq!(store.http01("host.test", "b").await.unwrap().as_deref(), Some("b.thumbprint"));

    let [a, b] = ["a", "b"].map(|token| challenge(ChallengeType::TlsAlpn01, "host.test", token));
    store.put(&a).await.unwrap();
    store.put(&b).await.unwrap();
    store.remove(&a).await.unwrap();
    assert_eq!(store.tls_alpn01("host.test").await.unwrap(), Some(b.digest()), "the later digest stays");
    store.remove(&b).await.unwrap();
    assert_eq!(store.tls_alpn01("host.test").await.unwrap(), None);

    let [a, b] = ["a", "b"].map(|token| challenge(ChallengeType::Dns01, "host.test", token));
    store.put(&a).await.unwrap();
    store.put(&b).await.unwrap();
    let mut values = store.dns01("host.test").await.unwrap();
    values.sort();
    let mut both = [a.txt_value(), b.txt_value()];
    both.sort();
    assert_eq!(values, both, "one name may have two validations at once");
    store.remove(&a).await.unwrap();
    assert_eq!(store.dns01("host.test").await.unwrap(), [b.txt_value()]);
    store.remove(&b).await.unwrap();
    assert!(store.dns01("host.test").await.unwrap().is_empty());
}

/// Every store carries faults and detours, though it does not know them.
async fn carries_faults_and_detours(store: &(impl ChallengeWriter + ChallengeReader)) {
    for fault in ValidationFault::ALL {
        for kind in ChallengeType::ALL {
            let key_authorization = fault.key_authorization();
            let data = ChallengeData { key_authorization, ..challenge(kind, "host.test", "a") };
            store.put(&data).await.unwrap();
            let found = match kind {
                ChallengeType::Http01 => {
                    let stored = store.http01("host.test", "a").await.unwrap();
                    ValidationFault::of_key_authorization(&stored.unwrap())
                }
                ChallengeType::TlsAlpn01 => {
                    ValidationFault::of_digest(&store.tls_alpn01("host.test").await.unwrap().unwrap())
                }
                ChallengeType::Dns01 | ChallengeType::DnsAccount01 | ChallengeType::DnsPersist01 => {
                    ValidationFault::of_txt_value(&store.dns01(&data.stored_name()).await.unwrap()[0])
                }
            };
            assert_eq!(found, Some(fault), "{kind:?}");
            store.remove(&data).await.unwrap();
        }
    }
    for kind in [ChallengeType::Http01, ChallengeType::Dns01] {
        for data in detour(challenge(kind, "host.test", "a")) {
            store.put(&data).await.unwrap();
        }
    }
    let stored = store.http01("host.test", "a").await.unwrap().unwrap();
    assert_eq!(behind_redirect(&stored), Some("a.thumbprint"));
    assert!(is_delegated(&store.dns01("host.test").await.unwrap()));
    let value = challenge(ChallengeType::Dns01, "host.test", "a").txt_value();
    assert_eq!(store.dns01("delegated.host.test").await.unwrap(), [value]);
}

#[tokio::test]
async fn memory_keeps_and_forgets() {
    let store = MemoryChallenges::new();
    keeps_and_forgets(&store).await;
    carries_faults_and_detours(&store).await;
}

#[tokio::test]
async fn redis_expires_what_is_never_removed() {
    let server = Redis::start().await.unwrap();
    let ttl = Duration::from_secs(131);
    let store = RedisChallenges::connect(&server.url()).await.unwrap().with_ttl(ttl);
    let mut asked =
        redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    for (kind, key) in [
        (ChallengeType::Http01, "wec:http01:host.test:a"),
        (ChallengeType::TlsAlpn01, "wec:alpn:host.test"),
        (ChallengeType::Dns01, "wec:dns:host.test"),
    ] {
        store.put(&challenge(kind, "host.test", "a")).await.unwrap();
        let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut asked).await.unwrap();
        assert!((1..=131).contains(&left), "{key}: {left} s");
    }
}

#[tokio::test]
async fn redis_keeps_and_forgets() {
    let server = Redis::start().await.unwrap();
    let store = RedisChallenges::connect(&server.url()).await.unwrap();
    keeps_and_forgets(&store).await;
    carries_faults_and_detours(&store).await;
}

#[tokio::test]
async fn redis_has_the_documented_keys_and_they_expire() {
    let server = Redis::start().await.unwrap();
    let store = RedisChallenges::connect(&server.url()).await.unwrap();
    for kind in [ChallengeType::Http01, ChallengeType::TlsAlpn01, ChallengeType::Dns01] {
        store.put(&challenge(kind, "host.test", "tok")).await.unwrap();
    }
    let mut other =
        redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut ask = async |command: &str, key: &str| -> String {
        redis::cmd(command)
            .arg(key)
            .query_async::<redis::Value>(&mut other)
            .await
            .map(|v| format!("{v:?}"))
            .unwrap()
    };
    assert!(ask("GET", "wec:http01:host.test:tok").await.contains("tok.thumbprint"));
    let hex = challenge(ChallengeType::TlsAlpn01, "host.test", "tok")
        .digest()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    assert!(ask("GET", "wec:alpn:host.test").await.contains(&hex));
    let value = challenge(ChallengeType::Dns01, "host.test", "tok").txt_value();
    assert!(ask("SMEMBERS", "wec:dns:host.test").await.contains(&value));
    for key in ["wec:http01:host.test:tok", "wec:alpn:host.test", "wec:dns:host.test"] {
        let ttl: i64 = redis::cmd("TTL").arg(key).query_async(&mut other).await.unwrap();
        assert!((1..=3600).contains(&ttl), "{key} expires: {ttl}");
    }
}

#[tokio::test]
async fn reconnects_to_redis_after_its_restart() {
    let mut server = Redis::start().await.unwrap();
    let store = RedisChallenges::connect(&server.url()).await.unwrap();
    let data = challenge(ChallengeType::Http01, "host.test", "a");
    store.put(&data).await.unwrap();
    server.kill().unwrap();
    let error = store.put(&data).await.unwrap_err();
    assert!(error.to_string().contains(&server.address().to_string()), "{error}");
    server.restart().await.unwrap();
    let again = async {
        while store.put(&data).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), again).await.unwrap();
    assert!(store.http01("host.test", "a").await.unwrap().is_some());
    // The new server does not have the script that deletes by value; it is sent again.
    let alpn = challenge(ChallengeType::TlsAlpn01, "host.test", "a");
    store.put(&alpn).await.unwrap();
    store.remove(&alpn).await.unwrap();
    assert_eq!(store.tls_alpn01("host.test").await.unwrap(), None);
}

#[tokio::test]
async fn a_redis_that_cannot_be_used_is_named_without_its_password() {
    let server = Redis::start_with_password("right").await.unwrap();
    RedisChallenges::connect(&server.url()).await.unwrap();
    let wrong = format!("redis://:s3cret@{}", server.address());
    let gone = format!("redis://:s3cret@{}", wec_testbed::free_address());
    for (url, culprit) in [
        (wrong.as_str(), server.address().to_string()),
        (gone.as_str(), "redis://:***@127.0.0.1".into()),
        ("redis://:s3cret@", "redis://:***@".into()),
        ("http://:s3cret@host", "http://:***@host".into()),
    ] {
        let error = RedisChallenges::connect(url).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&culprit) && !message.contains("s3cret"), "{url}: {message}");
        assert_eq!(matches!(error, ChallengeStoreError::Url { .. }), !url.contains("127.0.0.1"), "{message}");
    }
}

#[tokio::test]
async fn challtestsrv_answers_http01_and_tls_alpn01_and_forgets_them() {
    let server = ChallTestSrv::start().await.unwrap();
    let writer = ChallTestSrvWriter::new(&server.management_url()).unwrap();
    let data = challenge(ChallengeType::Http01, "host.test", "tok");
    let answer = async || {
        let mut stream = tokio::net::TcpStream::connect(server.http01).await.unwrap();
        let request =
            "GET /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: host.test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    writer.put(&data).await.unwrap();
    assert!(answer().await.contains("tok.thumbprint"));
    writer.remove(&data).await.unwrap();
    assert!(!answer().await.contains("tok.thumbprint"));
    let data = challenge(ChallengeType::TlsAlpn01, "host.test", "tok");
    writer.put(&data).await.unwrap();
    writer.remove(&data).await.unwrap();
}

#[tokio::test]
async fn challtestsrv_keeps_the_other_values_of_a_name() {
    let server = ChallTestSrv::start().await.unwrap();
    let writer = ChallTestSrvWriter::new(&server.management_url()).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|token| challenge(ChallengeType::Dns01, "host.test", token));
    let values = async || txt_values(server.dns, "_acme-challenge.host.test").await;
    for data in [&a, &b, &c] {
        writer.put(data).await.unwrap();
    }
    assert_eq!(values().await, sorted([&a, &b, &c]));
    writer.remove(&b).await.unwrap();
    assert_eq!(values().await, sorted([&a, &c]));
    writer.remove(&a).await.unwrap();
    writer.remove(&c).await.unwrap();
    assert!(values().await.is_empty());
}

fn sorted<const N: usize>(data: [&ChallengeData; N]) -> Vec<String> {
    let mut values = data.map(ChallengeData::txt_value).to_vec();
    values.sort();
    values
}

/// The TXT strings in an answer over TCP, without a DNS library: a challenge's value has 43 characters.
async fn txt_values(server: std::net::SocketAddr, name: &str) -> Vec<String> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 16, 0, 1]);
    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    stream.write_u16(query.len() as u16).await.unwrap();
    stream.write_all(&query).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    let mut values: Vec<String> = (query.len()..answer.len().saturating_sub(43))
        .filter(|at| answer[*at] == 43 && answer[at - 1] == 44)
        .map(|at| String::from_utf8(answer[at + 1..at + 44].to_vec()).unwrap())
        .collect();
    values.sort();
    values
}

#[tokio::test]
async fn challtestsrv_takes_concurrent_writes_and_an_absent_one_is_named() {
    let mut server = ChallTestSrv::start().await.unwrap();
    let url = server.management_url();
    let writer = std::sync::Arc::new(ChallTestSrvWriter::new(&url).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let writer = writer.clone();
        tasks.spawn(async move {
            let data = challenge(ChallengeType::Dns01, &format!("h{number}.test"), "tok");
            writer.put(&data).await.unwrap();
            writer.remove(&data).await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    server.process().kill().unwrap();
    let error = writer.put(&challenge(ChallengeType::Http01, "h.test", "tok")).await.unwrap_err().to_string();
    assert!(error.contains(&url) && error.contains("/add-http01"), "{error}");
}
