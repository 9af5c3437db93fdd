//! State in PostgreSQL: rows as arrays (`UNNEST`), claims with `SKIP LOCKED`, so that processes never wait for each
//! other's choice.
//!
//! Rows are locked in one order: the owner's, then objects, then the CA's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Transaction};

use super::{
    Answer, Backend, Batch, Beat, CertificateColumns, CertificateRow, ChainRow, Ending, Enrolment, GivenBack,
    Granted, OrderColumns, OrderRow, OwnerRow, RegistrationRow, Released, Standing, Totals,
    WITH_REGISTRATION, Written, grant, migrations,
};
use crate::challenge::BoxFuture;
use crate::error::{StoreError, reason};
use crate::state::StoreUrl;

/// A server on a busy machine takes seconds to greet; one that is not there refuses at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// State in PostgreSQL.
pub(crate) struct PostgresBackend {
    pool: PgPool,
    statements: AtomicU64,
}

/// The database's clock in milliseconds since the Unix epoch; the same for all machines.
macro_rules! now_ms {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

impl PostgresBackend {
    pub(crate) async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        let StoreUrl::Postgres { options, .. } = url else { unreachable!("chosen by the URL's kind") };
        let options = options.as_ref().clone().application_name("wec").disable_statement_logging();
        // Asked first, because a pool would try a wrong password again and again until its time is up.
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

    fn count(&self, statements: u64) {
        self.statements.fetch_add(statements, Ordering::Relaxed);
    }

    async fn begin(&self) -> Result<Transaction<'static, sqlx::Postgres>, sqlx::Error> {
        self.count(2); // and its COMMIT or ROLLBACK
        self.pool.begin().await
    }

    /// Whether the owner is still signed in; prolongs its lease, and locks its row.
    async fn prolong(&self, tx: &mut PgConnection, standing: &Standing) -> Result<bool, sqlx::Error> {
        self.count(1);
        let [registrations, authorizations, certificates] = standing.reserved;
        let done = sqlx::query(concat!(
            "UPDATE owners SET expires_ms = ",
            now_ms!(),
            " + $1, registrations_reserved = $2, authorizations_reserved = $3, certificates_reserved = $4, \
             hungry = $5 WHERE id = $6"
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

    /// Ends orders or certificates that are still `state = 0`; returns how many were.
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

    /// Marks registrations as gone, and ends what nobody has claimed of theirs; returns how many of each.
    async fn forget(&self, tx: &mut PgConnection, ids: &[i64]) -> Result<(u64, Released), sqlx::Error> {
        if ids.is_empty() {
            return Ok((0, Released::default()));
        }
        self.count(3);
        let gone = sqlx::query("UPDATE registrations SET gone = TRUE WHERE id = ANY($1) AND NOT gone")
            .bind(ids)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        let mut ended = [0; 2];
        for (ended, sql) in ended.iter_mut().zip([
            "UPDATE orders SET state = 2, note = $2 \
             WHERE registration = ANY($1) AND owner IS NULL AND state = 0",
            "UPDATE certificates SET state = 3, note = $2 \
             WHERE registration = ANY($1) AND owner IS NULL AND state = 0",
        ]) {
            *ended =
                sqlx::query(sql).bind(ids).bind(WITH_REGISTRATION).execute(&mut *tx).await?.rows_affected();
        }
        let [orders, certificates] = ended;
        Ok((gone, Released { orders, certificates }))
    }

    async fn insert_registrations(
        &self,
        tx: &mut PgConnection,
        ca: i64,
        batch: &Batch,
    ) -> Result<u64, sqlx::Error> {
        let rows = &batch.registrations;
        if rows.is_empty() {
            return Ok(0);
        }
        self.count(1);
        let done = sqlx::query(
            "INSERT INTO registrations (id, ca, url, key, contact) \
             SELECT r.id, $1, r.url, r.key, r.contact \
             FROM UNNEST($2::bigint[], $3::text[], $4::bytea[], $5::text[]) AS r (id, url, key, contact) \
             ON CONFLICT DO NOTHING",
        )
        .bind(ca)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| text(&row.url)))
        .bind(column(rows, |row| &*row.key))
        .bind(column(rows, |row| text(&row.contact)))
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
            "INSERT INTO orders (id, ca, registration, url, finalize_url, names, expires, owner) \
             SELECT r.id, $1, r.registration, r.url, r.finalize_url, r.names, r.expires, r.owner \
             FROM UNNEST($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[]) \
             AS r (id, registration, url, finalize_url, names, expires, owner) ON CONFLICT DO NOTHING",
        )
        .bind(ca)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.registration))
        .bind(column(rows, |row| text(&row.url)))
        .bind(column(rows, |row| text(&row.finalize_url)))
        .bind(column(rows, |row| text(&row.names)))
        .bind(column(rows, |row| row.expires))
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
             not_before, not_after, owner) \
             SELECT r.id, $1, r.registration, r.issuer, r.serial, r.ari_id, r.names, r.leaf, r.chain, r.key, \
             r.not_before, r.not_after, r.owner \
             FROM UNNEST($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], \
             $9::bigint[], $10::bytea[], $11::bigint[], $12::bigint[], $13::bigint[]) \
             AS r (id, registration, issuer, serial, ari_id, names, leaf, chain, key, not_before, not_after, owner) \
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
        .bind(column(rows, |row| row.owned.then_some(owner)))
        .execute(tx)
        .await?;
        Ok(done.rows_affected())
    }
}

