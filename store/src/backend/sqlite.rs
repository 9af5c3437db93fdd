//! State in an SQLite file (or in memory): WAL, one connection, writes as whole transactions.
//!
//! Several processes may share a file: every transaction begins with the write lock, so that none has to
//! upgrade a lock, and waits for it up to [`BUSY`].

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteQueryResult,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _, Either, Executor, SqlSafeStr as _, SqlStr};
use wec_startup::{keep_private, private_file};

use super::{
    Answer, Backend, Batch, Beat, CertificateColumns, CertificateRow, ChainRow, ChangedRegistrationRow,
    Ending, Enrolment, ExclusiveRegistrationRow, GivenBack, Granted, NewCertificateRow, NewOrderRow,
    OrderColumns, OrderRow, OwnerRow, RegistrationRow, Released, Standing, Totals, WITH_REGISTRATION, Wanted,
    Written,
    common::{add_totals, backend, issue, prolong},
    exclusive_registration, grant, migrations,
};
use crate::challenge::BoxFuture;
use crate::error::{SQLITE_BUSY, SQLITE_CANTOPEN, SQLITE_NOTADB, StoreError, reason, sqlite_code};
use crate::url::StoreUrl;

const BUSY: Duration = Duration::from_secs(5);
/// How long SQLite works on a small write.
const WORKING: Duration = Duration::from_millis(1);
/// Interval of retries to open a file that another process is creating.
const AGAIN: Duration = Duration::from_millis(20);

/// Rows per statement, largest first: few statements for many rows, and few distinct ones to keep prepared.
const STEPS: [usize; 5] = [128, 32, 8, 2, 1];

/// At least the seconds since 2025, so that two new databases do not use the same names.
const NEXT_OWNER: &str =
    "UPDATE meta SET last_owner = max(last_owner + 1, unixepoch() - 1735689600) RETURNING last_owner";
const CLAIM_REGISTRATIONS: &str = "UPDATE registrations SET owner = ?1 WHERE id IN (SELECT id FROM registrations \
     WHERE ca = ?2 AND owner IS NULL AND exclusive AND NOT gone \
     AND EXISTS (SELECT 1 FROM owners WHERE owners.id = ?1) LIMIT ?3) \
     RETURNING id, url, key, suspect";
const CLAIM_ORDERS: &str = "UPDATE orders SET owner = ?1 WHERE id IN (SELECT id FROM orders \
     WHERE ca = ?2 AND owner IS NULL AND state = 0 AND expires > ?3 \
     AND EXISTS (SELECT 1 FROM owners WHERE owners.id = ?1) LIMIT ?4) \
     RETURNING id, registration, url, finalize_url, names, expires, profile, authorize_ns, suspect";
const CLAIM_CERTIFICATES: &str = "UPDATE certificates SET owner = ?1 WHERE id IN (SELECT id FROM certificates \
     WHERE ca = ?2 AND owner IS NULL AND state = 0 AND not_after > ?3 \
     AND EXISTS (SELECT 1 FROM owners WHERE owners.id = ?1) LIMIT ?4) \
     RETURNING id, registration, issuer, serial, ari_id, names, leaf, chain, key, not_before, not_after, \
     url, suspect";
const END_ORDERS: &str = "UPDATE orders SET state = j.value ->> 1, owner = NULL, note = j.value ->> 3 \
     FROM json_each(?) AS j WHERE orders.id = j.value ->> 0 AND state = 0";
const END_CERTIFICATES: &str = "UPDATE certificates SET state = j.value ->> 1, owner = NULL, \
     reason = j.value ->> 2, note = j.value ->> 3 FROM json_each(?) AS j \
     WHERE certificates.id = j.value ->> 0 AND state = 0";

