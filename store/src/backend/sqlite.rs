//! State in an SQLite file (or in memory): WAL, one connection, writes as whole transactions.
//!
//! Several processes may share a file: every transaction begins as a writer, so that none meets a lock half-way, and
//! waits its turn for up to [`BUSY`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _, SqlSafeStr as _, SqlStr, Transaction};

use super::{
    Answer, Backend, Batch, Beat, CertificateColumns, CertificateRow, ChainRow, Ending, Enrolment, GivenBack,
    Granted, OrderColumns, OrderRow, OwnerRow, RegistrationRow, Released, Standing, Totals,
    WITH_REGISTRATION, Written, grant, migrations,
};
use crate::challenge::BoxFuture;
use crate::error::{SQLITE_BUSY, SQLITE_CANTOPEN, SQLITE_NOTADB, StoreError, reason, sqlite_code};
use crate::state::StoreUrl;

const BUSY: Duration = Duration::from_secs(5);
/// Between two tries to open a file that another process is just making.
const AGAIN: Duration = Duration::from_millis(20);

/// Rows a statement, largest first: few statements for many rows, and few distinct ones to keep prepared.
const STEPS: [usize; 4] = [128, 32, 8, 1];

const END_ORDERS: &str = "UPDATE orders SET state = j.value ->> 1, owner = NULL, note = j.value ->> 3 \
     FROM json_each(?) AS j WHERE orders.id = j.value ->> 0 AND state = 0";
const END_CERTIFICATES: &str = "UPDATE certificates SET state = j.value ->> 1, owner = NULL, \
     reason = j.value ->> 2, note = j.value ->> 3 FROM json_each(?) AS j \
     WHERE certificates.id = j.value ->> 0 AND state = 0";

/// State in SQLite.
pub(crate) struct SqliteBackend {
    pool: SqlitePool,
    statements: AtomicU64,
    registrations: Insert,
    orders: Insert,
    chains: Insert,
    certificates: Insert,
}

