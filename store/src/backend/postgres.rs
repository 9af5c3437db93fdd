//! State in PostgreSQL: rows as arrays (`UNNEST`), claims with `SKIP LOCKED`, so that processes do not wait
//! for each other's claims.
//!
//! Rows are locked in one order: the owner's, then objects, then the CA's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Transaction};

use super::{
    Answer, Backend, Batch, Beat, CertificateColumns, CertificateRow, ChainRow, ChangedRegistrationRow,
    Ending, Enrolment, ExclusiveRegistrationRow, GivenBack, Granted, OrderColumns, OrderRow, OwnerRow,
    RegistrationRow, Released, Standing, Totals, WITH_REGISTRATION, Wanted, Written,
    common::{add_totals, backend, issue, prolong},
    exclusive_registration, grant, migrations,
};
use crate::challenge::BoxFuture;
use crate::error::{StoreError, reason};
use crate::url::StoreUrl;

/// A server on a busy machine may need seconds to answer; without a server the connection is refused at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// State in PostgreSQL.
pub(crate) struct PostgresBackend {
    pub(super) pool: PgPool,
    statements: AtomicU64,
}

/// The database's clock in milliseconds since the Unix epoch; the same for all machines.
macro_rules! now_ms {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

/// Tests that a column is one of the ids in this parameter.
macro_rules! among {
    ($parameter:literal) => {
        concat!("= ANY(", $parameter, ")")
    };
}

impl PostgresBackend {
    pub(crate) async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        let StoreUrl::Postgres { options, .. } = url else { unreachable!("chosen by the URL's kind") };
        let options = options.as_ref().clone().application_name("wec").disable_statement_logging();
        // First without the pool, which would retry with a wrong password until its timeout.
        let trial = tokio::time::timeout(CONNECT_WITHIN, options.connect()).await.unwrap_or_else(|_| {
            let silence = format!("no answer within {} s", CONNECT_WITHIN.as_secs());
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, silence)))
        });
        let mut connection = trial.map_err(|error| refused(url, &error))?;
        migrations::run(migrations::POSTGRES, &mut connection, &url.to_string()).await?;
        drop(connection);
        // One caller, one call at a time; the second connection is for when the first one hangs.
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(CONNECT_WITHIN)
            .connect_with(options)
            .await
            .map_err(|error| refused(url, &error))?;
        Ok(Self { pool, statements: AtomicU64::new(0) })
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, sqlx::Postgres>, sqlx::Error> {
        self.count(2); // and its COMMIT or ROLLBACK
        self.pool.begin().await
    }

    /// Ends orders or certificates that are still `state = 0`; returns their number.
    async fn end(
        &self,
        tx: &mut PgConnection,
        sql: &'static str,
        endings: &[Ending],
    ) -> Result<u64, sqlx::Error> {
        if endings.is_empty() {
            return Ok(0);
        }
        self.count(1);
        let done = sqlx::query(sql)
            .bind(column(endings, |ending| ending.id))
            .bind(column(endings, |ending| ending.state))
            .bind(column(endings, |ending| ending.reason))
            .bind(column(endings, |ending| ending.note.clone()))
            .execute(tx)
            .await?;
        Ok(done.rows_affected())
    }

    /// Begins a write: extends the lease and stores what is new and what is issued. Returns the numbers of new
    /// registrations, orders and certificates, and of issued orders; none if the owner is no longer registered.
    async fn begin_write(
        &self,
        standing: &Standing,
        batch: &Batch,
    ) -> Result<(Transaction<'static, sqlx::Postgres>, Option<[u64; 4]>), sqlx::Error> {
        let mut tx = self.begin().await?;
        if !self.prolong(&mut tx, standing).await? {
            return Ok((tx, None));
        }
        let [registrations, orders, certificates] = self.insert_all(&mut tx, standing, batch).await?;
        let issued = self.issue(&mut tx, &batch.issued).await?;
        Ok((tx, Some([registrations, orders, certificates, issued])))
    }

    /// Ends a write: adds its counts to the totals, and commits. Returns the new totals.
    async fn end_write(
        &self,
        mut tx: Transaction<'static, sqlx::Postgres>,
        ca: i64,
        counts: [u64; 7],
    ) -> Result<(i64, i64, i64, i64), sqlx::Error> {
        self.count(1);
        let mut query = sqlx::query_as(add_totals!());
        for count in counts {
            query = query.bind(count as i64);
        }
        // Last, because every process updates this row.
        let totals = query.bind(ca).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(totals)
    }

    /// Inserts all rows of a batch; returns the numbers of new registrations, orders and certificates.
    async fn insert_all(
        &self,
        tx: &mut PgConnection,
        standing: &Standing,
        batch: &Batch,
    ) -> Result<[u64; 3], sqlx::Error> {
        let Standing { ca, owner, .. } = *standing;
        let registrations = self.insert_registrations(tx, ca, owner, batch).await?;
        let orders = self.insert_orders(tx, ca, owner, batch).await?;
        self.insert_chains(tx, batch).await?;
        let certificates = self.insert_certificates(tx, ca, owner, batch).await?;
        Ok([registrations, orders, certificates])
    }

    async fn insert_registrations(
        &self,
        tx: &mut PgConnection,
        ca: i64,
        owner: i64,
        batch: &Batch,
    ) -> Result<u64, sqlx::Error> {
        let rows = &batch.registrations;
        if rows.is_empty() {
            return Ok(0);
        }
        self.count(1);
        let done = sqlx::query(
            "INSERT INTO registrations (id, ca, url, key, contact, exclusive, owner) \
             SELECT r.id, $1, r.url, r.key, r.contact, r.exclusive, r.owner \
             FROM UNNEST($2::bigint[], $3::text[], $4::bytea[], $5::text[], $6::boolean[], $7::bigint[]) \
             AS r (id, url, key, contact, exclusive, owner) ON CONFLICT DO NOTHING",
        )
        .bind(ca)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| text(&row.url)))
        .bind(column(rows, |row| &*row.key))
        .bind(column(rows, |row| text(&row.contact)))
        .bind(column(rows, |row| row.exclusive))
        .bind(column(rows, |row| row.owned.then_some(owner)))
        .execute(tx)
        .await?;
        Ok(done.rows_affected())
    }

    async fn insert_orders(
        &self,
        tx: &mut PgConnection,
        ca: i64,
        owner: i64,
        batch: &Batch,
    ) -> Result<u64, sqlx::Error> {
        let rows = &batch.orders;
        if rows.is_empty() {
            return Ok(0);
        }
        self.count(1);
        let done = sqlx::query(
            "INSERT INTO orders (id, ca, registration, url, finalize_url, names, expires, profile, authorize_ns, owner) \
             SELECT r.id, $1, r.registration, r.url, r.finalize_url, r.names, r.expires, r.profile, r.authorize_ns, r.owner \
             FROM UNNEST($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], \
             $9::bigint[], $10::bigint[]) \
             AS r (id, registration, url, finalize_url, names, expires, profile, authorize_ns, owner) ON CONFLICT DO NOTHING",
        )
        .bind(ca)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.registration))
        .bind(column(rows, |row| text(&row.url)))
        .bind(column(rows, |row| text(&row.finalize_url)))
        .bind(column(rows, |row| text(&row.names)))
        .bind(column(rows, |row| row.expires))
        .bind(column(rows, |row| text(&row.profile)))
        .bind(column(rows, |row| row.authorize_ns))
        .bind(column(rows, |row| row.owned.then_some(owner)))
        .execute(tx)
        .await?;
        Ok(done.rows_affected())
    }

    async fn insert_chains(&self, tx: &mut PgConnection, batch: &Batch) -> Result<(), sqlx::Error> {
        let rows = &batch.chains;
        if rows.is_empty() {
            return Ok(());
        }
        self.count(1);
        sqlx::query(
            "INSERT INTO chains (id, pem) SELECT * FROM UNNEST($1::bigint[], $2::bytea[]) ON CONFLICT DO NOTHING",
        )
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| &*row.pem))
        .execute(tx)
        .await?;
        Ok(())
    }

    async fn insert_certificates(
        &self,
        tx: &mut PgConnection,
        ca: i64,
        owner: i64,
        batch: &Batch,
    ) -> Result<u64, sqlx::Error> {
        let rows = &batch.certificates;
        if rows.is_empty() {
            return Ok(0);
        }
        self.count(1);
        let done = sqlx::query(
            "INSERT INTO certificates (id, ca, registration, issuer, serial, ari_id, names, leaf, chain, key, \
             not_before, not_after, url, owner) \
             SELECT r.id, $1, r.registration, r.issuer, r.serial, r.ari_id, r.names, r.leaf, r.chain, r.key, \
             r.not_before, r.not_after, r.url, r.owner \
             FROM UNNEST($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], \
             $9::bigint[], $10::bytea[], $11::bigint[], $12::bigint[], $13::text[], $14::bigint[]) \
             AS r (id, registration, issuer, serial, ari_id, names, leaf, chain, key, not_before, not_after, url, owner) \
             ON CONFLICT DO NOTHING",
        )
        .bind(ca)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.registration))
        .bind(column(rows, |row| text(&row.details.issuer)))
        .bind(column(rows, |row| text(&row.details.serial)))
        .bind(column(rows, |row| text(&row.details.ari_id)))
        .bind(column(rows, |row| text(&row.names)))
        .bind(column(rows, |row| &*row.details.leaf_der))
        .bind(column(rows, |row| row.details.chain.id()))
        .bind(column(rows, |row| &*row.details.key_pkcs8))
        .bind(column(rows, |row| row.details.not_before_unix))
        .bind(column(rows, |row| row.details.not_after_unix))
        .bind(column(rows, |row| text(&row.details.url)))
        .bind(column(rows, |row| row.owned.then_some(owner)))
        .execute(tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// Reserves some of a kind, see [`Backend::reserve`](super::Backend::reserve).
    async fn reserve_some(&self, ca: i64, owner: i64, wanted: Wanted) -> Result<Granted, sqlx::Error> {
        let Wanted { kind, want, limit } = wanted;
        let (made, reserved, take) = RESERVE[kind];
        let mut tx = self.begin().await?;
        self.count(3);
        // Locked, so that concurrent reservations and writes are before or after, not in between. Read
        // separately from the owners, so that these are read while the lock is held.
        let made: i64 = sqlx::query_scalar(made).bind(ca).fetch_one(&mut *tx).await?;
        let (reserved, owners): (i64, i64) = sqlx::query_as(reserved).bind(ca).fetch_one(&mut *tx).await?;
        let granted = grant(want, limit, made, reserved, owners);
        let done = sqlx::query(take).bind(granted).bind(owner).execute(&mut *tx).await?;
        tx.commit().await?;
        // Another process declared this owner dead. The next heartbeat reports it; until then nothing is
        // granted.
        Ok(Granted { granted: if done.rows_affected() == 1 { granted } else { 0 }, made })
    }
}

