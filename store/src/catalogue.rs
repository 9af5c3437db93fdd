//! The contents of a state database per CA, for `wec state`.

use wec_acme::Clock;

use crate::backend::{self, Catalogued};
use crate::error::{StoreError, reason};
use crate::url::StoreUrl;

/// A state database, outside of any run.
pub struct Catalogue {
    pub(crate) store: String,
    pub(crate) backend: Box<dyn Catalogued>,
}

/// The stored objects of one CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCa {
    pub(crate) id: i64,
    /// The directory's URL, with a note after it if the CA was set aside.
    pub directory: String,
    /// Accounts.
    pub registrations: u64,
    /// Orders that are ready to finalize.
    pub authorizations: u64,
    /// Certificates that are neither revoked nor replaced.
    pub certificates: u64,
    /// Certificates revoked.
    pub revoked: u64,
    /// Processes that use it now.
    pub processes: u64,
    /// Accounts, ready orders and certificates that were ever made: what limits count.
    pub made: [u64; 3],
}

impl Catalogue {
    /// Opens the existing database at `url`.
    ///
    /// # Errors
    /// When it cannot be opened. The message has the remedy.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let url = StoreUrl::parse(url)?;
        if let Some(file) = url.file().filter(|file| !file.exists()) {
            return Err(StoreError::NotThere { store: url.to_string(), file: file.display().to_string() });
        }
        Ok(Self { store: url.to_string(), backend: backend::open_catalogued(&url).await? })
    }

    /// All CAs, in the order in which they were first stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> Result<Vec<StoredCa>, StoreError> {
        let rows = self.backend.stored().await.map_err(|error| self.failed("list what it holds", &error))?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let stored = rows.into_iter().map(
            |(id, directory, registrations, authorizations, certificates, revoked, processes, a, b, c)| {
                StoredCa {
                    id,
                    directory,
                    registrations: count(registrations),
                    authorizations: count(authorizations),
                    certificates: count(certificates),
                    revoked: count(revoked),
                    processes: count(processes),
                    made: [a, b, c].map(count),
                }
            },
        );
        Ok(stored.collect())
    }

    /// Sets aside all objects of the CA at `directory`: the next run starts empty, and nothing is deleted.
    /// Returns the name under which they are kept; none when nothing is stored, or another process was first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_aside(&self, directory: &str, clock: Clock) -> Result<Option<String>, StoreError> {
        let Some(found) = self.list().await?.into_iter().find(|stored| stored.directory == directory) else {
            return Ok(None);
        };
        let name = format!("{directory} (set aside {}, number {})", date(clock.unix_now()), found.id);
        let renamed = self.backend.rename(found.id, directory, &name).await;
        Ok(renamed.map_err(|error| self.failed("set aside", &error))?.then_some(name))
    }

    /// Deletes all objects of one CA.
    ///
    /// # Errors
    /// When a process uses it, or the database fails.
    pub async fn forget(&self, stored: &StoredCa) -> Result<(), StoreError> {
        if stored.processes > 0 {
            return Err(StoreError::InUse {
                store: self.store.clone(),
                directory: stored.directory.clone(),
                processes: stored.processes,
            });
        }
        self.backend.delete(stored.id).await.map_err(|error| self.failed("delete", &error))
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.backend.close().await;
    }

    pub(crate) fn failed(&self, doing: &'static str, error: &sqlx::Error) -> StoreError {
        StoreError::Failed { store: self.store.clone(), doing, reason: reason(error) }
    }
}

/// A day of the Gregorian calendar, from seconds since the Unix epoch: `2026-11-28`.
fn date(unix: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(unix)
        .map_or_else(|_| unix.to_string(), |at| at.date().to_string())
}
