//! The parts common to both databases: all methods of [`Backend`](super::Backend), and the common SQL.
//!
//! SQLite also supports numbered parameters like `$1`. Each database's file defines what differs:
//!
//! | name | what it is |
//! | --- | --- |
//! | `now_ms!()` | its clock in milliseconds since the Unix epoch, as SQL |
//! | `among!("$1")` | tests that a column is in the list of ids in this parameter; `ids` makes the parameter |
//! | `NEXT_OWNER`, `CLAIM_…`, `END_…` | statements |
//! | `begin`, `begin_write`, `end_write`, `end`, `reserve_some` | methods |

/// Extends an owner's lease. The parameters are named: the lease, what is reserved of each kind, what it needs, its id.
macro_rules! prolong {
    ($lease:literal, $registrations:literal, $authorizations:literal, $certificates:literal, $wants_more:literal, $id:literal) => {
        concat!(
            "UPDATE owners SET expires_ms = ",
            now_ms!(),
            " + ",
            $lease,
            ", registrations_reserved = ",
            $registrations,
            ", authorizations_reserved = ",
            $authorizations,
            ", certificates_reserved = ",
            $certificates,
            ", hungry = ",
            $wants_more,
            " WHERE id = ",
            $id
        )
    };
}

/// Marks orders as issued; their ids are the parameter with this name.
macro_rules! issue {
    ($ids:literal) => {
        concat!("UPDATE orders SET state = 1, owner = NULL WHERE id ", among!($ids), " AND state = 0")
    };
}

/// Adds to the totals of a CA: registrations, orders and certificates that are new, orders and certificates that are
/// no longer, certificates revoked, registrations gone; the last parameter is the CA.
macro_rules! add_totals {
    () => {
        "UPDATE cas SET registrations_made = registrations_made + $1, \
         authorizations_made = authorizations_made + $2, certificates_made = certificates_made + $3, \
         orders_ready = orders_ready + $2 - $4, certificates_live = certificates_live + $3 - $5, \
         certificates_revoked = certificates_revoked + $6, \
         registrations_gone = registrations_gone + $7 WHERE id = $8 \
         RETURNING registrations_made - registrations_gone, orders_ready, certificates_live, \
         certificates_revoked"
    };
}

