//! A full file system under an SQLite file, and what is written when there is space again.
//!
//! The file system is a small tmpfs in a new mount namespace, in which this test binary runs itself again. Where the
//! system does not allow this, the tests print so and are skipped.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sqlx::Connection as _;
use wec_store::{State, StateOptions, StoreError};

use crate::common::{CA, authorize, patient, register, stocked, until};

/// The mount point of the small file system.
const PLACE: &str = "WEC_TEST_SMALL_DISK";

/// Runs `test` again in a process where [`PLACE`] is a file system of 3 MiB. False in that process.
fn runs_in_a_small_file_system(test: &str) -> bool {
    if std::env::var_os(PLACE).is_some() {
        return false;
    }
    let dir = tempfile::tempdir().unwrap();
    let unshared = |script: &str, arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).args(arguments);
        command.env(PLACE, dir.path());
        command
    };
    const MOUNT: &str = r#"mount -t tmpfs -o size=3m none "$1""#;
    let may = unshared(MOUNT, &[dir.path().as_os_str()]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no tmpfs can be mounted in a namespace of its own here (unshare --user --mount)");
        return true;
    }
    let binary = std::env::current_exe().unwrap();
    let script = format!(r#"{MOUNT} && exec "$2" --exact "$3" --nocapture --test-threads=1"#);
    let status = unshared(&script, &[dir.path().as_os_str(), binary.as_os_str(), test.as_ref()]).status();
    assert!(status.unwrap().success(), "{test} failed in its small file system");
    true
}

struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    fn here() -> Self {
        Self { dir: std::env::var_os(PLACE).unwrap().into() }
    }

    fn database(&self) -> PathBuf {
        self.dir.join("state.db")
    }

    async fn open(&self, options: StateOptions) -> State {
        State::open(&format!("sqlite://{}", self.database().display()), CA, options).await.unwrap()
    }

    fn fill(&self) {
        let mut file = std::fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        // Byte by byte at the end, until no byte fits.
        for piece in [4096, 1] {
            while file.write_all(&vec![b'x'; piece]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }

    async fn orders_stored(&self) -> i64 {
        let url = format!("sqlite://{}", self.database().display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut connection).await.unwrap()
    }
}

#[tokio::test]
async fn changes_made_while_the_disk_is_full_are_written_when_there_is_space() {
    const NAME: &str = "full_disk::changes_made_while_the_disk_is_full_are_written_when_there_is_space";
    if runs_in_a_small_file_system(NAME) {
        return;
    }
    let disk = SmallDisk::here();
    let state = disk.open(patient()).await;
    let registration = stocked(&state, 5).await;
    let mut orders = 10;
    // Twice: the first time must leave nothing that makes the second fail.
    for _ in 0..3 {
        disk.fill();
        until("the full disk shows", async || {
            authorize(&state, &registration).await;
            orders += 1;
            state.health().failing.is_some()
        })
        .await;
        let failing = state.health().failing.unwrap();
        assert!(failing.contains("full; free some space"), "{failing}");
        for _ in 0..50 {
            authorize(&state, &registration).await;
            orders += 1;
        }
        let retries = state.health().retries;
        until("it is tried again", async || state.health().retries > retries + 2).await;
        assert!(state.health().queued >= 50, "{:?}", state.health());
        disk.free();
        until("writing continues", async || state.health().failing.is_none() && state.health().queued == 0)
            .await;
        assert_eq!(disk.orders_stored().await, orders);
    }
    state.close().await.unwrap();
    assert_eq!(disk.orders_stored().await, orders);
}

#[tokio::test]
async fn changes_that_a_full_disk_prevents_until_the_end_are_counted() {
    const NAME: &str = "full_disk::changes_that_a_full_disk_prevents_until_the_end_are_counted";
    if runs_in_a_small_file_system(NAME) {
        return;
    }
    let disk = SmallDisk::here();
    let state =
        disk.open(StateOptions { owner_lease: Duration::from_secs(1), ..StateOptions::default() }).await;
    let registration = register(&state).await;
    state.flush().await.unwrap();
    disk.fill();
    let mut orders = 0;
    until("the full disk shows", async || {
        // No orders while the state is fenced.
        if let Some(reservation) = state.reserve(wec_store::Object::Order) {
            state
                .add_order(
                    reservation,
                    &registration,
                    &crate::common::order(&state.unique_name("wec.test")),
                    "",
                    None,
                )
                .await;
            orders += 1;
        }
        state.health().failing.is_some()
    })
    .await;
    let queued = state.health().queued;
    let error = state.close().await.unwrap_err();
    assert!(
        matches!(error, StoreError::Unwritten { changes, .. } if changes == queued && changes > 0),
        "{error}, {queued} were queued"
    );
    disk.free();
    assert_eq!(disk.orders_stored().await + queued as i64, orders);
}

#[tokio::test]
async fn the_files_of_the_state_are_private_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let modes = || {
        ["", "-wal", "-shm"].map(|suffix| {
            let path = format!("{}{suffix}", file.display());
            std::fs::metadata(Path::new(&path)).unwrap().permissions().mode() & 0o777
        })
    };
    let url = format!("sqlite://{}", file.display());
    let state = State::open(&url, CA, patient()).await.unwrap();
    register(&state).await;
    state.flush().await.unwrap();
    assert_eq!(modes(), [0o600; 3]);
    state.close().await.unwrap();
    // A file with the permissions that earlier versions gave it.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let state = State::open(&url, CA, patient()).await.unwrap();
    register(&state).await;
    state.flush().await.unwrap();
    assert_eq!(modes(), [0o600; 3]);
    state.close().await.unwrap();
}
