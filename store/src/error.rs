//! What can go wrong with a database of state, told to the person who can do something about it.

/// An error of the state store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is not one of a database that we know.
    #[error(
        "state URL {url:?} is not understood: {reason}; use sqlite://path/to/file, sqlite::memory: or \
         postgres://user:password@host/database"
    )]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is something else.
    #[error("{store} is not an SQLite database; name another file, or move this one away")]
    NotADatabase {
        /// The URL.
        store: String,
    },
    /// The file cannot be opened or created.
    #[error(
        "state database {store} cannot be opened: {reason}; check that its directory exists and can be written to"
    )]
    Open {
        /// The URL.
        store: String,
        /// What SQLite said.
        reason: String,
    },
    /// There is no such file.
    #[error(
        "there is no state database {store}: the file {file} does not exist; name the one that runs used with --state"
    )]
    NotThere {
        /// The URL.
        store: String,
        /// The file.
        file: String,
    },
    /// A process is at it.
    #[error(
        "{processes} process(es) use what {store} holds of {directory}: end them first, or wait 10 s after a kill"
    )]
    InUse {
        /// The URL, without its password.
        store: String,
        /// The CA.
        directory: String,
        /// How many.
        processes: u64,
    },
    /// No PostgreSQL there.
    #[error("PostgreSQL at {store} does not answer: {reason}; check host and port, and that it runs")]
    Unreachable {
        /// The URL, without its password.
        store: String,
        /// What the connection said.
        reason: String,
    },
    /// PostgreSQL does not let us in.
    #[error(
        "PostgreSQL at {store} refused the login: {reason}; check user, password and database in the URL"
    )]
    Login {
        /// The URL, without its password.
        store: String,
        /// What the server said.
        reason: String,
    },
    /// A newer program has migrated the database.
    #[error(
        "state database {store} has schema version {found}, this program knows {known}; use the newer program that \
         made it, or another database"
    )]
    Newer {
        /// The URL, without its password.
        store: String,
        /// The schema's version there.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The database said no.
    #[error("state database {store} failed to {doing}: {reason}")]
    Failed {
        /// The URL, without its password.
        store: String,
        /// What was being attempted.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
    /// A stored value is not what this program writes.
    #[error("state database {store} holds {what} that cannot be used: {reason}")]
    Corrupt {
        /// The URL, without its password.
        store: String,
        /// Which value.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The state was closed while the database refused to take the last changes.
    #[error("{changes} changes could not be written to state database {store} before the end: {reason}")]
    Unwritten {
        /// The URL, without its password.
        store: String,
        /// How many are lost.
        changes: usize,
        /// What the database said last.
        reason: String,
    },
    /// The writer task is gone: its runtime was shut down, or it panicked.
    #[error(
        "the task that writes to state database {store} ended before the state was closed; close it first"
    )]
    WriterGone {
        /// The URL, without its password.
        store: String,
    },
}

/// What a database error means, with the way out where there is a known one.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    let hint = match error {
        sqlx::Error::Database(error) if is_postgres_full(error.as_ref()) => "; free some space there",
        sqlx::Error::Database(error) => match sqlite_code(error.as_ref()) {
            Some(SQLITE_FULL) => "; free some space",
            Some(SQLITE_READONLY) => "; make the file and its directory writable",
            Some(SQLITE_BUSY) => "; another program holds it locked",
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

/// The primary result code (the low byte of the extended one), if SQLite speaks.
pub(crate) fn sqlite_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection, raw_sql};

    use super::*;

    #[tokio::test]
    async fn a_full_disk_says_what_to_do() {
        let mut full = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let fill = "PRAGMA max_page_count = 3; CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(100000));";
        let error = raw_sql(fill).execute(&mut full).await.unwrap_err();
        assert_eq!(error.as_database_error().and_then(sqlite_code), Some(SQLITE_FULL));
        assert!(reason(&error).contains("is full; free some space"), "{}", reason(&error));
    }
}