/// State in SQLite.
pub(crate) struct SqliteBackend {
    pub(super) pool: SqlitePool,
    /// The database ends with its connection, which is therefore never replaced.
    memory: bool,
    /// A transaction of that connection may still be open.
    unended: AtomicBool,
    statements: AtomicU64,
    registrations: Insert,
    orders: Insert,
    chains: Insert,
    certificates: Insert,
}

/// The database's clock in milliseconds since the Unix epoch, common to all processes that use the file.
macro_rules! now_ms {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

/// Tests that a column is one of the ids in this parameter.
macro_rules! among {
    ($parameter:literal) => {
        concat!("IN (SELECT value FROM json_each(", $parameter, "))")
    };
}

fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlite_code) == Some(SQLITE_BUSY)
}

impl SqliteBackend {
    pub(crate) async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        let StoreUrl::Sqlite { memory, options, .. } = url else { unreachable!("chosen by the URL's kind") };
        let options = options
            .as_ref()
            .clone()
            .create_if_missing(true)
            .busy_timeout(BUSY)
            .synchronous(SqliteSynchronous::Normal)
            .journal_mode(if *memory { SqliteJournalMode::Memory } else { SqliteJournalMode::Wal })
            .disable_statement_logging();
        if !*memory && !url.is_read_only() {
            make_private(options.get_filename());
        }
        let refused = |error: sqlx::Error| {
            let store = url.to_string();
            let code = error.as_database_error().and_then(sqlite_code);
            match code {
                Some(SQLITE_NOTADB) => StoreError::NotADatabase { store },
                Some(SQLITE_CANTOPEN) => StoreError::Open { store, reason: error.to_string() },
                _ => StoreError::Failed { store, doing: "open", reason: reason(&error) },
            }
        };
        // One permanent connection: it is the only writer, and a database in memory ends with it.
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false);
        // If two processes convert a new file to WAL at once, one gets "locked" immediately, without the busy
        // timeout: SQLite does not call the busy handler where waiting could be a deadlock.
        let mut tries = BUSY.as_millis() / AGAIN.as_millis();
        let pool = loop {
            match pool.clone().connect_with(options.clone()).await {
                Err(error) if tries > 0 && is_busy(&error) => {
                    tries -= 1;
                    tokio::time::sleep(AGAIN).await;
                }
                other => break other.map_err(refused)?,
            }
        };
        // Two processes may open a new file at once: the second finds it migrated.
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        migrations::run(migrations::SQLITE, &mut *tx, &url.to_string()).await?;
        tx.commit().await.map_err(refused)?;
        Ok(Self {
            pool,
            memory: *memory,
            unended: AtomicBool::new(false),
            statements: AtomicU64::new(0),
            registrations: Insert::new("registrations (id, ca, url, key, contact, exclusive, owner)"),
            orders: Insert::new(
                "orders (id, ca, registration, url, finalize_url, names, expires, profile, authorize_ns, owner)",
            ),
            chains: Insert::new("chains (id, pem)"),
            certificates: Insert::new(
                "certificates (id, ca, registration, issuer, serial, ari_id, names, leaf, chain, key, not_before, \
                 not_after, url, owner)",
            ),
        })
    }

    /// The connection, for a transaction that is about to begin.
    async fn acquire(&self) -> Result<Tx<'_>, sqlx::Error> {
        self.count(2); // BEGIN, and COMMIT or ROLLBACK
        let connection = self.pool.acquire().await?;
        let mut tx = Tx { connection, backend: self, ended: false };
        if self.unended.swap(false, Ordering::Relaxed) {
            // SQLite has probably ended it already and refuses this.
            let _ = tx.execute("ROLLBACK").await;
        }
        Ok(tx)
    }

    /// A transaction that holds the write lock from its beginning.
    pub(super) async fn begin(&self) -> Result<Tx<'_>, sqlx::Error> {
        let mut tx = self.acquire().await?;
        match tx.execute("BEGIN IMMEDIATE").await {
            Ok(()) => Ok(tx),
            Err(error) => {
                // Another process holds the lock: the connection remains usable.
                tx.ended = is_busy(&error);
                Err(error)
            }
        }
    }

    /// Begins a write: extends the lease and stores what is new and what is issued. Returns the numbers of new
    /// registrations, orders and certificates, and of issued orders; none if the owner is no longer registered.
    ///
    /// Each call of SQLite's thread wakes that thread and this task. So a small batch, as a low rate has every 100 ms,
    /// is one call with all statements.
    async fn begin_write(
        &self,
        standing: &Standing,
        batch: &Batch,
    ) -> Result<(Tx<'_>, Option<[u64; 4]>), sqlx::Error> {
        if !Script::holds(batch) {
            let mut tx = self.begin().await?;
            if !self.prolong(&mut tx, standing).await? {
                return Ok((tx, None));
            }
            let [registrations, orders, certificates] = self.insert_all(&mut tx, standing, batch).await?;
            let issued = self.issue(&mut tx, &batch.issued).await?;
            return Ok((tx, Some([registrations, orders, certificates, issued])));
        }
        let Script { sql, arguments, error, statements } = self.script(standing, batch);
        if let Some(error) = error {
            return Err(sqlx::Error::Encode(error));
        }
        let mut tx = self.acquire().await?;
        self.count(statements.len() as u64);
        let mut results = Vec::with_capacity(statements.len() + 1);
        if let Err(error) = tx.run(sql, arguments, &mut results).await {
            // Another process holds the lock: the connection remains usable.
            tx.ended = results.is_empty() && is_busy(&error);
            return Err(error);
        }
        let mut changed = [0; Statement::ALL];
        // The first result is that of BEGIN, which changes nothing, and for which SQLite reports earlier changes.
        let done = results.iter().filter_map(|result| result.as_ref().left()).skip(1);
        for (statement, done) in statements.into_iter().zip(done) {
            changed[statement as usize] = done.rows_affected();
        }
        let [alive, orders, certificates, issued] = changed;
        Ok((tx, (alive == 1).then_some([0, orders, certificates, issued])))
    }

    /// The statements with which the write of a small batch begins.
    fn script(&self, standing: &Standing, batch: &Batch) -> Script {
        let Standing { ca, owner, .. } = *standing;
        let mut script = Script::default();
        script.sql.push_str("BEGIN IMMEDIATE");
        let [registrations, authorizations, certificates] = standing.reserved;
        script.add(Statement::Prolong, prolong!("?", "?", "?", "?", "?", "?"), |row| {
            row.bind(standing.lease_ms)
                .bind(registrations)
                .bind(authorizations)
                .bind(certificates)
                .bind(standing.wants_more)
                .bind(owner);
        });
        if !batch.orders.is_empty() {
            script.add(Statement::Orders, &self.orders.of(batch.orders.len()), |row| {
                batch.orders.iter().for_each(|item| bind_order(row, item, ca, owner));
            });
        }
        if !batch.certificates.is_empty() {
            script.add(Statement::Certificates, &self.certificates.of(batch.certificates.len()), |row| {
                batch.certificates.iter().for_each(|item| bind_certificate(row, item, ca, owner));
            });
        }
        if !batch.issued.is_empty() {
            script.add(Statement::Issue, issue!("?"), |row| {
                row.bind(ids(&batch.issued));
            });
        }
        script
    }

    /// Ends a write: adds its counts to the totals, and commits, in one call. Returns the new totals.
    async fn end_write(
        &self,
        mut tx: Tx<'_>,
        ca: i64,
        counts: [u64; 7],
    ) -> Result<(i64, i64, i64, i64), sqlx::Error> {
        self.count(1);
        let mut arguments = SqliteArguments::default();
        let mut row = Row { arguments: &mut arguments, error: None };
        counts.into_iter().for_each(|count| {
            row.bind(count as i64);
        });
        row.bind(ca);
        if let Some(error) = row.error {
            return Err(sqlx::Error::Encode(error));
        }
        let mut results = Vec::with_capacity(3);
        tx.run(concat!(add_totals!(), "; COMMIT").to_owned(), arguments, &mut results).await?;
        tx.ended = true;
        let totals = results.into_iter().find_map(Either::right).ok_or(sqlx::Error::RowNotFound)?;
        sqlx::FromRow::from_row(&totals)
    }

    /// Inserts rows in large statements; returns the number of new ones.
    async fn insert<T>(
        &self,
        tx: &mut SqliteConnection,
        insert: &Insert,
        rows: &[T],
        bind: impl Fn(&mut Row<'_>, &T),
    ) -> Result<u64, sqlx::Error> {
        let (mut rest, mut inserted) = (rows, 0);
        for (step, sql) in STEPS.into_iter().zip(&insert.sql) {
            while rest.len() >= step {
                let (now, later) = rest.split_at(step);
                rest = later;
                let mut arguments = SqliteArguments::default();
                arguments.reserve(step * insert.columns, 0);
                let mut row = Row { arguments: &mut arguments, error: None };
                now.iter().for_each(|item| bind(&mut row, item));
                if let Some(error) = row.error {
                    return Err(sqlx::Error::Encode(error));
                }
                self.count(1);
                inserted += sqlx::query_with(sql.clone(), arguments).execute(&mut *tx).await?.rows_affected();
            }
        }
        Ok(inserted)
    }

    /// Ends orders or certificates that are still `state = 0`; returns their number.
    async fn end(
        &self,
        tx: &mut SqliteConnection,
        sql: &'static str,
        endings: &[Ending],
    ) -> Result<u64, sqlx::Error> {
        if endings.is_empty() {
            return Ok(0);
        }
        self.count(1);
        let rows: Vec<_> =
            endings.iter().map(|ending| (ending.id, ending.state, ending.reason, &ending.note)).collect();
        let json = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
        Ok(sqlx::query(sql).bind(json).execute(tx).await?.rows_affected())
    }

    /// Inserts all rows of a batch; returns the numbers of new registrations, orders and certificates.
    async fn insert_all(
        &self,
        tx: &mut SqliteConnection,
        standing: &Standing,
        batch: &Batch,
    ) -> Result<[u64; 3], sqlx::Error> {
        let Standing { ca, owner, .. } = *standing;
        let registrations = self
            .insert(tx, &self.registrations, &batch.registrations, |row, item| {
                row.bind(item.id)
                    .bind(ca)
                    .bind(&*item.url)
                    .bind(&*item.key)
                    .bind(&*item.contact)
                    .bind(item.exclusive)
                    .bind(item.owned.then_some(owner));
            })
            .await?;
        let orders = self
            .insert(tx, &self.orders, &batch.orders, |row, item| bind_order(row, item, ca, owner))
            .await?;
        self.insert(tx, &self.chains, &batch.chains, |row, item| {
            row.bind(item.id).bind(&*item.pem);
        })
        .await?;
        let certificates = self
            .insert(tx, &self.certificates, &batch.certificates, |row, item| {
                bind_certificate(row, item, ca, owner);
            })
            .await?;
        Ok([registrations, orders, certificates])
    }

    /// Reserves some of a kind, see [`Backend::reserve`](super::Backend::reserve).
    async fn reserve_some(&self, ca: i64, owner: i64, wanted: Wanted) -> Result<Granted, sqlx::Error> {
        let Wanted { kind, want, limit } = wanted;
        let (left, take) = RESERVE[kind];
        let mut tx = self.begin().await?;
        self.count(2);
        let (made, reserved, owners): (i64, i64, i64) =
            sqlx::query_as(left).bind(ca).fetch_one(&mut *tx).await?;
        let granted = grant(want, limit, made, reserved, owners);
        let done = sqlx::query(take).bind(granted).bind(owner).execute(&mut *tx).await?;
        tx.commit().await?;
        // Another process declared this owner dead. The next heartbeat reports it; until then nothing is
        // granted.
        Ok(Granted { granted: if done.rows_affected() == 1 { granted } else { 0 }, made })
    }
}

