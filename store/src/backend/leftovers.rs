//! What runs left at a CA, in the order of the ids, and its end.
//!
//! The SQL is the same for both databases: SQLite also supports numbered parameters like `$1`.

use super::postgres::PostgresBackend;
use super::sqlite::SqliteBackend;
use super::{Answer, certificate_state};

/// A backend whose objects can be ended outside of a run. Objects are ended by their ids, whoever has claimed them.
pub(crate) trait Leftovers {
    /// Certificates that are neither revoked nor expired, orders whose authorizations were not deactivated, accounts.
    fn count_left(&self, ca: i64, now: i64) -> Answer<'_, (i64, i64, i64)>;

    /// Certificates, live and replaced, that do not expire before `now`.
    fn certificates_left(&self, ca: i64, now: i64, page: Page) -> Answer<'_, Vec<CertificateLeftRow>>;

    /// Orders in any state whose authorizations were not deactivated, of accounts that the CA knows.
    fn orders_left(&self, ca: i64, page: Page) -> Answer<'_, Vec<OrderLeftRow>>;

    /// Accounts that the CA knows.
    fn registrations_left(&self, ca: i64, page: Page) -> Answer<'_, Vec<RegistrationLeftRow>>;

    /// Ends a certificate.
    fn end_certificate_left<'a>(
        &'a self,
        ca: i64,
        id: i64,
        state: i16,
        note: Option<&'a str>,
    ) -> Answer<'a, ()>;

    /// Ends an order: nothing can be done with it any more.
    fn end_order_left<'a>(&'a self, ca: i64, id: i64, note: &'a str) -> Answer<'a, ()>;

    /// Ends an account and its objects.
    fn end_registration_left<'a>(&'a self, ca: i64, id: i64, note: &'a str) -> Answer<'a, ()>;
}

/// Rows with ids above `after`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) after: i64,
    pub(crate) limit: i64,
}

/// Id, certificate, key; id, URL and key of its account.
pub(crate) type CertificateLeftRow = (i64, Vec<u8>, Vec<u8>, i64, String, Vec<u8>);
/// Id, URL; id, URL and key of its account.
pub(crate) type OrderLeftRow = (i64, String, i64, String, Vec<u8>);
/// Id, URL, key.
pub(crate) type RegistrationLeftRow = (i64, String, Vec<u8>);