/// The database's clock in milliseconds since the Unix epoch; the same for all who share the file.
macro_rules! now_ms {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
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
        let refused = |error: sqlx::Error| {
            let store = url.to_string();
            let code = error.as_database_error().and_then(sqlite_code);
            match code {
                Some(SQLITE_NOTADB) => StoreError::NotADatabase { store },
                Some(SQLITE_CANTOPEN) => StoreError::Open { store, reason: error.to_string() },
                _ => StoreError::Failed { store, doing: "open", reason: reason(&error) },
            }
        };
        // One connection for ever: it is the one writer, and a database in memory lives and dies with it.
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false);
        // Whoever turns a new file to WAL while another process does the same is told "locked" at once, whatever the
        // busy timeout says: SQLite asks no busy handler where waiting could be a deadlock.
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
        // Two processes may open a new file at once: the second finds the work done.
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
        migrations::run(migrations::SQLITE, &mut *tx, &url.to_string()).await?;
        tx.commit().await.map_err(refused)?;
        Ok(Self {
            pool,
            statements: AtomicU64::new(0),
            registrations: Insert::new("registrations (id, ca, url, key, contact)"),
            orders: Insert::new("orders (id, ca, registration, url, finalize_url, names, expires, owner)"),
            chains: Insert::new("chains (id, pem)"),
            certificates: Insert::new(
                "certificates (id, ca, registration, issuer, serial, ari_id, names, leaf, chain, key, not_before, \
                 not_after, owner)",
            ),
        })
    }

    fn count(&self, statements: u64) {
        self.statements.fetch_add(statements, Ordering::Relaxed);
    }

    /// A transaction that holds the write lock from its beginning.
    async fn begin(&self) -> Result<Transaction<'static, sqlx::Sqlite>, sqlx::Error> {
        self.count(2); // and its COMMIT or ROLLBACK
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// Whether the owner is still signed in; prolongs its lease.
    async fn prolong(&self, tx: &mut SqliteConnection, standing: &Standing) -> Result<bool, sqlx::Error> {
        self.count(1);
        let [registrations, authorizations, certificates] = standing.reserved;
        let done = sqlx::query(concat!(
            "UPDATE owners SET expires_ms = ",
            now_ms!(),
            " + ?, registrations_reserved = ?, authorizations_reserved = ?, certificates_reserved = ?, hungry = ? \
             WHERE id = ?"
        ))
        .bind(standing.lease_ms)
        .bind(registrations)
        .bind(authorizations)
        .bind(certificates)
        .bind(standing.hungry)
        .bind(standing.owner)
        .execute(tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Inserts rows in large statements; returns how many were new.
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

    /// Ends orders or certificates that are still `state = 0`; returns how many were.
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

    /// Marks registrations as gone, and ends what nobody has claimed of theirs; returns how many of each.
    async fn forget(&self, tx: &mut SqliteConnection, ids: &[i64]) -> Result<(u64, Released), sqlx::Error> {
        if ids.is_empty() {
            return Ok((0, Released::default()));
        }
        self.count(3);
        let gone = sqlx::query(
            "UPDATE registrations SET gone = TRUE WHERE id IN (SELECT value FROM json_each(?1)) AND NOT gone",
        )
        .bind(json_ids(ids))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let mut ended = [0; 2];
        for (ended, sql) in ended.iter_mut().zip([
            "UPDATE orders SET state = 2, note = ?2 \
             WHERE registration IN (SELECT value FROM json_each(?1)) AND owner IS NULL AND state = 0",
            "UPDATE certificates SET state = 3, note = ?2 \
             WHERE registration IN (SELECT value FROM json_each(?1)) AND owner IS NULL AND state = 0",
        ]) {
            *ended = sqlx::query(sql)
                .bind(json_ids(ids))
                .bind(WITH_REGISTRATION)
                .execute(&mut *tx)
                .await?
                .rows_affected();
        }
        let [orders, certificates] = ended;
        Ok((gone, Released { orders, certificates }))
    }
}

/// An `INSERT` in each of [`STEPS`] sizes.
struct Insert {
    columns: usize,
    sql: Vec<SqlStr>,
}

impl Insert {
    /// `target` is the table and its columns, as after `INSERT INTO`.
    ///
    /// Conflicts are passed over: a row of the same id is ours from a write whose answer was lost, and a certificate
    /// of the same serial is reported by its absence.
    fn new(target: &str) -> Self {
        let columns = target.split(',').count();
        let values = format!("({})", vec!["?"; columns].join(","));
        let sql = STEPS.map(|step| {
            let rows = vec![values.as_str(); step].join(",");
            let sql: std::sync::Arc<str> =
                format!("INSERT INTO {target} VALUES {rows} ON CONFLICT DO NOTHING").into();
            AssertSqlSafe(sql).into_sql_str()
        });
        Self { columns, sql: sql.into() }
    }
}

/// One row's values on their way into the arguments.
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

impl Backend for SqliteBackend {
    fn enrol<'a>(&'a self, directory: &'a str, place: &'a str, lease_ms: i64) -> Answer<'a, Enrolment> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            self.count(4);
            sqlx::query("INSERT INTO cas (directory) VALUES (?) ON CONFLICT DO NOTHING")
                .bind(directory)
                .execute(&mut *tx)
                .await?;
            let ca = sqlx::query_scalar("SELECT id FROM cas WHERE directory = ?")
                .bind(directory)
                .fetch_one(&mut *tx)
                .await?;
            // At least the seconds since 2025: two fresh databases do not give out the same names.
            let owner = sqlx::query_scalar(
                "UPDATE meta SET last_owner = max(last_owner + 1, unixepoch() - 1735689600) RETURNING last_owner",
            )
            .fetch_one(&mut *tx)
            .await?;
            sqlx::query(concat!(
                "INSERT INTO owners (id, ca, place, expires_ms) VALUES (?, ?, ?, ",
                now_ms!(),
                " + ?)"
            ))
            .bind::<i64>(owner)
            .bind::<i64>(ca)
            .bind(place)
            .bind(lease_ms)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(Enrolment { ca, owner })
        })
    }

    fn beat<'a>(&'a self, standing: &'a Standing) -> Answer<'a, Beat> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let alive = self.prolong(&mut tx, standing).await?;
            self.count(2);
            let totals: (i64, i64, i64, i64) = sqlx::query_as(
                "SELECT registrations_made - registrations_gone, orders_ready, certificates_live, certificates_revoked FROM cas WHERE id = ?",
            )
            .bind(standing.ca)
            .fetch_one(&mut *tx)
            .await?;
            let others: Vec<i64> =
                sqlx::query_scalar("SELECT hungry FROM owners WHERE ca = ? AND id <> ? AND hungry <> 0")
                    .bind(standing.ca)
                    .bind(standing.owner)
                    .fetch_all(&mut *tx)
                    .await?;
            tx.commit().await?;
            let others_hungry = others.into_iter().fold(0, |all, one| all | one);
            Ok(Beat { alive, totals: totals.into(), others_hungry })
        })
    }

    fn write<'a>(&'a self, standing: &'a Standing, batch: &'a Batch) -> Answer<'a, Written> {
        Box::pin(async move {
            let Standing { ca, owner, .. } = *standing;
            let mut tx = self.begin().await?;
            if !self.prolong(&mut tx, standing).await? {
                tx.rollback().await?;
                return Ok(Written::Expelled);
            }
            let registrations = self
                .insert(&mut tx, &self.registrations, &batch.registrations, |row, item| {
                    row.bind(item.id).bind(ca).bind(&*item.url).bind(&*item.key).bind(&*item.contact);
                })
                .await?;
            let orders = self
                .insert(&mut tx, &self.orders, &batch.orders, |row, item| {
                    row.bind(item.id)
                        .bind(ca)
                        .bind(item.registration)
                        .bind(&*item.url)
                        .bind(&*item.finalize_url)
                        .bind(&*item.names)
                        .bind(item.expires)
                        .bind(item.owned.then_some(owner));
                })
                .await?;
            self.insert(&mut tx, &self.chains, &batch.chains, |row, item| {
                row.bind(item.id).bind(&*item.pem);
            })
            .await?;
            let certificates = self
                .insert(&mut tx, &self.certificates, &batch.certificates, |row, item| {
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
                        .bind(item.owned.then_some(owner));
                })
                .await?;
            let mut duplicates = Vec::new();
            if certificates < batch.certificates.len() as u64 {
                let ids: Vec<i64> = batch.certificates.iter().map(|row| row.id).collect();
                self.count(1);
                let stored: Vec<i64> = sqlx::query_scalar(
                    "SELECT id FROM certificates WHERE id IN (SELECT value FROM json_each(?))",
                )
                .bind(json_ids(&ids))
                .fetch_all(&mut *tx)
                .await?;
                duplicates = ids.into_iter().filter(|id| !stored.contains(id)).collect();
            }
            let mut issued = 0;
            if !batch.issued.is_empty() {
                self.count(1);
                issued = sqlx::query(
                    "UPDATE orders SET state = 1, owner = NULL \
                     WHERE id IN (SELECT value FROM json_each(?)) AND state = 0",
                )
                .bind(json_ids(&batch.issued))
                .execute(&mut *tx)
                .await?
                .rows_affected();
            }
            let failed = self.end(&mut tx, END_ORDERS, &batch.failed).await?;
            let revoked = self.end(&mut tx, END_CERTIFICATES, &batch.revoked).await?;
            let ended = self.end(&mut tx, END_CERTIFICATES, &batch.ended).await?;
            let (gone, with_registration) = self.forget(&mut tx, &batch.gone).await?;
            self.count(1);
            let totals: (i64, i64, i64, i64) = sqlx::query_as(
                "UPDATE cas SET registrations_made = registrations_made + ?1, \
                 authorizations_made = authorizations_made + ?2, certificates_made = certificates_made + ?3, \
                 orders_ready = orders_ready + ?2 - ?4, certificates_live = certificates_live + ?3 - ?5, \
                 certificates_revoked = certificates_revoked + ?6, \
                 registrations_gone = registrations_gone + ?8 WHERE id = ?7 \
                 RETURNING registrations_made - registrations_gone, orders_ready, certificates_live, \
                 certificates_revoked",
            )
            .bind(registrations as i64)
            .bind(orders as i64)
            .bind(certificates as i64)
            .bind((issued + failed + with_registration.orders) as i64)
            .bind((revoked + ended + with_registration.certificates) as i64)
            .bind(revoked as i64)
            .bind(ca)
            .bind(gone as i64)
            .fetch_one(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok(Written::Stored { totals: Totals::from(totals), duplicates })
        })
    }

    fn reserve<'a>(&'a self, ca: i64, owner: i64, kind: usize, want: i64, limit: i64) -> Answer<'a, Granted> {
        Box::pin(async move {
            let (left, take) = RESERVE[kind];
            let mut tx = self.begin().await?;
            self.count(2);
            let (made, reserved, owners): (i64, i64, i64) =
                sqlx::query_as(left).bind(ca).fetch_one(&mut *tx).await?;
            let granted = grant(want, limit, made, reserved, owners);
            let done = sqlx::query(take).bind(granted).bind(owner).execute(&mut *tx).await?;
            tx.commit().await?;
            // Somebody declared us dead: the next sign of life will tell, nothing is granted until then.
            Ok(Granted { granted: if done.rows_affected() == 1 { granted } else { 0 }, made })
        })
    }

    fn claim_orders(&self, ca: i64, owner: i64, usable_at: i64, limit: i64) -> Answer<'_, Vec<OrderRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<OrderColumns> = sqlx::query_as(
                "UPDATE orders SET owner = ?1 WHERE id IN (SELECT id FROM orders \
                 WHERE ca = ?2 AND owner IS NULL AND state = 0 AND expires > ?3 \
                 AND EXISTS (SELECT 1 FROM owners WHERE owners.id = ?1) LIMIT ?4) \
                 RETURNING id, registration, url, finalize_url, names, expires, suspect",
            )
            .bind(owner)
            .bind(ca)
            .bind(usable_at)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
            Ok(rows.into_iter().map(OrderRow::from).collect())
        })
    }

    fn claim_certificates(
        &self,
        ca: i64,
        owner: i64,
        usable_at: i64,
        limit: i64,
    ) -> Answer<'_, Vec<CertificateRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<CertificateColumns> = sqlx::query_as(
                "UPDATE certificates SET owner = ?1 WHERE id IN (SELECT id FROM certificates \
                 WHERE ca = ?2 AND owner IS NULL AND state = 0 AND not_after > ?3 \
                 AND EXISTS (SELECT 1 FROM owners WHERE owners.id = ?1) LIMIT ?4) \
                 RETURNING id, registration, issuer, serial, ari_id, names, leaf, chain, key, not_before, not_after, \
                 suspect",
            )
            .bind(owner)
            .bind(ca)
            .bind(usable_at)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
            Ok(rows.into_iter().map(CertificateRow::from).collect())
        })
    }

    fn give_back<'a>(&'a self, owner: i64, items: &'a GivenBack) -> Answer<'a, ()> {
        Box::pin(async move {
            const ORDERS: &str = "UPDATE orders SET owner = NULL, suspect = suspect OR ?1 \
                 WHERE id IN (SELECT value FROM json_each(?2)) AND owner = ?3 AND state = 0";
            const CERTIFICATES: &str = "UPDATE certificates SET owner = NULL, suspect = suspect OR ?1 \
                 WHERE id IN (SELECT value FROM json_each(?2)) AND owner = ?3 AND state = 0";
            let mut tx = self.begin().await?;
            for (sql, suspect, ids) in [
                (ORDERS, false, &items.orders),
                (ORDERS, true, &items.suspect_orders),
                (CERTIFICATES, false, &items.certificates),
                (CERTIFICATES, true, &items.suspect_certificates),
            ] {
                if !ids.is_empty() {
                    self.count(1);
                    sqlx::query(sql).bind(suspect).bind(json_ids(ids)).bind(owner).execute(&mut *tx).await?;
                }
            }
            tx.commit().await
        })
    }

    fn newest_registrations(&self, ca: i64, limit: i64) -> Answer<'_, Vec<RegistrationRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                "SELECT id, url, key FROM registrations WHERE ca = ? AND NOT gone ORDER BY id DESC LIMIT ?",
            )
            .bind(ca)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
            Ok(rows.into_iter().map(RegistrationRow::from).collect())
        })
    }

    fn registrations<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, Vec<RegistrationRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                "SELECT id, url, key FROM registrations WHERE id IN (SELECT value FROM json_each(?))",
            )
            .bind(json_ids(ids))
            .fetch_all(&self.pool)
            .await?;
            Ok(rows.into_iter().map(RegistrationRow::from).collect())
        })
    }

    fn chains<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, Vec<ChainRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<(i64, Vec<u8>)> =
                sqlx::query_as("SELECT id, pem FROM chains WHERE id IN (SELECT value FROM json_each(?))")
                    .bind(json_ids(ids))
                    .fetch_all(&self.pool)
                    .await?;
            Ok(rows.into_iter().map(|(id, pem)| ChainRow { id, pem: pem.into() }).collect())
        })
    }

    fn owners(&self, ca: i64) -> Answer<'_, Vec<OwnerRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<(i64, String, bool)> = sqlx::query_as(concat!(
                "SELECT id, place, expires_ms < ",
                now_ms!(),
                " FROM owners WHERE ca = ?"
            ))
            .bind(ca)
            .fetch_all(&self.pool)
            .await?;
            Ok(rows.into_iter().map(|(id, place, expired)| OwnerRow { id, place, expired }).collect())
        })
    }

    fn release(&self, ca: i64, owner: i64, only_expired: bool) -> Answer<'_, Released> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            self.count(1);
            let gone = sqlx::query(concat!(
                "DELETE FROM owners WHERE id = ?1 AND (expires_ms < ",
                now_ms!(),
                " OR NOT ?2)"
            ))
            .bind(owner)
            .bind(only_expired)
            .execute(&mut *tx)
            .await?;
            if gone.rows_affected() == 0 {
                tx.rollback().await?;
                return Ok(Released::default());
            }
            self.count(2);
            let orders = sqlx::query(
                "UPDATE orders SET owner = NULL, suspect = TRUE WHERE ca = ? AND owner = ? AND state = 0",
            )
            .bind(ca)
            .bind(owner)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            let certificates = sqlx::query(
                "UPDATE certificates SET owner = NULL, suspect = TRUE WHERE ca = ? AND owner = ? AND state = 0",
            )
            .bind(ca)
            .bind(owner)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            tx.commit().await?;
            Ok(Released { orders, certificates })
        })
    }

    fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}

/// What is left below the limit, and how it is taken, by kind.
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
fn json_ids(ids: &[i64]) -> String {
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
