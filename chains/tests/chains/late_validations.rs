//! Validations that arrive after the order has become ready: CAs validate from several places and do not wait
//! for all of them.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use wec_acme::Roots;
use wec_chains::{Chain, Linger, Removed};
use wec_null_ca::{Config, NullCa};
use wec_record::ChallengeType;
use wec_store::challenge::BoxFuture;
use wec_store::{
    ChallengeData, ChallengeReader as _, ChallengeStoreError, ChallengeWriter, MemoryChallenges,
};

use crate::common::{Answering, Worker};

/// A store that records what was put into it.
struct Remembering {
    store: Arc<MemoryChallenges>,
    put: Mutex<Vec<ChallengeData>>,
}

impl ChallengeWriter for Remembering {
    fn put<'a>(&'a self, data: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        self.put.lock().unwrap().push(data.clone());
        self.store.put(data)
    }

    fn remove<'a>(&'a self, data: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        self.store.remove(data)
    }
}

/// What the challenge server answers to an http-01 validation.
async fn validate(answering: &Answering, data: &ChallengeData) -> String {
    let address = answering.server.addresses().http01.unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (token, name) = (&data.token, &data.name);
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn late_validations_are_answered_until_the_data_is_removed() {
    let store = Arc::new(MemoryChallenges::new());
    let answering = Answering::on_loopback(Arc::clone(&store) as _).await;
    let mut config = Config::default();
    config.validation.http01 = answering.server.addresses().http01;
    let ca = NullCa::start(config).unwrap();
    let writer = Arc::new(Remembering { store: Arc::clone(&store), put: Mutex::default() });
    // Longer than any test, so that data does not expire.
    let time = std::time::Duration::from_secs(3600);
    let (linger, remover) = Linger::start(time, Arc::clone(&writer) as _);
    let roots = Roots::Pem(ca.root_pem().unwrap().as_bytes().to_vec());
    let mut worker = Worker::of(ca.directory_url(), roots, Arc::clone(&store), |_, _| {}).await;
    worker.succeed(Chain::Registration).await;
    worker.context.challenges = Arc::clone(&writer) as _;
    worker.context.linger = linger;
    for kind in ChallengeType::STANDARD {
        worker.policy(|policy| {
            policy.choices.challenges = vec![kind].into();
            policy.choices.names = (2..=2).into();
        });
        let cut = CancellationToken::new();
        let run = wec_chains::run(Chain::Authorization, &worker.context, &mut worker.rng, None, &cut);
        let result = run.await.unwrap();
        assert!(result.successful, "{kind}: {}", result.error);
    }
    // Now the orders are ready and the chains have ended.
    let put = std::mem::take(&mut *writer.put.lock().unwrap());
    assert_eq!((put.len(), store.len()), (6, 6));
    let of_http: Vec<_> = put.iter().filter(|data| data.kind == ChallengeType::Http01).collect();
    for data in &of_http {
        let answer = validate(&answering, data).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&data.key_authorization), "{answer}");
    }
    for data in put.iter().filter(|data| data.kind == ChallengeType::TlsAlpn01) {
        assert_eq!(store.tls_alpn01(&data.name).await.unwrap(), Some(data.digest()));
    }
    for data in put.iter().filter(|data| data.kind == ChallengeType::Dns01) {
        assert_eq!(store.dns01(&data.name).await.unwrap(), [data.txt_value()]);
    }
    assert_eq!(remover.finish(std::future::ready(())).await, Removed::default());
    assert!(store.is_empty());
    for data in of_http {
        let answer = validate(&answering, data).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}