backend!(SqliteBackend, SqliteConnection);

/// A transaction. If it does not end normally, its connection is closed.
///
/// SQLite ends a transaction by itself when the disk is full, when memory runs out, and after some other
/// errors. A library that still counts it as open (as sqlx does) could never begin another one on that
/// connection. So sqlx is not used for transactions, and after a failure the next transaction gets a new
/// connection.
pub(super) struct Tx<'a> {
    connection: PoolConnection<sqlx::Sqlite>,
    backend: &'a SqliteBackend,
    ended: bool,
}

impl Tx<'_> {
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT").await?;
        self.ended = true;
        Ok(())
    }

    async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.execute("ROLLBACK").await?;
        self.ended = true;
        Ok(())
    }

    /// Executes all statements of `sql` by one call, and reads all their results.
    ///
    /// SQLite's thread reports each statement, and would wake this task for each. So the results are read a little
    /// later: that is one wake-up.
    async fn run(
        &mut self,
        sql: String,
        arguments: SqliteArguments,
        results: &mut Vec<Either<SqliteQueryResult, SqliteRow>>,
    ) -> Result<(), sqlx::Error> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        let mut all = Executor::fetch_many(&mut *self.connection, query);
        // The first poll makes the call.
        if let Some(first) = all.try_next().now_or_never() {
            results.extend(first?);
        }
        tokio::time::sleep(WORKING).await;
        while let Some(result) = all.try_next().await? {
            results.push(result);
        }
        Ok(())
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(sql).execute(&mut *self.connection).await.map(|_| ())
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.backend.memory {
            self.backend.unended.store(true, Ordering::Relaxed);
        } else {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Tx<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// Private keys are in the file, and in the files that SQLite creates beside it with the same permissions.
fn make_private(file: &Path) {
    // SQLite reports it if the file cannot be created.
    if private_file().write(true).create_new(true).open(file).is_err() {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            keep_private(Path::new(&name), "private keys");
        }
    }
}