/// Implements [`Backend`](super::Backend) for a backend whose transactions dereference to this connection.
macro_rules! backend {
    ($backend:ty, $connection:ty) => {
        impl $backend {
            fn count(&self, statements: u64) {
                self.statements.fetch_add(statements, Ordering::Relaxed);
            }

            /// Whether the owner is still registered; extends its lease and locks its row.
            async fn prolong(&self, tx: &mut $connection, standing: &Standing) -> Result<bool, sqlx::Error> {
                self.count(1);
                let [registrations, authorizations, certificates] = standing.reserved;
                let done = sqlx::query(prolong!("$1", "$2", "$3", "$4", "$5", "$6"))
                .bind(standing.lease_ms)
                .bind(registrations)
                .bind(authorizations)
                .bind(certificates)
                .bind(standing.wants_more)
                .bind(standing.owner)
                .execute(tx)
                .await?;
                Ok(done.rows_affected() == 1)
            }

            /// Marks orders as issued; returns their number.
            async fn issue(&self, tx: &mut $connection, orders: &[i64]) -> Result<u64, sqlx::Error> {
                if orders.is_empty() {
                    return Ok(0);
                }
                self.count(1);
                Ok(sqlx::query(issue!("$1")).bind(ids(orders)).execute(tx).await?.rows_affected())
            }

            /// Stores other keys and contacts of registrations, in the order in which they were reported.
            async fn change(
                &self,
                tx: &mut $connection,
                changed: &[ChangedRegistrationRow],
            ) -> Result<(), sqlx::Error> {
                self.count(changed.len() as u64);
                for row in changed {
                    sqlx::query(
                        "UPDATE registrations SET key = coalesce($2, key), contact = coalesce($3, contact) WHERE id = $1",
                    )
                    .bind(row.id)
                    .bind(row.key.as_deref())
                    .bind(row.contact.as_deref())
                    .execute(&mut *tx)
                    .await?;
                }
                Ok(())
            }

            /// Marks registrations as gone, and ends their unclaimed objects; returns the number of each.
            async fn forget(
                &self,
                tx: &mut $connection,
                registrations: &[i64],
            ) -> Result<(u64, Released), sqlx::Error> {
                if registrations.is_empty() {
                    return Ok((0, Released::default()));
                }
                self.count(3);
                let gone = sqlx::query(concat!(
                    "UPDATE registrations SET gone = TRUE, owner = NULL WHERE id ",
                    among!("$1"),
                    " AND NOT gone"
                ))
                .bind(ids(registrations))
                .execute(&mut *tx)
                .await?
                .rows_affected();
                let mut ended = [0; 2];
                for (ended, sql) in ended.iter_mut().zip([
                    concat!(
                        "UPDATE orders SET state = 2, note = $2 WHERE registration ",
                        among!("$1"),
                        " AND owner IS NULL AND state = 0"
                    ),
                    concat!(
                        "UPDATE certificates SET state = 3, note = $2 WHERE registration ",
                        among!("$1"),
                        " AND owner IS NULL AND state = 0"
                    ),
                ]) {
                    *ended =
                        sqlx::query(sql).bind(ids(registrations)).bind(WITH_REGISTRATION).execute(&mut *tx).await?.rows_affected();
                }
                let [orders, certificates] = ended;
                Ok((gone, Released { orders, certificates, ..Released::default() }))
            }
        }

        impl Backend for $backend {
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
                    let owner: i64 = sqlx::query_scalar(NEXT_OWNER).fetch_one(&mut *tx).await?;
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
                    let others_want_more = others.into_iter().fold(0, |all, one| all | one);
                    Ok(Beat { alive, totals: totals.into(), others_want_more })
                })
            }

            fn write<'a>(&'a self, standing: &'a Standing, batch: &'a Batch) -> Answer<'a, Written> {
                Box::pin(async move {
                    let (mut tx, made) = self.begin_write(standing, batch).await?;
                    let Some([registrations, orders, certificates, issued]) = made else {
                        tx.rollback().await?;
                        return Ok(Written::Expelled);
                    };
                    let mut duplicates = Vec::new();
                    if certificates < batch.certificates.len() as u64 {
                        let stored_ids: Vec<i64> = batch.certificates.iter().map(|row| row.id).collect();
                        self.count(1);
                        let stored: Vec<i64> = sqlx::query_scalar(concat!("SELECT id FROM certificates WHERE id ", among!("$1")))
                            .bind(ids(&stored_ids))
                            .fetch_all(&mut *tx)
                            .await?;
                        duplicates = stored_ids.into_iter().filter(|id| !stored.contains(id)).collect();
                    }
                    self.change(&mut tx, &batch.changed).await?;
                    let failed = self.end(&mut tx, END_ORDERS, &batch.failed).await?;
                    let revoked = self.end(&mut tx, END_CERTIFICATES, &batch.revoked).await?;
                    let ended = self.end(&mut tx, END_CERTIFICATES, &batch.ended).await?;
                    let (gone, with_registration) = self.forget(&mut tx, &batch.gone).await?;
                    let counts = [
                        registrations,
                        orders,
                        certificates,
                        issued + failed + with_registration.orders,
                        revoked + ended + with_registration.certificates,
                        revoked,
                        gone,
                    ];
                    let totals = self.end_write(tx, standing.ca, counts).await?;
                    Ok(Written::Stored { totals: Totals::from(totals), duplicates })
                })
            }

            fn reserve(&self, ca: i64, owner: i64, wanted: Wanted) -> Answer<'_, Granted> {
                Box::pin(self.reserve_some(ca, owner, wanted))
            }

            fn claim_registrations(
                &self,
                ca: i64,
                owner: i64,
                limit: i64,
            ) -> Answer<'_, Vec<ExclusiveRegistrationRow>> {
                Box::pin(async move {
                    self.count(1);
                    let rows: Vec<(i64, String, Vec<u8>, bool)> = sqlx::query_as(CLAIM_REGISTRATIONS)
                    .bind(owner)
                    .bind(ca)
                    .bind(limit)
                    .fetch_all(&self.pool)
                    .await?;
                    Ok(rows.into_iter().map(exclusive_registration).collect())
                })
            }

            fn claim_orders(&self, ca: i64, owner: i64, usable_at: i64, limit: i64) -> Answer<'_, Vec<OrderRow>> {
                Box::pin(async move {
                    self.count(1);
                    let rows: Vec<OrderColumns> = sqlx::query_as(CLAIM_ORDERS)
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
                    let rows: Vec<CertificateColumns> = sqlx::query_as(CLAIM_CERTIFICATES)
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
                    const REGISTRATIONS: &str = concat!("UPDATE registrations SET owner = NULL, suspect = suspect OR $1 \
                         WHERE id ", among!("$2"), " AND owner = $3 AND NOT gone");
                    const ORDERS: &str = concat!("UPDATE orders SET owner = NULL, suspect = suspect OR $1 \
                         WHERE id ", among!("$2"), " AND owner = $3 AND state = 0");
                    const CERTIFICATES: &str = concat!("UPDATE certificates SET owner = NULL, suspect = suspect OR $1 \
                         WHERE id ", among!("$2"), " AND owner = $3 AND state = 0");
                    let mut tx = self.begin().await?;
                    for (sql, suspect, wanted) in [
                        (REGISTRATIONS, false, &items.registrations),
                        (REGISTRATIONS, true, &items.suspect_registrations),
                        (ORDERS, false, &items.orders),
                        (ORDERS, true, &items.suspect_orders),
                        (CERTIFICATES, false, &items.certificates),
                        (CERTIFICATES, true, &items.suspect_certificates),
                    ] {
                        if !wanted.is_empty() {
                            self.count(1);
                            sqlx::query(sql).bind(suspect).bind(ids(wanted)).bind(owner).execute(&mut *tx).await?;
                        }
                    }
                    tx.commit().await
                })
            }

            fn newest_registrations(&self, ca: i64, limit: i64) -> Answer<'_, Vec<RegistrationRow>> {
                Box::pin(async move {
                    self.count(1);
                    let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                        "SELECT id, url, key FROM registrations WHERE ca = $1 AND NOT gone AND NOT exclusive \
                         ORDER BY id DESC LIMIT $2",
                    )
                    .bind(ca)
                    .bind(limit)
                    .fetch_all(&self.pool)
                    .await?;
                    Ok(rows.into_iter().map(RegistrationRow::from).collect())
                })
            }

            fn registrations<'a>(&'a self, wanted: &'a [i64]) -> Answer<'a, Vec<RegistrationRow>> {
                Box::pin(async move {
                    self.count(1);
                    let rows: Vec<(i64, String, Vec<u8>)> =
                        sqlx::query_as(concat!("SELECT id, url, key FROM registrations WHERE id ", among!("$1")))
                            .bind(ids(wanted))
                            .fetch_all(&self.pool)
                            .await?;
                    Ok(rows.into_iter().map(RegistrationRow::from).collect())
                })
            }

            fn chains<'a>(&'a self, wanted: &'a [i64]) -> Answer<'a, Vec<ChainRow>> {
                Box::pin(async move {
                    self.count(1);
                    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(concat!("SELECT id, pem FROM chains WHERE id ", among!("$1")))
                        .bind(ids(wanted))
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
                    self.count(3);
                    let mut released = [0; 3];
                    for (released, update) in released.iter_mut().zip([
                        "UPDATE registrations SET owner = NULL, suspect = TRUE WHERE ca = $1 AND owner = $2 AND NOT gone",
                        "UPDATE orders SET owner = NULL, suspect = TRUE WHERE ca = $1 AND owner = $2 AND state = 0",
                        "UPDATE certificates SET owner = NULL, suspect = TRUE WHERE ca = $1 AND owner = $2 AND state = 0",
                    ]) {
                        let done = sqlx::query(update).bind(ca).bind(owner).execute(&mut *tx).await?;
                        *released = done.rows_affected();
                    }
                    let [registrations, orders, certificates] = released;
                    tx.commit().await?;
                    Ok(Released { registrations, orders, certificates })
                })
            }

            fn statements(&self) -> u64 {
                self.statements.load(Ordering::Relaxed)
            }

            fn close(&self) -> BoxFuture<'_, ()> {
                Box::pin(self.pool.close())
            }
        }
    };
}

pub(super) use {add_totals, backend, issue, prolong};
