//! PostgreSQL: a cluster of its own in a temporary directory that outlives a restart.
//!
//! Its programs refuse to run as root, so as root they are started as Debian's user `postgres`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::etcd::ServerTls;
use crate::process::PATIENCE;
use crate::{Process, free_address, on_free_ports};

const USER: &str = "wec";
const PASSWORD: &str = "secret";

/// A running PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    address: SocketAddr,
    programs: PathBuf,
    dir: TempDir,
}

impl Postgres {
    /// Makes a cluster, starts it and waits until it takes connections. The user is `wec` with a password.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_as(None).await
    }

    /// The same; databases other than `postgres` can be used by TLS only, by clients with a certificate.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_with_tls(tls: ServerTls) -> anyhow::Result<Self> {
        Self::start_as(Some(tls)).await
    }

    async fn start_as(tls: Option<ServerTls>) -> anyhow::Result<Self> {
        let programs = programs()?;
        let dir = tempfile::Builder::new().prefix("wec-test-postgres-").tempdir()?;
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        if geteuid().is_root() {
            let (user, group) = unprivileged()?;
            chown(dir.path(), Some(user), Some(group))?;
            chown(&password, Some(user), Some(group))?;
        }
        let made = tokio::process::Command::from(as_ordinary_user(&programs.join("initdb")))
            .current_dir(dir.path())
            .args([
                "--username",
                USER,
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
                "--no-sync",
            ])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(data(dir.path()))
            .output()
            .await?;
        ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        if let Some(tls) = &tls {
            secure(dir.path(), tls)?;
        }
        let (process, address) = on_free_ports(async || {
            let address = free_address();
            Ok((launch(&programs, dir.path(), address).await?, address))
        })
        .await?;
        Ok(Self { process, address, programs, dir })
    }

    /// Makes a database and returns its URL, `postgres://wec:…@127.0.0.1:port/name`.
    ///
    /// # Errors
    /// When PostgreSQL refuses, such as for a name that exists.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<String> {
        self.execute("postgres", &format!("CREATE DATABASE \"{name}\"")).await?;
        Ok(format!("postgres://{USER}:{PASSWORD}@{}/{name}", self.address))
    }

    /// Executes SQL in a database and returns what `psql` prints, without headers.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn execute(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let ip = self.address.ip().to_string();
        let port = self.address.port().to_string();
        let done = tokio::process::Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"])
            .args([
                "--host",
                &ip,
                "--port",
                &port,
                "--username",
                USER,
                "--dbname",
                database,
                "--command",
                sql,
            ])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .await?;
        ensure!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    }

    /// Where it serves.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as a power cut would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().map(|_| ())
    }

    /// Starts it again after [`Postgres::kill`], at the same address with what it had stored.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(&self.programs, self.dir.path(), self.address).await?;
        Ok(())
    }
}

/// Configures TLS in a cluster that was made.
fn secure(dir: &Path, tls: &ServerTls) -> anyhow::Result<()> {
    let data = data(dir);
    let copy = |from: &Path, name: &str| -> anyhow::Result<()> {
        let to = data.join(name);
        std::fs::copy(from, &to)?;
        // The server refuses a key that others can read.
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600))?;
        if geteuid().is_root() {
            let (user, group) = unprivileged()?;
            chown(&to, Some(user), Some(group))?;
        }
        Ok(())
    };
    copy(&tls.certificate, "server.crt")?;
    copy(&tls.key, "server.key")?;
    copy(&tls.clients, "root.crt")?;
    let rules = "host postgres all 127.0.0.1/32 scram-sha-256\n\
                 hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n";
    std::fs::write(data.join("pg_hba.conf"), rules)?;
    let mut settings = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
    writeln!(settings, "ssl = on\nssl_ca_file = 'root.crt'")?;
    Ok(())
}

async fn launch(programs: &Path, dir: &Path, address: SocketAddr) -> anyhow::Result<Process> {
    let mut process = Process::start_with("postgres", |_| {
        let mut command = as_ordinary_user(&programs.join("postgres"));
        command
            .arg("-D")
            .arg(data(dir))
            .args(["-p", &address.port().to_string()])
            .args(["-c", &format!("listen_addresses={}", address.ip())])
            .args(["-c", &format!("unix_socket_directories={}", dir.display())])
            // A kill of the process loses nothing that the kernel has; only a real power cut would.
            .args(["-c", "fsync=off", "-c", "shared_buffers=32MB"]);
        Ok(command)
    })?
    // Fast shutdown; SIGTERM would wait for clients.
    .stopped_by(Signal::INT);
    // Asked as a client, because the port is open while it still recovers from a kill.
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    process
        .ready(PATIENCE, async || {
            let asked = tokio::process::Command::new(programs.join("pg_isready"))
                .args(["--quiet", "--host", &ip, "--port", &port])
                .status();
            asked.await.is_ok_and(|status| status.success())
        })
        .await?;
    Ok(process)
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// The newest version that Debian has installed; its servers are not on the `PATH`.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file())
        .max_by_key(|bin| {
            let version = bin.parent().and_then(Path::file_name).and_then(OsStr::to_str);
            version.and_then(|version| version.parse::<u32>().ok())
        })
        .context(
            "`postgres` is not installed, and this test runs against the real one: apt-get install postgresql",
        )
}

/// The command as it is, or through `setpriv` for root.
fn as_ordinary_user(program: &Path) -> std::process::Command {
    if !geteuid().is_root() {
        return std::process::Command::new(program);
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// User and group of Debian's `postgres`.
fn unprivileged() -> anyhow::Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields =
        line.context("there is no user postgres: apt-get install postgresql")?.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok());
    number().zip(number()).context("the user postgres has no ids in /etc/passwd")
}