const END_ORDERS: &str = "UPDATE orders SET state = e.state, owner = NULL, note = e.note \
     FROM UNNEST($1::bigint[], $2::smallint[], $3::smallint[], $4::text[]) AS e (id, state, reason, note) \
     WHERE orders.id = e.id AND orders.state = 0";
const END_CERTIFICATES: &str = "UPDATE certificates SET state = e.state, owner = NULL, reason = e.reason, note = e.note \
     FROM UNNEST($1::bigint[], $2::smallint[], $3::smallint[], $4::text[]) AS e (id, state, reason, note) \
     WHERE certificates.id = e.id AND certificates.state = 0";

/// One column of rows, as an array.
fn column<'a, T, C>(rows: &'a [T], value: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}

/// PostgreSQL takes no NUL in a text, and a CA's URL may contain anything that JSON can write.
fn text(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "").into() } else { text.into() }
}

/// Who is to blame that there is no connection.
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

impl Backend for PostgresBackend {
    fn enrol<'a>(&'a self, directory: &'a str, place: &'a str, lease_ms: i64) -> Answer<'a, Enrolment> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            self.count(4);
            sqlx::query("INSERT INTO cas (directory) VALUES ($1) ON CONFLICT DO NOTHING")
                .bind(directory)
                .execute(&mut *tx)
                .await?;
            let ca: i64 = sqlx::query_scalar("SELECT id FROM cas WHERE directory = $1")
                .bind(directory)
                .fetch_one(&mut *tx)
                .await?;
            // At least the seconds since 2025: two fresh databases do not give out the same names.
            let owner: i64 = sqlx::query_scalar(
                "UPDATE meta SET last_owner = greatest(last_owner + 1, extract(epoch FROM now())::bigint - 1735689600) \
                 RETURNING last_owner",
            )
            .fetch_one(&mut *tx)
            .await?;
            sqlx::query(concat!(
                "INSERT INTO owners (id, ca, place, expires_ms) VALUES ($1, $2, $3, ",
                now_ms!(),
                " + $4)"
            ))
            .bind(owner)
            .bind(ca)
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
                "SELECT registrations_made - registrations_gone, orders_ready, certificates_live, certificates_revoked FROM cas \
                 WHERE id = $1",
            )
            .bind(standing.ca)
            .fetch_one(&mut *tx)
            .await?;
            let others: Vec<i64> =
                sqlx::query_scalar("SELECT hungry FROM owners WHERE ca = $1 AND id <> $2 AND hungry <> 0")
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
            let registrations = self.insert_registrations(&mut tx, ca, batch).await?;
            let orders = self.insert_orders(&mut tx, ca, owner, batch).await?;
            self.insert_chains(&mut tx, batch).await?;
            let certificates = self.insert_certificates(&mut tx, ca, owner, batch).await?;
            let mut duplicates = Vec::new();
            if certificates < batch.certificates.len() as u64 {
                let ids = column(&batch.certificates, |row| row.id);
                self.count(1);
                let stored: Vec<i64> = sqlx::query_scalar("SELECT id FROM certificates WHERE id = ANY($1)")
                    .bind(&ids)
                    .fetch_all(&mut *tx)
                    .await?;
                duplicates = ids.into_iter().filter(|id| !stored.contains(id)).collect();
            }
            let mut issued = 0;
            if !batch.issued.is_empty() {
                self.count(1);
                issued =
                    sqlx::query("UPDATE orders SET state = 1, owner = NULL WHERE id = ANY($1) AND state = 0")
                        .bind(&batch.issued)
                        .execute(&mut *tx)
                        .await?
                        .rows_affected();
            }
            let failed = self.end(&mut tx, END_ORDERS, &batch.failed).await?;
            let revoked = self.end(&mut tx, END_CERTIFICATES, &batch.revoked).await?;
            let ended = self.end(&mut tx, END_CERTIFICATES, &batch.ended).await?;
            let (gone, with_registration) = self.forget(&mut tx, &batch.gone).await?;
            self.count(1);
            // Last, because every process wants this row.
            let totals: (i64, i64, i64, i64) = sqlx::query_as(
                "UPDATE cas SET registrations_made = registrations_made + $1, \
                 authorizations_made = authorizations_made + $2, certificates_made = certificates_made + $3, \
                 orders_ready = orders_ready + $2 - $4, certificates_live = certificates_live + $3 - $5, \
                 certificates_revoked = certificates_revoked + $6, \
                 registrations_gone = registrations_gone + $8 WHERE id = $7 \
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
            let (made, reserved, take) = RESERVE[kind];
            let mut tx = self.begin().await?;
            self.count(3);
            // Locked: whoever reserves or writes at the same time comes before or after, not in between. Read apart
            // from the owners, so that these are read as they are once the lock is ours.
            let made: i64 = sqlx::query_scalar(made).bind(ca).fetch_one(&mut *tx).await?;
            let (reserved, owners): (i64, i64) =
                sqlx::query_as(reserved).bind(ca).fetch_one(&mut *tx).await?;
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
            // The lock on the owner keeps others from declaring us dead between the look and the claim.
            let rows: Vec<OrderColumns> = sqlx::query_as(
                "WITH me AS MATERIALIZED (SELECT id FROM owners WHERE id = $1 FOR SHARE), \
                 free AS MATERIALIZED (SELECT id FROM orders WHERE ca = $2 AND owner IS NULL AND state = 0 \
                 AND expires > $3 AND EXISTS (SELECT 1 FROM me) LIMIT $4 FOR UPDATE SKIP LOCKED) \
                 UPDATE orders SET owner = $1 FROM free WHERE orders.id = free.id \
                 RETURNING orders.id, registration, url, finalize_url, names, expires, suspect",
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
                "WITH me AS MATERIALIZED (SELECT id FROM owners WHERE id = $1 FOR SHARE), \
                 free AS MATERIALIZED (SELECT id FROM certificates WHERE ca = $2 AND owner IS NULL AND state = 0 \
                 AND not_after > $3 AND EXISTS (SELECT 1 FROM me) LIMIT $4 FOR UPDATE SKIP LOCKED) \
                 UPDATE certificates SET owner = $1 FROM free WHERE certificates.id = free.id \
                 RETURNING certificates.id, registration, issuer, serial, ari_id, names, leaf, chain, key, \
                 not_before, not_after, suspect",
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
            const ORDERS: &str = "UPDATE orders SET owner = NULL, suspect = suspect OR $1 \
                 WHERE id = ANY($2) AND owner = $3 AND state = 0";
            const CERTIFICATES: &str = "UPDATE certificates SET owner = NULL, suspect = suspect OR $1 \
                 WHERE id = ANY($2) AND owner = $3 AND state = 0";
            let mut tx = self.begin().await?;
            for (sql, suspect, ids) in [
                (ORDERS, false, &items.orders),
                (ORDERS, true, &items.suspect_orders),
                (CERTIFICATES, false, &items.certificates),
                (CERTIFICATES, true, &items.suspect_certificates),
            ] {
                if !ids.is_empty() {
                    self.count(1);
                    sqlx::query(sql).bind(suspect).bind(ids).bind(owner).execute(&mut *tx).await?;
                }
            }
            tx.commit().await
        })
    }

    fn newest_registrations(&self, ca: i64, limit: i64) -> Answer<'_, Vec<RegistrationRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                "SELECT id, url, key FROM registrations WHERE ca = $1 AND NOT gone ORDER BY id DESC LIMIT $2",
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
            let rows: Vec<(i64, String, Vec<u8>)> =
                sqlx::query_as("SELECT id, url, key FROM registrations WHERE id = ANY($1)")
                    .bind(ids)
                    .fetch_all(&self.pool)
                    .await?;
            Ok(rows.into_iter().map(RegistrationRow::from).collect())
        })
    }

    fn chains<'a>(&'a self, ids: &'a [i64]) -> Answer<'a, Vec<ChainRow>> {
        Box::pin(async move {
            self.count(1);
            let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT id, pem FROM chains WHERE id = ANY($1)")
                .bind(ids)
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
                " FROM owners WHERE ca = $1"
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
                "DELETE FROM owners WHERE id = $1 AND (expires_ms < ",
                now_ms!(),
                " OR NOT $2)"
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
                "UPDATE orders SET owner = NULL, suspect = TRUE WHERE ca = $1 AND owner = $2 AND state = 0",
            )
            .bind(ca)
            .bind(owner)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            let certificates = sqlx::query(
                "UPDATE certificates SET owner = NULL, suspect = TRUE WHERE ca = $1 AND owner = $2 AND state = 0",
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

/// What was made, what is reserved and by how many, and how more is reserved, by kind.
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
