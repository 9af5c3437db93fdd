//! Challenge data in Redis: the requester writes, the challenge server only reads.
//!
//! | key | type | value |
//! | --- | --- | --- |
//! | `wec:http01:{name}:{token}` | string | the key authorization |
//! | `wec:alpn:{name}` | string | the key authorization's SHA-256 in lower-case hex |
//! | `wec:dns:{name}` | set | TXT values |
//!
//! The requester removes its data; the data of a killed requester expires after the time to live.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ClientTlsConfig, FromRedisValue, Pipeline, RedisError, Script, TlsCertificates, cmd, pipe,
};
use wec_pki::TlsFiles;
use wec_startup::redacted;

use super::{BoxFuture, ChallengeData, ChallengeReader, ChallengeStoreError, ChallengeWriter};
use wec_record::Listener;

/// Default time to live: longer than any CA takes to validate.
const TTL: Duration = Duration::from_secs(3600);
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A Redis, on one multiplexed connection that is opened again when it breaks.
///
/// The connection runs on the tokio runtime on which it was created; it can be used from others.
#[derive(Clone)]
pub struct RedisChallenges {
    connection: ConnectionManager,
    /// Time to live, seconds.
    seconds: u64,
    /// Deletes a key only if it has the value that was stored here.
    delete_if: Script,
    /// The URL without its password.
    shown: String,
}

impl std::fmt::Debug for RedisChallenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisChallenges").field("store", &self.shown).finish_non_exhaustive()
    }
}

impl RedisChallenges {
    /// Connects to `redis://[[user]:password@]host[:port][/database]`.
    ///
    /// # Errors
    /// When the URL is not valid, there is no server, or the login is refused. The message has the URL
    /// without its password.
    pub async fn connect(url: &str) -> Result<Self, ChallengeStoreError> {
        Self::connect_with(url, None).await
    }

    /// The same; `rediss://` uses these files for TLS.
    ///
    /// # Errors
    /// As [`RedisChallenges::connect`], and when a file cannot be read.
    pub async fn connect_with(url: &str, tls: Option<&TlsFiles>) -> Result<Self, ChallengeStoreError> {
        let shown = redacted(url);
        let wrong = |reason: String| ChallengeStoreError::Url { url: redacted(url), reason };
        let client = match tls.filter(|_| url.starts_with("rediss://")) {
            None => Client::open(url).map_err(|error| wrong(error.to_string()))?,
            Some(files) => {
                let certificates = certificates(files).map_err(wrong)?;
                Client::build_with_tls(url, certificates).map_err(|error| wrong(error.to_string()))?
            }
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN))
            .set_max_delay(Duration::from_millis(500));
        // At the start a single attempt; later, several.
        let first = config.clone().set_number_of_retries(0);
        let unavailable = |error: RedisError| ChallengeStoreError::Unavailable {
            store: shown.clone(),
            reason: tls.map_or_else(|| error.to_string(), |files| files.explained(&error.to_string())),
        };
        let mut trial =
            ConnectionManager::new_with_config(client.clone(), first).await.map_err(unavailable)?;
        let _: String = cmd("PING").query_async(&mut trial).await.map_err(unavailable)?;
        let connection = ConnectionManager::new_with_config(client, config).await.map_err(unavailable)?;
        let delete_if = Script::new(
            "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end",
        );
        Ok(Self { connection, seconds: TTL.as_secs(), delete_if, shown })
    }

    /// The same, with this time to live; at least a second.
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self { seconds: ttl.as_secs().max(1), ..self }
    }

    /// Sends a request, and again on a new connection if the old one is broken: every request can be repeated
    /// safely.
    async fn ask<T: FromRedisValue>(&self, request: &Pipeline) -> Result<T, ChallengeStoreError> {
        let answer = match request.query_async(&mut self.connection.clone()).await {
            Err(error) if is_broken(&error) => request.query_async(&mut self.connection.clone()).await,
            answer => answer,
        };
        answer.map_err(|error| self.unavailable(&error))
    }

    fn unavailable(&self, error: &RedisError) -> ChallengeStoreError {
        let (store, reason) = (self.shown.clone(), error.to_string());
        // The error contains the system's error only as text.
        if wec_acme::local::is_refusal(error) || wec_acme::local::is_out_of_descriptors() {
            return ChallengeStoreError::Local { store, reason };
        }
        ChallengeStoreError::Unavailable { store, reason }
    }

    async fn store(&self, challenge: &ChallengeData) -> Result<(), ChallengeStoreError> {
        let name = challenge.stored_name();
        let seconds = self.seconds;
        let mut request = pipe();
        match challenge.kind.listener() {
            Listener::Http => {
                let key = http01_key(&name, &challenge.token);
                request.set_ex(key, &challenge.key_authorization, seconds).ignore();
            }
            Listener::Tls => {
                request.set_ex(alpn_key(&name), hex::encode(challenge.digest()), seconds).ignore();
            }
            Listener::Dns => {
                let key = dns_key(&name);
                // In one transaction, so that every set has a time to live.
                request.atomic().sadd(&key, challenge.txt_value()).ignore();
                request.expire(&key, i64::try_from(seconds).unwrap_or(i64::MAX)).ignore();
            }
        }
        self.ask(&request).await
    }

    async fn forget(&self, challenge: &ChallengeData) -> Result<(), ChallengeStoreError> {
        let name = challenge.stored_name();
        let mut request = pipe();
        match challenge.kind.listener() {
            Listener::Http => request.del(http01_key(&name, &challenge.token)).ignore(),
            Listener::Dns => request.srem(dns_key(&name), challenge.txt_value()).ignore(),
            Listener::Tls => return self.forget_alpn(&name, &hex::encode(challenge.digest())).await,
        };
        self.ask(&request).await
    }

    /// A later challenge of the same name may have replaced it.
    async fn forget_alpn(&self, name: &str, digest: &str) -> Result<(), ChallengeStoreError> {
        let mut script = self.delete_if.key(alpn_key(name));
        script.arg(digest);
        let mut answer = script.invoke_async(&mut self.connection.clone()).await;
        if answer.as_ref().is_err_and(is_broken) {
            answer = script.invoke_async(&mut self.connection.clone()).await;
        }
        answer.map_err(|error| self.unavailable(&error))
    }
}