macro_rules! leftovers {
    ($backend:ty) => {
        impl Leftovers for $backend {
            fn count_left(&self, ca: i64, now: i64) -> Answer<'_, (i64, i64, i64)> {
                Box::pin(
                    sqlx::query_as(
                        "SELECT (SELECT count(*) FROM certificates WHERE ca = $1 AND state < 2 AND not_after > $2), \
                         (SELECT count(*) FROM orders WHERE ca = $1 AND state < 3 AND EXISTS \
                         (SELECT 1 FROM registrations WHERE registrations.id = orders.registration AND NOT gone)), \
                         (SELECT count(*) FROM registrations WHERE ca = $1 AND NOT gone)",
                    )
                    .bind(ca)
                    .bind(now)
                    .fetch_one(&self.pool),
                )
            }

            fn certificates_left(&self, ca: i64, now: i64, page: Page) -> Answer<'_, Vec<CertificateLeftRow>> {
                Box::pin(
                    sqlx::query_as(
                        "SELECT certificates.id, leaf, certificates.key, registrations.id, registrations.url, registrations.key \
                         FROM certificates JOIN registrations ON registrations.id = registration \
                         WHERE certificates.ca = $1 AND state < 2 AND not_after > $2 AND certificates.id > $3 \
                         ORDER BY certificates.id LIMIT $4",
                    )
                    .bind(ca)
                    .bind(now)
                    .bind(page.after)
                    .bind(page.limit)
                    .fetch_all(&self.pool),
                )
            }

            fn orders_left(&self, ca: i64, page: Page) -> Answer<'_, Vec<OrderLeftRow>> {
                Box::pin(
                    sqlx::query_as(
                        "SELECT orders.id, orders.url, registrations.id, registrations.url, key \
                         FROM orders JOIN registrations ON registrations.id = registration \
                         WHERE orders.ca = $1 AND state < 3 AND NOT gone AND orders.id > $2 \
                         ORDER BY orders.id LIMIT $3",
                    )
                    .bind(ca)
                    .bind(page.after)
                    .bind(page.limit)
                    .fetch_all(&self.pool),
                )
            }

            fn registrations_left(&self, ca: i64, page: Page) -> Answer<'_, Vec<RegistrationLeftRow>> {
                Box::pin(
                    sqlx::query_as(
                        "SELECT id, url, key FROM registrations WHERE ca = $1 AND NOT gone AND id > $2 \
                         ORDER BY id LIMIT $3",
                    )
                    .bind(ca)
                    .bind(page.after)
                    .bind(page.limit)
                    .fetch_all(&self.pool),
                )
            }

            fn end_certificate_left<'a>(
                &'a self,
                ca: i64,
                id: i64,
                state: i16,
                note: Option<&'a str>,
            ) -> Answer<'a, ()> {
                Box::pin(async move {
                    let mut tx = self.begin().await?;
                    // The live ones first: they are in the totals.
                    let mut ended = [0; 2];
                    for (before, ended) in [0_i16, certificate_state::REPLACED].into_iter().zip(&mut ended) {
                        *ended = sqlx::query(
                            "UPDATE certificates SET state = $1, owner = NULL, note = $2 WHERE id = $3 AND state = $4",
                        )
                        .bind(state)
                        .bind(note)
                        .bind(id)
                        .bind(before)
                        .execute(&mut *tx)
                        .await?
                        .rows_affected() as i64;
                    }
                    let [live, replaced] = ended;
                    let revoked = if state == certificate_state::REVOKED { live + replaced } else { 0 };
                    sqlx::query(
                        "UPDATE cas SET certificates_live = certificates_live - $1, \
                         certificates_revoked = certificates_revoked + $2 WHERE id = $3",
                    )
                    .bind(live)
                    .bind(revoked)
                    .bind(ca)
                    .execute(&mut *tx)
                    .await?;
                    tx.commit().await
                })
            }

            fn end_order_left<'a>(&'a self, ca: i64, id: i64, note: &'a str) -> Answer<'a, ()> {
                Box::pin(async move {
                    let mut tx = self.begin().await?;
                    let mut ended = 0;
                    for before in [0_i16, 1, 2] {
                        let done = sqlx::query(
                            "UPDATE orders SET state = 3, owner = NULL, note = $1 WHERE id = $2 AND state = $3",
                        )
                        .bind(note)
                        .bind(id)
                        .bind(before)
                        .execute(&mut *tx)
                        .await?;
                        if before == 0 {
                            ended = done.rows_affected() as i64;
                        }
                    }
                    sqlx::query("UPDATE cas SET orders_ready = orders_ready - $1 WHERE id = $2")
                        .bind(ended)
                        .bind(ca)
                        .execute(&mut *tx)
                        .await?;
                    tx.commit().await
                })
            }

            fn end_registration_left<'a>(&'a self, ca: i64, id: i64, note: &'a str) -> Answer<'a, ()> {
                Box::pin(async move {
                    let mut tx = self.begin().await?;
                    let gone = sqlx::query(
                        "UPDATE registrations SET gone = TRUE, owner = NULL WHERE id = $1 AND NOT gone",
                    )
                    .bind(id)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected() as i64;
                    let mut ended = [0; 2];
                    for (ended, sql) in ended.iter_mut().zip([
                        "UPDATE orders SET state = 2, owner = NULL, note = $1 \
                         WHERE ca = $2 AND registration = $3 AND state = 0",
                        "UPDATE certificates SET state = 3, owner = NULL, note = $1 \
                         WHERE ca = $2 AND registration = $3 AND state = 0",
                    ]) {
                        *ended = sqlx::query(sql)
                            .bind(note)
                            .bind(ca)
                            .bind(id)
                            .execute(&mut *tx)
                            .await?
                            .rows_affected() as i64;
                    }
                    let [orders, certificates] = ended;
                    sqlx::query(
                        "UPDATE cas SET registrations_gone = registrations_gone + $1, \
                         orders_ready = orders_ready - $2, certificates_live = certificates_live - $3 WHERE id = $4",
                    )
                    .bind(gone)
                    .bind(orders)
                    .bind(certificates)
                    .bind(ca)
                    .execute(&mut *tx)
                    .await?;
                    tx.commit().await
                })
            }
        }
    };
}

leftovers!(SqliteBackend);
leftovers!(PostgresBackend);
