//! Errors of the state store, with their remedies.

/// An error of the state store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is not that of a supported database.
    #[error(
        "state URL {url:?} is not valid: {reason}; use sqlite://path/to/file, sqlite::memory: or \
         postgres://user:password@host/database"
    )]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not an SQLite database.
    #[error("{store} is not an SQLite database; name another file, or move this one away")]
    NotADatabase {
        /// The URL.
        store: String,
    },
    /// The file cannot be opened or created.
    #[error(
        "state database {store} cannot be opened: {reason}; check that its directory exists and is writable"
    )]
    Open {
        /// The URL.
        store: String,
        /// SQLite's error.
        reason: String,
    },
    /// The file does not exist.
    #[error(
        "there is no state database {store}: the file {file} does not exist; name the one that runs used with --state"
    )]
    NotThere {
        /// The URL.
        store: String,
        /// The file.
        file: String,
    },
    /// A process uses the CA's objects.
    #[error(
        "{processes} process(es) use what {store} holds of {directory}: end them first, or wait 10 s after a kill"
    )]
    InUse {
        /// The URL, without its password.
        store: String,
        /// The CA.
        directory: String,
        /// Number of processes.
        processes: u64,
    },
    /// There is no PostgreSQL server.
    #[error("PostgreSQL at {store} does not answer: {reason}; check host and port, and that it runs")]
    Unreachable {
        /// The URL, without its password.
        store: String,
        /// The connection's error.
        reason: String,
    },
    /// PostgreSQL refused the login.
    #[error(
        "PostgreSQL at {store} refused the login: {reason}; check user, password and database in the URL"
    )]
    Login {
        /// The URL, without its password.
        store: String,
        /// The server's error.
        reason: String,
    },
    /// A newer program has migrated the database.
    #[error(
        "state database {store} has schema version {found}, this program reads {known}; use the newer program that \
         made it, or another database"
    )]
    Newer {
        /// The URL, without its password.
        store: String,
        /// The schema version of the database.
        found: i64,
        /// The newest version known to this program.
        known: i64,
    },
    /// The database returned an error.
    #[error("state database {store} failed to {doing}: {reason}")]
    Failed {
        /// The URL, without its password.
        store: String,
        /// What was being attempted.
        doing: &'static str,
        /// The database's error.
        reason: String,
    },
    /// A stored value is invalid.
    #[error("state database {store} holds {what} that cannot be used: {reason}")]
    Corrupt {
        /// The URL, without its password.
        store: String,
        /// The value.
        what: String,
        /// The reason.
        reason: String,
    },
    /// The state was closed while the database refused the last changes.
    #[error("cannot write the last {changes} changes to state database {store}: {reason}")]
    Unwritten {
        /// The URL, without its password.
        store: String,
        /// Number of lost changes.
        changes: usize,
        /// The database's last error.
        reason: String,
    },
    /// The writer task has ended: its runtime was shut down, or it panicked.
    #[error(
        "the task that writes to state database {store} ended before the state was closed; close it first"
    )]
    WriterGone {
        /// The URL, without its password.
        store: String,
    },
}

/// The text of a database error, with the remedy if there is a known one.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    let hint = match error {
        sqlx::Error::Database(error) if is_postgres_full(error.as_ref()) => "; free some space there",
        sqlx::Error::Database(error) => match sqlite_code(error.as_ref()) {
            Some(SQLITE_FULL) => "; free some space",
            Some(SQLITE_READONLY) => "; make the file and its directory writable",
            Some(SQLITE_BUSY) => "; another program has it locked",
            _ => "",
        },
        _ => "",
    };
    format!("{error}{hint}")
}

fn is_postgres_full(error: &dyn sqlx::error::DatabaseError) -> bool {
    // Class 53, insufficient resources.
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some_and(|error| error.code() == "53100")
}

pub(crate) const SQLITE_BUSY: u32 = 5;
const SQLITE_READONLY: u32 = 8;
const SQLITE_FULL: u32 = 13;
pub(crate) const SQLITE_CANTOPEN: u32 = 14;
pub(crate) const SQLITE_NOTADB: u32 = 26;

/// SQLite's primary result code (the low byte of the extended one); none for another database.
pub(crate) fn sqlite_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection, raw_sql};

    use super::*;

    #[tokio::test]
    async fn the_message_for_a_full_disk_has_a_remedy() {
        let mut full = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let fill = "PRAGMA max_page_count = 3; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(100000));";
        let error = raw_sql(fill).execute(&mut full).await.unwrap_err();
        assert_eq!(error.as_database_error().and_then(sqlite_code), Some(SQLITE_FULL));
        assert!(reason(&error).contains("is full; free some space"), "{}", reason(&error));
    }
}
