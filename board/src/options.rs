//! How to connect to a board, and the state of the connection.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use wec_startup::redacted;

/// How to reach and use an etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdOptions {
    /// `http://host:port`, or `https://host:port`, of one or more members of one cluster; tried in turn.
    pub endpoints: Vec<String>,
    /// The user; none for an etcd without users.
    pub user: Option<EtcdUser>,
    /// How to trust members with `https`.
    pub tls: EtcdTls,
    /// Prefix of all keys, so that several suites can share one etcd: `/wec`.
    pub prefix: String,
    /// How long a node that died without leaving stays on the board. etcd raises values below its own
    /// minimum, usually 2 s.
    pub lease: Duration,
}

impl fmt::Debug for EtcdOptions {
    /// Without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, user, tls, prefix, lease } = self;
        let endpoints: Vec<_> = endpoints.iter().map(|endpoint| redacted(endpoint)).collect();
        f.debug_struct("EtcdOptions")
            .field("endpoints", &endpoints)
            .field("user", user)
            .field("tls", tls)
            .field("prefix", prefix)
            .field("lease", lease)
            .finish()
    }
}

impl EtcdOptions {
    /// These endpoints, prefix `/wec`, leases of 10 s.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            user: None,
            tls: EtcdTls::default(),
            prefix: "/wec".to_owned(),
            lease: Duration::from_secs(10),
        }
    }

    /// Its URL for other processes, with `PASSWORD` for the password and without files for TLS.
    pub(crate) fn url(&self) -> String {
        let tls = self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        let hosts = self.endpoints.iter().map(|endpoint| {
            endpoint.strip_prefix("http://").or(endpoint.strip_prefix("https://")).unwrap_or(endpoint)
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let user = self.user.as_ref().map(|user| format!("{}:PASSWORD@", user.name)).unwrap_or_default();
        format!("{}://{user}{hosts}", if tls { "etcds" } else { "etcd" })
    }
}

/// A user of an etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdUser {
    /// The name, as in `etcdctl user add`.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.name)
    }
}

/// Files for TLS with an etcd, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdTls {
    /// Certificates of the CA of etcd's certificates; none for those of the system.
    pub ca: Option<PathBuf>,
    /// The client's certificate with its intermediates, and its private key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How to use a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Its path, on a disk of this machine: SQLite's locks do not work on network disks.
    pub path: PathBuf,
    /// How long a node that died without leaving stays on the board.
    pub lease: Duration,
}

impl FileOptions {
    /// This file, leases of 10 s.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lease: Duration::from_secs(10) }
    }

    /// Its URL for other processes of this machine, whatever their folder.
    pub(crate) fn url(&self) -> String {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        format!("sqlite://{}", path.display())
    }
}

/// Whether the board's data is current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Changes arrive as they are made.
    Connected,
    /// The data is the last known; the connection is being retried.
    Lost {
        /// Why, for people.
        reason: String,
    },
}
