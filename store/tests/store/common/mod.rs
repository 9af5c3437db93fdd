//! A fresh database of either kind for each test, and objects to put into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use wec_acme::{Account, AccountKey, Order, OrderStatus};
use wec_record::Identifier;
use wec_store::{
    Claim, NewCertificate, Object, ReadyOrder, Registration, State, StateOptions, StoredCertificate,
};
use wec_testbed::Postgres;

pub(crate) const CA: &str = "https://ca.test/directory";

/// Longer than any wait here takes, also on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// A database for one test.
pub(crate) struct Database {
    pub(crate) url: String,
    dir: Option<TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("state.db").display());
        Self { url, dir: Some(dir) }
    }

    pub(crate) async fn postgres() -> Self {
        // One server for all tests of a binary. It is never dropped and ends with this process.
        static SERVER: OnceCell<Postgres> = OnceCell::const_new();
        static DATABASES: AtomicU64 = AtomicU64::new(0);
        let server = SERVER.get_or_init(async || Postgres::start().await.unwrap()).await;
        let name = format!("state_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        Self { url: server.create_database(&name).await.unwrap(), dir: None }
    }

    /// Changes the database as another program does.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        if self.dir.is_some() {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sql.execute(&mut connection).await.unwrap();
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sql.execute(&mut connection).await.unwrap();
        }
    }

    pub(crate) async fn authorizations_made(&self) -> i64 {
        self.number("SELECT authorizations_made FROM cas").await
    }

    /// The earliest end of a lease.
    pub(crate) async fn first_lease_ends(&self) -> i64 {
        self.number("SELECT min(expires_ms) FROM owners").await
    }

    async fn number(&self, sql: &'static str) -> i64 {
        if self.dir.is_some() {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }

    pub(crate) async fn open(&self) -> State {
        self.open_with(patient()).await
    }

    pub(crate) async fn open_with(&self, options: StateOptions) -> State {
        State::open(&self.url, CA, options).await.unwrap()
    }
}

/// A lease that is longer than any stall of a busy machine, so no process counts as dead. A beat comes every 15 s.
pub(crate) fn patient() -> StateOptions {
    StateOptions { owner_lease: Duration::from_secs(60), ..StateOptions::default() }
}

/// For tests that wait for what processes exchange with their beats: a beat comes every two seconds.
pub(crate) fn talkative() -> StateOptions {
    StateOptions { owner_lease: Duration::from_secs(8), ..StateOptions::default() }
}

/// Makes each specification a test over both backends.
macro_rules! over_both_backends {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&$crate::common::Database::sqlite()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&$crate::common::Database::postgres().await).await;
                }
            )*
        }
    };
}
pub(crate) use over_both_backends;

/// Waits until `done`; a test that needs [`BOUND`] has failed.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

fn number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    // Processes of one test must make different serials.
    (u64::from(std::process::id()) << 32) | NUMBER.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn account() -> Account {
    Account { url: format!("https://ca.test/account/{}", number()), key: AccountKey::generate().unwrap() }
}

pub(crate) fn order(name: &str) -> Order {
    let url = format!("https://ca.test/order/{}", number());
    Order {
        status: OrderStatus::Ready,
        identifiers: vec![Identifier::of(name), Identifier::of("192.0.2.7")],
        authorizations: vec![format!("{url}/authz")],
        finalize: format!("{url}/finalize"),
        certificate: None,
        expires: Some("2099-01-01T00:00:00Z".into()),
        not_after: None,
        replaces: None,
        error: None,
        retry_after: None,
        url,
    }
}

pub(crate) fn certificate(names: &[String]) -> NewCertificate {
    let serial = format!("{:032x}", number());
    let leaf = "-----BEGIN CERTIFICATE-----\nbGVhZg==\n-----END CERTIFICATE-----\n";
    let issuer = "-----BEGIN CERTIFICATE-----\naXNzdWVy\n-----END CERTIFICATE-----\n";
    NewCertificate {
        url: "https://ca.test/certificate/1".into(),
        issuer: "issuer".into(),
        ari_id: format!("aki.{serial}"),
        serial,
        names: names.to_vec(),
        leaf_der: b"leaf".to_vec(),
        pem: format!("{leaf}{issuer}").into_bytes(),
        key_pkcs8: vec![7; 138],
        not_before_unix: 1_700_000_000,
        not_after_unix: 4_000_000_000,
    }
}

/// The steps of chains.
pub(crate) async fn register(state: &State) -> Arc<Registration> {
    let reservation = state.reserve(Object::Registration).unwrap();
    state.add_registration(reservation, &account(), &["mailto:a@b.test".into()]).await;
    state.registration().unwrap()
}

pub(crate) async fn authorize(state: &State, registration: &Arc<Registration>) {
    let name = state.unique_name("wec.test");
    state.add_order(state.reserve(Object::Order).unwrap(), registration, &order(&name), "", None).await;
}

pub(crate) async fn issue(state: &State, claim: Claim<ReadyOrder>) {
    let new = certificate(&claim.names);
    state.order_issued(claim, state.reserve(Object::Certificate).unwrap(), new).await;
}

pub(crate) async fn renew(state: &State, claim: Claim<StoredCertificate>) {
    let (new, registration) = (certificate(&claim.names), claim.registration.clone());
    state.certificate_replaced(claim, state.reserve(Object::Certificate).unwrap(), &registration, new).await;
}

/// A state with one account and this many ready orders and certificates.
pub(crate) async fn stocked(state: &State, each: usize) -> Arc<Registration> {
    let registration = register(state).await;
    for _ in 0..each {
        authorize(state, &registration).await;
        issue(state, state.claim_order().unwrap()).await;
    }
    for _ in 0..each {
        authorize(state, &registration).await;
    }
    state.flush().await.unwrap();
    registration
}
