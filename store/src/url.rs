//! The URL of the state store: `sqlite://path`, `sqlite::memory:` or `postgres://…`, and its display without
//! password.

use std::fmt;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use url::Url;
use wec_startup::redacted;

use crate::error::StoreError;

/// A parsed database URL.
#[derive(Clone)]
pub(crate) enum StoreUrl {
    Sqlite { shown: String, memory: bool, options: Box<SqliteConnectOptions> },
    Postgres { shown: String, options: Box<PgConnectOptions> },
}

impl StoreUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError::Url { url: redacted(url), reason };
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let options =
                    SqliteConnectOptions::from_str(url).map_err(|error| wrong(error.to_string()))?;
                let memory =
                    url == "sqlite::memory:" || url == "sqlite://:memory:" || url.contains("mode=memory");
                if !memory && options.get_filename().as_os_str().is_empty() {
                    return Err(wrong("it has no file".into()));
                }
                Ok(Self::Sqlite { shown: url.into(), memory, options: Box::new(options) })
            }
            Some("postgres" | "postgresql") => {
                let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
                if parsed.host_str().is_none_or(str::is_empty) && !url.contains("host=") {
                    return Err(wrong("it has no host".into()));
                }
                let options = PgConnectOptions::from_str(url).map_err(|error| wrong(error.to_string()))?;
                Ok(Self::Postgres { shown: redacted(url), options: Box::new(options) })
            }
            Some(scheme) => Err(wrong(format!("a state store cannot have the scheme {scheme:?}"))),
            None => Err(wrong("it has no scheme".into())),
        }
    }
}

impl StoreUrl {
    /// The file in the URL, if any.
    pub(crate) fn file(&self) -> Option<&std::path::Path> {
        match self {
            Self::Sqlite { memory: false, options, .. } => Some(options.get_filename()),
            _ => None,
        }
    }

    /// Whether the URL asks for a read-only file.
    pub(crate) fn is_read_only(&self) -> bool {
        let (Self::Sqlite { shown, .. } | Self::Postgres { shown, .. }) = self;
        shown.contains("mode=ro") || shown.contains("immutable=")
    }
}

impl fmt::Display for StoreUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { shown, .. } | Self::Postgres { shown, .. } => f.write_str(shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_named_with_the_accepted_forms() {
        for (url, reason) in [
            ("state.db", "no scheme"),
            ("mysql://wec:s3cret@db/wec", "mysql"),
            ("sqlite://", "has no file"),
            ("postgres:///wec", "no host"),
            ("postgres://wec:s3cret@db:port/wec", "port"),
            ("sqlite://x?mode=never", "never"),
        ] {
            let error = StoreUrl::parse(url).err().unwrap().to_string();
            assert!(error.contains(reason) && error.contains("sqlite://path"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn recognises_in_memory_databases() {
        for (url, expected) in [("sqlite::memory:", true), ("sqlite://a/b.db", false), ("sqlite:b.db", false)]
        {
            let Ok(StoreUrl::Sqlite { memory, .. }) = StoreUrl::parse(url) else { panic!("{url}") };
            assert_eq!(memory, expected, "{url}");
        }
    }
}
