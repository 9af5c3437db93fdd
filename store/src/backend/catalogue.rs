//! The contents of a database per CA, and the two operations on all of a CA's objects: setting aside and
//! deleting.
//!
//! The SQL is the same for both databases: SQLite also supports numbered parameters like `$1`.

use super::postgres::PostgresBackend;
use super::sqlite::SqliteBackend;
use super::{Answer, Backend, Leftovers};

/// A backend whose CAs can be listed, set aside and deleted.
pub(crate) trait Catalogued: Backend + Leftovers {
    /// Every CA of the database.
    fn stored(&self) -> Answer<'_, Vec<StoredRow>>;

    /// Renames a CA, so that no run finds it, if it still has the name `from`. Returns whether it had.
    fn rename<'a>(&'a self, ca: i64, from: &'a str, to: &'a str) -> Answer<'a, bool>;

    /// Deletes a CA and all its objects.
    fn delete(&self, ca: i64) -> Answer<'_, ()>;
}

/// A CA: its number, directory and counts, the number of processes that use it, and what was ever made of each kind.
pub(crate) type StoredRow = (i64, String, i64, i64, i64, i64, i64, i64, i64, i64);

/// The tables deleted with a CA; the CA itself comes last. Chains may be shared with other CAs, and are few.
const TABLES: [&str; 5] = [
    "DELETE FROM certificates WHERE ca = $1",
    "DELETE FROM orders WHERE ca = $1",
    "DELETE FROM registrations WHERE ca = $1",
    "DELETE FROM owners WHERE ca = $1",
    "DELETE FROM cas WHERE id = $1",
];

macro_rules! catalogued {
    ($backend:ty, $now_ms:literal) => {
        impl Catalogued for $backend {
            fn stored(&self) -> Answer<'_, Vec<StoredRow>> {
                Box::pin(
                    sqlx::query_as(concat!(
                        "SELECT id, directory, registrations_made - registrations_gone, orders_ready, certificates_live, \
                         certificates_revoked, \
                         (SELECT count(*) FROM owners WHERE ca = cas.id AND expires_ms > ",
                        $now_ms,
                        "), registrations_made, authorizations_made, certificates_made FROM cas ORDER BY id"
                    ))
                    .fetch_all(&self.pool),
                )
            }

            fn rename<'a>(&'a self, ca: i64, from: &'a str, to: &'a str) -> Answer<'a, bool> {
                Box::pin(async move {
                    let done = sqlx::query("UPDATE cas SET directory = $3 WHERE id = $1 AND directory = $2")
                        .bind(ca)
                        .bind(from)
                        .bind(to)
                        .execute(&self.pool)
                        .await?;
                    Ok(done.rows_affected() == 1)
                })
            }

            fn delete(&self, ca: i64) -> Answer<'_, ()> {
                Box::pin(async move {
                    let mut tx = self.pool.begin().await?;
                    for table in TABLES {
                        sqlx::query(table).bind(ca).execute(&mut *tx).await?;
                    }
                    tx.commit().await
                })
            }
        }
    };
}

catalogued!(SqliteBackend, "CAST(unixepoch('subsec') * 1000 AS INTEGER)");
catalogued!(PostgresBackend, "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)");
