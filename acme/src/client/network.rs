//! Connections to a CA: which servers may be connected to, and how transports are made.

use std::sync::{Arc, OnceLock};

use super::{Config, DiscoverError};
use crate::clock::Clock;
use crate::connect::ConnectSettings;
use crate::dial::Dialler;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::http1::HttpTransport;
use crate::http2::Http2Transport;
use crate::origin::Origin;
use crate::tls::{self, HttpVersion};
use crate::transport::Transport;

/// Makes transports to a CA.
pub(super) struct Network {
    pub(super) directory_url: String,
    pub(super) settings: ConnectSettings,
    /// As in the settings, without session resumption.
    no_resumption: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Network {
    pub(super) fn of(config: &Config, clock: Clock) -> Result<Self, DiscoverError> {
        let url = &config.directory;
        let http2 = config.http == HttpVersion::Http2;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(DiscoverError::Url {
                url: url.to_string(),
                why: "it is not an https or http URL".into(),
            });
        }
        if http2 && url.scheme() != "https" {
            let why = "HTTP/2 needs TLS here, and this is not an https URL".into();
            return Err(DiscoverError::NoHttp2 { url: url.to_string(), why });
        }
        let user_agent = http::HeaderValue::from_str(&config.user_agent).map_err(|_| {
            DiscoverError::Setting(format!("user agent {:?} cannot be a header", config.user_agent))
        })?;
        let settings = ConnectSettings {
            http: config.http,
            max_connections: config.max_connections,
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            user_agent,
            tls: tls::client_config(&config.roots, config.client_certificate.as_ref(), config.http)
                .map_err(DiscoverError::Setting)?,
            dialler: Arc::new(Dialler::new(
                Arc::clone(&config.gate),
                Arc::clone(&config.resolver),
                config.dialling.clone(),
                clock,
            )),
            queueing: Arc::default(),
            slow: false,
        };
        Ok(Self { directory_url: url.as_str().to_owned(), settings, no_resumption: OnceLock::new() })
    }

    /// The same with a User-Agent that names this run.
    pub(super) fn in_run(&self, run: &str) -> Self {
        let user_agent = self.settings.user_agent.to_str().unwrap_or_default();
        let named = http::HeaderValue::from_str(&format!("{user_agent} run/{run}"));
        let user_agent = named.unwrap_or_else(|_| self.settings.user_agent.clone());
        Self {
            directory_url: self.directory_url.clone(),
            settings: ConnectSettings { user_agent, ..self.settings.clone() },
            no_resumption: OnceLock::new(),
        }
    }

    /// Checks the servers of all resources before a connection to any of them.
    pub(super) async fn judge(&self, directory: &Directory) -> Result<(), DiscoverError> {
        let mut judged: Vec<Origin> = Vec::new();
        for (key, url) in directory.resources() {
            // A text that is no URL fails when it is requested.
            let Ok(origin) = Origin::of(url) else { continue };
            if judged.iter().any(|judged| judged.prefix == origin.prefix) {
                continue;
            }
            let refused = |failure: Failure| DiscoverError::Refused {
                directory: self.directory_url.clone(),
                key: Some(key),
                url: url.to_owned(),
                why: failure.message,
            };
            self.settings.dialler.judge(&origin, self.settings.connect_timeout).await.map_err(refused)?;
            judged.push(origin);
        }
        Ok(())
    }

    /// A transport without connections yet.
    pub(super) fn transport(
        &self,
        max_connections: usize,
        stranger: bool,
        clock: Clock,
    ) -> Arc<dyn Transport> {
        let tls = &self.settings.tls;
        let tls =
            if stranger { self.no_resumption.get_or_init(|| tls::without_resumption(tls)) } else { tls };
        Self::over(ConnectSettings { max_connections, tls: Arc::clone(tls), ..self.settings.clone() }, clock)
    }

    /// A transport with one connection, whose answers are read slowly.
    pub(super) fn slow_transport(&self, clock: Clock) -> Arc<dyn Transport> {
        Self::over(ConnectSettings { max_connections: 1, slow: true, ..self.settings.clone() }, clock)
    }

    fn over(settings: ConnectSettings, clock: Clock) -> Arc<dyn Transport> {
        match settings.http {
            HttpVersion::Http1 => Arc::new(HttpTransport::new(settings, clock)),
            HttpVersion::Http2 => Arc::new(Http2Transport::new(settings, clock)),
        }
    }
}
