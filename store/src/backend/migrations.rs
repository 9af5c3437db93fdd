//! Migrates a database's schema, and refuses one that is newer than this program.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use crate::error::{StoreError, reason};

/// A schema's history: number, description, SQL. Published entries never change; new ones are added.
pub(super) type History = &'static [(i64, &'static str, &'static str)];

pub(super) const SQLITE: History = &[
    (1, "state", include_str!("../../migrations/sqlite/0001_state.sql")),
    (2, "registrations gone", include_str!("../../migrations/sqlite/0002_registrations_gone.sql")),
    (3, "order profiles", include_str!("../../migrations/sqlite/0003_order_profiles.sql")),
    (4, "order times", include_str!("../../migrations/sqlite/0004_order_times.sql")),
    (5, "exclusive registrations", include_str!("../../migrations/sqlite/0005_exclusive_registrations.sql")),
    (6, "certificate urls", include_str!("../../migrations/sqlite/0006_certificate_urls.sql")),
];
pub(super) const POSTGRES: History = &[
    (1, "state", include_str!("../../migrations/postgres/0001_state.sql")),
    (2, "registrations gone", include_str!("../../migrations/postgres/0002_registrations_gone.sql")),
    (3, "order profiles", include_str!("../../migrations/postgres/0003_order_profiles.sql")),
    (4, "order times", include_str!("../../migrations/postgres/0004_order_times.sql")),
    (
        5,
        "exclusive registrations",
        include_str!("../../migrations/postgres/0005_exclusive_registrations.sql"),
    ),
    (6, "certificate urls", include_str!("../../migrations/postgres/0006_certificate_urls.sql")),
];

const TABLE: &str = "_sqlx_migrations";

/// Applies the missing migrations. `shown` is the database's name in messages.
pub(super) async fn run<C: Migrate>(
    history: History,
    connection: &mut C,
    shown: &str,
) -> Result<(), StoreError> {
    let failed = |error: MigrateError| {
        let reason = match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => reason(&error),
            MigrateError::VersionMismatch(version) => format!(
                "its schema version {version} is not this program's version {version}; use the program that made it, \
                 or another database"
            ),
            other => other.to_string(),
        };
        StoreError::Failed { store: shown.into(), doing: "bring its schema up to date", reason }
    };
    let known = history.iter().map(|(version, ..)| *version).max().unwrap_or(0);
    // Several processes may open a new database at once. An error closes the connection and so releases the
    // lock.
    connection.lock().await.map_err(failed)?;
    connection.ensure_migrations_table(TABLE).await.map_err(failed)?;
    let applied = connection.list_applied_migrations(TABLE).await.map_err(failed)?;
    if let Some(found) =
        applied.iter().map(|migration| migration.version).max().filter(|found| *found > known)
    {
        return Err(StoreError::Newer { store: shown.into(), found, known });
    }
    let migrations = history
        .iter()
        .map(|(version, description, sql)| {
            Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    Migrator::with_migrations(migrations).run_direct(None, connection, false).await.map_err(failed)?;
    connection.unlock().await.map_err(failed)
}