/// An `INSERT` in each of [`STEPS`] sizes.
struct Insert {
    columns: usize,
    sql: Vec<SqlStr>,
    target: &'static str,
}

impl Insert {
    /// `target` is the table and its columns, as after `INSERT INTO`.
    ///
    /// Conflicts are ignored: a row with the same id is from an earlier attempt whose answer was lost, and a
    /// certificate with the same serial is reported because it is missing in the result.
    fn new(target: &'static str) -> Self {
        let mut insert = Self { columns: target.split(',').count(), sql: Vec::new(), target };
        insert.sql = STEPS.iter().map(|step| AssertSqlSafe(insert.of(*step)).into_sql_str()).collect();
        insert
    }

    /// An `INSERT` of this many rows.
    fn of(&self, rows: usize) -> String {
        let values = format!("({})", vec!["?"; self.columns].join(","));
        let rows = vec![values.as_str(); rows].join(",");
        format!("INSERT INTO {} VALUES {rows} ON CONFLICT DO NOTHING", self.target)
    }
}

/// The statements with which the write of a small batch begins, after BEGIN.
#[derive(Default)]
struct Script {
    sql: String,
    arguments: SqliteArguments,
    error: Option<sqlx::error::BoxDynError>,
    statements: Vec<Statement>,
}

