//! Keys and values in an SQLite file: several processes of one machine share it, and it outlives them.
//!
//! Each write is a transaction that gets the next version and records its changes in `events`. Other
//! processes check the file's `data_version` every [`POLL`], which only reads shared memory, and read the
//! events after the last one that they have. A lease has an end by the machine's wall clock; every process
//! deletes keys bound to expired leases.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, Sqlite as Database, Transaction};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Answer, KeyEvent, Kv, Lease, LeaseId, Make, Pair, Watcher, Write};
use crate::{BoardError, Connection};

/// Interval of checks of the file.
const POLL: Duration = Duration::from_millis(50);
/// Interval of checks for expired leases.
const EXPIRY: Duration = Duration::from_millis(500);
/// How long a write waits for those of others.
const BUSY: Duration = Duration::from_secs(5);
/// Interval of retries to open a file that another process is creating, or to read one after an error.
const AGAIN: Duration = Duration::from_millis(20);
/// Number of writes whose events are kept for slow readers.
const KEPT: i64 = 10_000;
/// Identifies a file as a board and its format.
const APPLICATION: i64 = 0x7765_6362;
const FORMAT: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE board (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT;
INSERT INTO board VALUES (1, 0);
CREATE TABLE pairs (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, lease INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX pairs_lease ON pairs (lease) WHERE lease IS NOT NULL;
CREATE TABLE leases (id INTEGER PRIMARY KEY AUTOINCREMENT, ends_ms INTEGER NOT NULL) STRICT;
CREATE TABLE events (
    version INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, lease INTEGER, PRIMARY KEY (version, key)
) STRICT, WITHOUT ROWID;
";
/// The machine's clock, common to all processes that use the file.
macro_rules! now_ms {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

#[derive(Debug)]
pub(crate) struct Sqlite {
    file: Arc<File>,
    /// One connection: writes wait for each other here instead of in SQLite.
    pool: SqlitePool,
    lease: Duration,
    /// Notified by a write of this process.
    written: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct File {
    path: String,
    options: SqliteConnectOptions,
}

impl File {
    fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> BoardError {
        move |error| BoardError::File { path: self.path.clone(), doing, reason: error.to_string() }
    }
}

impl Sqlite {
    /// Opens the file, and creates it if there is none.
    pub(crate) async fn open(path: &Path, lease: Duration) -> Result<Self, BoardError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        let file = Arc::new(File { path: path.display().to_string(), options });
        let doing = "opening it";
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        // SQLite refuses at once to convert a file to WAL while another process does it: waiting could be a
        // deadlock.
        let mut tries = BUSY.as_millis() / AGAIN.as_millis();
        let pool = loop {
            match pool.clone().connect_with(file.options.clone()).await {
                Err(error) if tries > 0 && error.to_string().contains("database is locked") => {
                    tries -= 1;
                    sleep(AGAIN).await;
                }
                opened => break opened.map_err(file.failed(doing))?,
            }
        };
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(file.failed(doing))?;
        let made = prepare(&mut tx).await.map_err(file.failed(doing))?;
        if !made {
            return Err(BoardError::NotABoard { path: file.path.clone() });
        }
        end_leases(&mut tx, None).await.map_err(file.failed(doing))?;
        tx.commit().await.map_err(file.failed(doing))?;
        Ok(Self {
            file,
            pool,
            lease,
            written: Arc::new(Notify::new()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }
}

/// Creates missing tables; returns whether the file is a board.
async fn prepare(tx: &mut Transaction<'_, Database>) -> Result<bool, sqlx::Error> {
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut **tx).await?;
    if tables > 0 {
        let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut **tx).await?;
        let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut **tx).await?;
        return Ok((application, format) == (APPLICATION, FORMAT));
    }
    let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};");
    sqlx::raw_sql(AssertSqlSafe(format!("{SCHEMA}{marks}"))).execute(&mut **tx).await?;
    Ok(true)
}

/// The version of the current write.
async fn next_version(tx: &mut Transaction<'_, Database>) -> Result<i64, sqlx::Error> {
    let version = "UPDATE board SET version = version + 1 RETURNING version";
    let version: i64 = sqlx::query_scalar(version).fetch_one(&mut **tx).await?;
    sqlx::query("DELETE FROM events WHERE version <= ?").bind(version - KEPT).execute(&mut **tx).await?;
    Ok(version)
}

/// Ends a lease and all expired ones, and deletes the keys bound to them.
async fn end_leases(tx: &mut Transaction<'_, Database>, lease: Option<LeaseId>) -> Result<(), sqlx::Error> {
    let ended = concat!("DELETE FROM leases WHERE id = ? OR ends_ms <= ", now_ms!());
    sqlx::query(ended).bind(lease).execute(&mut **tx).await?;
    let unbound = "SELECT key FROM pairs WHERE lease IS NOT NULL AND lease NOT IN (SELECT id FROM leases)";
    let keys: Vec<String> = sqlx::query_scalar(unbound).fetch_all(&mut **tx).await?;
    if keys.is_empty() {
        return Ok(());
    }
    let version = next_version(tx).await?;
    for key in keys {
        sqlx::query("DELETE FROM pairs WHERE key = ?").bind(&key).execute(&mut **tx).await?;
        let event = "INSERT INTO events (version, key) VALUES (?, ?)";
        sqlx::query(event).bind(version).bind(key).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn write(tx: &mut Transaction<'_, Database>, writes: &[Write]) -> Result<Option<u64>, sqlx::Error> {
    for Write { key, after, .. } in writes {
        let there = sqlx::query_scalar("SELECT version FROM pairs WHERE key = ?").bind(key);
        let there: Option<i64> = there.fetch_optional(&mut **tx).await?;
        if after.is_some_and(|after| after != there.unwrap_or(0).unsigned_abs()) {
            return Ok(None);
        }
    }
    let version = next_version(tx).await?;
    for Write { key, make, lease, .. } in writes {
        let (made, value) = match make {
            Make::Value(value) => {
                let put = "INSERT OR REPLACE INTO pairs (key, value, version, lease) VALUES (?, ?, ?, ?)";
                let put = sqlx::query(put).bind(key).bind(value).bind(version).bind(lease);
                (put.execute(&mut **tx).await?, Some(value))
            }
            Make::Nothing => {
                let delete = sqlx::query("DELETE FROM pairs WHERE key = ?").bind(key);
                (delete.execute(&mut **tx).await?, None)
            }
            Make::Same => continue,
        };
        if made.rows_affected() > 0 {
            let event = "INSERT INTO events (key, value, version, lease) VALUES (?, ?, ?, ?)";
            sqlx::query(event).bind(key).bind(value).bind(version).bind(lease).execute(&mut **tx).await?;
        }
    }
    Ok(Some(version.unsigned_abs()))
}

fn pair(row: &SqliteRow) -> Result<Pair, sqlx::Error> {
    let version: i64 = row.try_get("version")?;
    Ok(Pair {
        key: row.try_get("key")?,
        value: row.try_get("value")?,
        version: version.unsigned_abs(),
        lease: row.try_get("lease")?,
    })
}

/// All pairs whose keys begin with `prefix`.
async fn list(connection: &mut SqliteConnection, prefix: &str) -> Result<Vec<Pair>, sqlx::Error> {
    let rows =
        sqlx::query("SELECT * FROM pairs WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key").bind(prefix);
    rows.fetch_all(connection).await?.iter().map(pair).collect()
}

impl Sqlite {
    /// A transaction that holds the write lock from its beginning.
    async fn begin(&self, doing: &'static str) -> Result<Transaction<'_, Database>, BoardError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(self.file.failed(doing))
    }

    async fn commit(&self, tx: Transaction<'_, Database>, doing: &'static str) -> Result<(), BoardError> {
        tx.commit().await.map_err(self.file.failed(doing))?;
        self.written.notify_waiters();
        Ok(())
    }
}

impl Kv for Sqlite {
    fn list<'a>(&'a self, prefix: &'a str, doing: &'static str) -> Answer<'a, Vec<Pair>> {
        Box::pin(async move {
            let mut connection = self.pool.acquire().await.map_err(self.file.failed(doing))?;
            list(&mut connection, prefix).await.map_err(self.file.failed(doing))
        })
    }

    fn get<'a>(&'a self, key: &'a str, doing: &'static str) -> Answer<'a, Option<Pair>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM pairs WHERE key = ?").bind(key);
            let row = row.fetch_optional(&self.pool).await.map_err(self.file.failed(doing))?;
            row.as_ref().map(pair).transpose().map_err(self.file.failed(doing))
        })
    }

    fn write_if(&self, writes: Vec<Write>, doing: &'static str) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let mut tx = self.begin(doing).await?;
            let written = write(&mut tx, &writes).await.map_err(self.file.failed(doing))?;
            self.commit(tx, doing).await?;
            Ok(written)
        })
    }

    fn lease(&self, doing: &'static str) -> Answer<'_, Lease> {
        Box::pin(async move {
            let length = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
            let mut tx = self.begin(doing).await?;
            end_leases(&mut tx, None).await.map_err(self.file.failed(doing))?;
            let granted = concat!("INSERT INTO leases (ends_ms) VALUES (", now_ms!(), " + ?) RETURNING id");
            let id = sqlx::query_scalar(granted).bind(length).fetch_one(&mut *tx).await;
            let id = id.map_err(self.file.failed(doing))?;
            self.commit(tx, doing).await?;
            Ok(Lease { id, length: Some(self.lease) })
        })
    }

    fn renew(&self, lease: LeaseId) -> Answer<'_, bool> {
        Box::pin(async move {
            let length = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
            let renewed = concat!(
                "UPDATE leases SET ends_ms = ",
                now_ms!(),
                " + ? WHERE id = ? AND ends_ms > ",
                now_ms!()
            );
            let renewed = sqlx::query(renewed).bind(length).bind(lease).execute(&self.pool).await;
            Ok(renewed.map_err(self.file.failed("renewing a node's presence"))?.rows_affected() > 0)
        })
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            let doing = "leaving the board";
            let mut tx = self.begin(doing).await?;
            end_leases(&mut tx, Some(lease)).await.map_err(self.file.failed(doing))?;
            self.commit(tx, doing).await
        })
    }

    fn watch<'a>(&'a self, prefix: &'static str, watcher: Arc<dyn Watcher>) -> Answer<'a, ()> {
        Box::pin(async move {
            let doing = "reading the board";
            let look = SqliteConnection::connect_with(&self.file.options).await;
            let look = look.map_err(self.file.failed(doing))?;
            let (file, pool, written) = (self.file.clone(), self.pool.clone(), self.written.clone());
            let mut follower = Follower { file, pool, look, written, prefix, watcher, data: 0, seen: None };
            follower.follow().await.map_err(self.file.failed(doing))?;
            self.tasks.spawn(follower.run(self.stop.clone()));
            Ok(())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            self.pool.close().await;
            Ok(())
        })
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task that passes the file's writes to a watcher.
struct Follower {
    file: Arc<File>,
    /// For its own writes.
    pool: SqlitePool,
    /// Its own connection, because `data_version` does not count writes of the same connection.
    look: SqliteConnection,
    written: Arc<Notify>,
    prefix: &'static str,
    watcher: Arc<dyn Watcher>,
    /// The file's `data_version` at the last read.
    data: i64,
    /// The last version that the watcher has received.
    seen: Option<i64>,
}

impl Follower {
    /// Follows until stopped.
    async fn run(mut self, stop: CancellationToken) {
        let written = self.written.clone();
        let following = async {
            let mut expired = Instant::now();
            loop {
                // In both cases there may be something new.
                let _ = timeout(POLL, written.notified()).await;
                let mut seen = self.follow().await;
                if seen.is_ok() && expired.elapsed() >= EXPIRY {
                    expired = Instant::now();
                    seen = self.expire().await;
                }
                match seen {
                    Ok(()) => self.watcher.set_connection(Connection::Connected),
                    Err(error) => {
                        let reason = self.file.failed("reading the board")(error).to_string();
                        tracing::debug!(%reason, "the board cannot be reached: continuing with the last known state");
                        self.watcher.set_connection(Connection::Lost { reason });
                        sleep(AGAIN).await;
                    }
                }
            }
        };
        let _ = stop.run_until_cancelled(following).await;
        let _ = self.look.close().await;
    }

    /// Delivers the writes since the last check.
    async fn follow(&mut self) -> Result<(), sqlx::Error> {
        let data: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.look).await?;
        if self.seen.is_some() && data == self.data {
            return Ok(());
        }
        // Everything is read from one moment.
        let mut tx = self.look.begin().await?;
        let version: i64 = sqlx::query_scalar("SELECT version FROM board").fetch_one(&mut *tx).await?;
        match self.seen {
            Some(seen) if version - seen <= KEPT => {
                let rows =
                    sqlx::query("SELECT * FROM events WHERE version > ? ORDER BY version, key").bind(seen);
                let rows = rows.fetch_all(&mut *tx).await?;
                let events = rows.iter().map(event).collect::<Result<Vec<_>, _>>()?;
                for written in events.chunk_by(|one, next| one.version() == next.version()) {
                    let watched = written.iter().filter(|event| event.key().starts_with(self.prefix));
                    self.watcher.show(&watched.cloned().collect::<Vec<_>>());
                }
            }
            missed => {
                let pairs = list(&mut tx, self.prefix).await?;
                self.watcher.show_all(&pairs, missed.map(i64::unsigned_abs));
            }
        }
        tx.commit().await?;
        (self.seen, self.data) = (Some(version), data);
        Ok(())
    }

    /// Ends expired leases.
    async fn expire(&mut self) -> Result<(), sqlx::Error> {
        let ended = concat!("SELECT count(*) FROM leases WHERE ends_ms <= ", now_ms!());
        let ended: i64 = sqlx::query_scalar(ended).fetch_one(&mut self.look).await?;
        if ended > 0 {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            end_leases(&mut tx, None).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

fn event(row: &SqliteRow) -> Result<KeyEvent, sqlx::Error> {
    let value: Option<Vec<u8>> = row.try_get("value")?;
    if value.is_some() {
        return pair(row).map(KeyEvent::Put);
    }
    let version: i64 = row.try_get("version")?;
    Ok(KeyEvent::Deleted { key: row.try_get("key")?, version: version.unsigned_abs() })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What the watcher received, as text.
    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Watcher for Seen {
        fn show_all(&self, pairs: &[Pair], missed: Option<u64>) {
            let keys: Vec<_> = pairs.iter().map(|pair| pair.key.as_str()).collect();
            self.0.lock().unwrap().push(format!("all after {missed:?}: {}", keys.join(" ")));
        }

        fn show(&self, events: &[KeyEvent]) {
            let keys: Vec<_> = events.iter().map(KeyEvent::key).collect();
            self.0.lock().unwrap().push(keys.join(" "));
        }

        fn set_connection(&self, _: Connection) {}
    }

    #[tokio::test]
    async fn a_watcher_that_missed_events_receives_the_present_state() {
        let folder = tempfile::tempdir().unwrap();
        let kv = Sqlite::open(&folder.path().join("board.db"), POLL).await.unwrap();
        let put = |key: &str| vec![Write::put(key.to_owned(), Some(0), Vec::new())];
        kv.write_if(put("v1/a"), "").await.unwrap();
        let watcher = Arc::new(Seen::default());
        let mut late = Follower {
            file: kv.file.clone(),
            pool: kv.pool.clone(),
            look: SqliteConnection::connect_with(&kv.file.options).await.unwrap(),
            written: kv.written.clone(),
            prefix: "v1/",
            watcher: watcher.clone(),
            data: 0,
            seen: Some(0),
        };
        late.follow().await.unwrap();
        sqlx::query("UPDATE board SET version = version + ?").bind(KEPT).execute(&kv.pool).await.unwrap();
        for key in ["v1/b", "elsewhere"] {
            kv.write_if(put(key), "").await.unwrap();
        }
        late.follow().await.unwrap();
        late.follow().await.unwrap();
        assert_eq!(*watcher.0.lock().unwrap(), ["v1/a", "all after Some(1): v1/a v1/b"]);
        late.look.close().await.unwrap();
        kv.close().await.unwrap();
    }
}