backend!(PostgresBackend, PgConnection);

/// At least the seconds since 2025, so that two new databases do not use the same names.
const NEXT_OWNER: &str = "UPDATE meta SET last_owner = greatest(last_owner + 1, \
     extract(epoch FROM now())::bigint - 1735689600) RETURNING last_owner";
// The lock on the owner prevents others from declaring it dead between the check and the claim.
const CLAIM_REGISTRATIONS: &str = "WITH me AS MATERIALIZED (SELECT id FROM owners WHERE id = $1 FOR SHARE), \
     free AS MATERIALIZED (SELECT id FROM registrations WHERE ca = $2 AND owner IS NULL AND exclusive \
     AND NOT gone AND EXISTS (SELECT 1 FROM me) LIMIT $3 FOR UPDATE SKIP LOCKED) \
     UPDATE registrations SET owner = $1 FROM free WHERE registrations.id = free.id \
     RETURNING registrations.id, url, key, suspect";
const CLAIM_ORDERS: &str = "WITH me AS MATERIALIZED (SELECT id FROM owners WHERE id = $1 FOR SHARE), \
     free AS MATERIALIZED (SELECT id FROM orders WHERE ca = $2 AND owner IS NULL AND state = 0 \
     AND expires > $3 AND EXISTS (SELECT 1 FROM me) LIMIT $4 FOR UPDATE SKIP LOCKED) \
     UPDATE orders SET owner = $1 FROM free WHERE orders.id = free.id \
     RETURNING orders.id, registration, url, finalize_url, names, expires, profile, authorize_ns, suspect";