/// A statement of a script, in the order of execution.
#[derive(Clone, Copy)]
enum Statement {
    Prolong,
    Orders,
    Certificates,
    Issue,
}

impl Statement {
    const ALL: usize = 4;
}

impl Script {
    /// Most rows of a table: scripts of all sizes remain prepared, so there must be few.
    const MOST: usize = 6;

    /// Whether a script can write this: new orders and certificates, and orders that are issued.
    fn holds(batch: &Batch) -> bool {
        let Batch {
            registrations,
            orders,
            chains,
            certificates,
            issued: _,
            failed,
            revoked,
            ended,
            changed,
            gone,
        } = batch;
        orders.len().max(certificates.len()) <= Self::MOST
            && registrations.is_empty()
            && chains.is_empty()
            && failed.is_empty()
            && revoked.is_empty()
            && ended.is_empty()
            && changed.is_empty()
            && gone.is_empty()
    }

    /// Adds a statement. Its parameters have no numbers, which would count from the first statement.
    fn add(&mut self, statement: Statement, sql: &str, bind: impl FnOnce(&mut Row<'_>)) {
        self.sql.push_str("; ");
        self.sql.push_str(sql);
        self.statements.push(statement);
        let mut row = Row { arguments: &mut self.arguments, error: self.error.take() };
        bind(&mut row);
        self.error = row.error;
    }
}

fn bind_order(row: &mut Row<'_>, item: &NewOrderRow, ca: i64, owner: i64) {
    row.bind(item.id)
        .bind(ca)
        .bind(item.registration)
        .bind(&*item.url)
        .bind(&*item.finalize_url)
        .bind(&*item.names)
        .bind(item.expires)
        .bind(&*item.profile)
        .bind(item.authorize_ns)
        .bind(item.owned.then_some(owner));
}

fn bind_certificate(row: &mut Row<'_>, item: &NewCertificateRow, ca: i64, owner: i64) {
    let details = &item.details;
    row.bind(item.id)
        .bind(ca)
        .bind(item.registration)
        .bind(&*details.issuer)
        .bind(&*details.serial)
        .bind(&*details.ari_id)
        .bind(&*item.names)
        .bind(&*details.leaf_der)
        .bind(details.chain.id())
        .bind(&*details.key_pkcs8)
        .bind(details.not_before_unix)
        .bind(details.not_after_unix)
        .bind(&*details.url)
        .bind(item.owned.then_some(owner));
}

/// Adds one row's values to the arguments.
struct Row<'a> {
    arguments: &'a mut SqliteArguments,
    error: Option<sqlx::error::BoxDynError>,
}