fn certificates(files: &TlsFiles) -> Result<TlsCertificates, String> {
    let read = |file: &std::path::Path| {
        std::fs::read(file).map_err(|error| format!("cannot read {} for TLS: {error}", file.display()))
    };
    let client_tls = match &files.client {
        None => None,
        Some((certificate, key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
    };
    Ok(TlsCertificates { client_tls, root_cert: Some(read(&files.ca)?) })
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout()
}

fn http01_key(name: &str, token: &str) -> String {
    format!("wec:http01:{name}:{token}")
}

fn alpn_key(name: &str) -> String {
    format!("wec:alpn:{name}")
}

fn dns_key(name: &str) -> String {
    format!("wec:dns:{name}")
}

fn unhex(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(hex, &mut digest).ok().map(|()| digest)
}

impl ChallengeWriter for RedisChallenges {
    fn put<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(self.store(challenge))
    }

    fn remove<'a>(&'a self, challenge: &'a ChallengeData) -> BoxFuture<'a, Result<(), ChallengeStoreError>> {
        Box::pin(self.forget(challenge))
    }
}

impl ChallengeReader for RedisChallenges {
    fn http01<'a>(
        &'a self,
        name: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, ChallengeStoreError>> {
        Box::pin(async move {
            let (answer,) = self.ask(pipe().get(http01_key(name, token))).await?;
            Ok(answer)
        })
    }

    fn tls_alpn01<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<[u8; 32]>, ChallengeStoreError>> {
        Box::pin(async move {
            let (answer,): (Option<String>,) = self.ask(pipe().get(alpn_key(name))).await?;
            let Some(answer) = answer else { return Ok(None) };
            let wrong = || ChallengeStoreError::Unavailable {
                store: self.shown.clone(),
                reason: format!("{} holds {answer:?}, which is not a SHA-256 in hex", alpn_key(name)),
            };
            unhex(&answer).map(Some).ok_or_else(wrong)
        })
    }

    fn dns01<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ChallengeStoreError>> {
        Box::pin(async move {
            let (values,) = self.ask(pipe().smembers(dns_key(name))).await?;
            Ok(values)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_back_from_hex_and_other_text_is_not() {
        let digest = std::array::from_fn(|n| (n * 8) as u8);
        assert_eq!(unhex(&hex::encode(digest)), Some(digest));
        assert!(hex::encode(digest).starts_with("000810"));
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(66)] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