const CLAIM_CERTIFICATES: &str = "WITH me AS MATERIALIZED (SELECT id FROM owners WHERE id = $1 FOR SHARE), \
     free AS MATERIALIZED (SELECT id FROM certificates WHERE ca = $2 AND owner IS NULL AND state = 0 \
     AND not_after > $3 AND EXISTS (SELECT 1 FROM me) LIMIT $4 FOR UPDATE SKIP LOCKED) \
     UPDATE certificates SET owner = $1 FROM free WHERE certificates.id = free.id \
     RETURNING certificates.id, registration, issuer, serial, ari_id, names, leaf, chain, key, \
     not_before, not_after, url, suspect";
const END_ORDERS: &str = "UPDATE orders SET state = e.state, owner = NULL, note = e.note \
     FROM UNNEST($1::bigint[], $2::smallint[], $3::smallint[], $4::text[]) AS e (id, state, reason, note) \
     WHERE orders.id = e.id AND orders.state = 0";
const END_CERTIFICATES: &str = "UPDATE certificates SET state = e.state, owner = NULL, reason = e.reason, note = e.note \
     FROM UNNEST($1::bigint[], $2::smallint[], $3::smallint[], $4::text[]) AS e (id, state, reason, note) \
     WHERE certificates.id = e.id AND certificates.state = 0";