impl Row<'_> {
    fn bind<'t, T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
        &mut self,
        value: T,
    ) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.error = Some(error);
        }
        self
    }
}

/// For each kind, queries for what is left below the limit, and the reservation.
const RESERVE: [(&str, &str); 3] = [
    (
        "SELECT registrations_made, (SELECT coalesce(sum(registrations_reserved), 0) FROM owners WHERE ca = cas.id), \
         (SELECT count(*) FROM owners WHERE ca = cas.id) FROM cas WHERE id = ?",
        "UPDATE owners SET registrations_reserved = registrations_reserved + ? WHERE id = ?",
    ),
    (
        "SELECT authorizations_made, (SELECT coalesce(sum(authorizations_reserved), 0) FROM owners WHERE ca = cas.id), \
         (SELECT count(*) FROM owners WHERE ca = cas.id) FROM cas WHERE id = ?",
        "UPDATE owners SET authorizations_reserved = authorizations_reserved + ? WHERE id = ?",
    ),
    (
        "SELECT certificates_made, (SELECT coalesce(sum(certificates_reserved), 0) FROM owners WHERE ca = cas.id), \
         (SELECT count(*) FROM owners WHERE ca = cas.id) FROM cas WHERE id = ?",
        "UPDATE owners SET certificates_reserved = certificates_reserved + ? WHERE id = ?",
    ),
];

/// `[1,2,3]`: one argument for any number of ids.
fn ids(ids: &[i64]) -> String {
    let mut json = String::with_capacity(ids.len() * 20 + 2);
    json.push('[');
    for (n, id) in ids.iter().enumerate() {
        if n > 0 {
            json.push(',');
        }
        json.push_str(&id.to_string());
    }
    json.push(']');
    json
}