/// A list of ids as a parameter.
const fn ids(ids: &[i64]) -> &[i64] {
    ids
}

/// One column of rows, as an array.
fn column<'a, T, C>(rows: &'a [T], value: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}

/// PostgreSQL does not allow NUL in a text, and a CA's URL may contain any JSON character.
fn text(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "").into() } else { text.into() }
}

/// The error for a refused connection.
fn refused(url: &StoreUrl, error: &sqlx::Error) -> StoreError {
    let store = url.to_string();
    match error {
        // Class 28: invalid authorization; 3D000: no such database (PostgreSQL, appendix A).
        sqlx::Error::Database(server)
            if server.code().is_some_and(|code| code.starts_with("28") || code == "3D000") =>
        {
            StoreError::Login { store, reason: server.message().to_owned() }
        }
        sqlx::Error::Database(_) => StoreError::Failed { store, doing: "connect", reason: reason(error) },
        _ => StoreError::Unreachable { store, reason: error.to_string() },
    }
}

/// For each kind, queries for what was made, what is reserved and by how many owners, and the reservation.
const RESERVE: [(&str, &str, &str); 3] = [
    (
        "SELECT registrations_made FROM cas WHERE id = $1 FOR UPDATE",
        "SELECT coalesce(sum(registrations_reserved), 0)::bigint, count(*) FROM owners WHERE ca = $1",
        "UPDATE owners SET registrations_reserved = registrations_reserved + $1 WHERE id = $2",
    ),
    (
        "SELECT authorizations_made FROM cas WHERE id = $1 FOR UPDATE",
        "SELECT coalesce(sum(authorizations_reserved), 0)::bigint, count(*) FROM owners WHERE ca = $1",
        "UPDATE owners SET authorizations_reserved = authorizations_reserved + $1 WHERE id = $2",
    ),
    (
        "SELECT certificates_made FROM cas WHERE id = $1 FOR UPDATE",
        "SELECT coalesce(sum(certificates_reserved), 0)::bigint, count(*) FROM owners WHERE ca = $1",
        "UPDATE owners SET certificates_reserved = certificates_reserved + $1 WHERE id = $2",
    ),
];
