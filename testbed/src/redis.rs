//! Redis, nothing on disk, with a password when asked for one.

use std::net::SocketAddr;

use crate::etcd::ServerTls;
use crate::{Process, Program, free_address, on_free_ports};

const REDIS: Program = Program { binary: "redis-server", package: "redis-server" };

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    address: SocketAddr,
    login: Login,
}

/// What clients need.
#[derive(Clone, Debug, Default)]
struct Login {
    password: Option<String>,
    tls: Option<ServerTls>,
}

impl Redis {
    /// Starts one without a password and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::launch(Login::default()).await
    }

    /// [`Redis::start`] with a password.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_with_password(password: &str) -> anyhow::Result<Self> {
        Self::launch(Login { password: Some(password.to_owned()), tls: None }).await
    }

    /// Starts one that serves by TLS only, to clients with a certificate.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_with_tls(tls: ServerTls) -> anyhow::Result<Self> {
        Self::launch(Login { password: None, tls: Some(tls) }).await
    }

    async fn launch(login: Login) -> anyhow::Result<Self> {
        on_free_ports(async || {
            let address = free_address();
            let process = launch(address, &login).await?;
            Ok(Self { process, address, login: login.clone() })
        })
        .await
    }

    /// `redis://127.0.0.1:port`, with the password if there is one; `rediss://` with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.login.tls.is_some() { "rediss" } else { "redis" };
        let login = self.login.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{login}{}", self.address)
    }

    /// Where it serves.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as a power cut would. What it held is lost.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().map(|_| ())
    }

    /// Starts it again, empty, after [`Redis::kill`], at the same address.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(self.address, &self.login).await?;
        Ok(())
    }
}

async fn launch(address: SocketAddr, login: &Login) -> anyhow::Result<Process> {
    let mut process = Process::start(REDIS, |command, _| {
        command.args(["--bind", &address.ip().to_string()]).args(["--save", "", "--appendonly", "no"]);
        let port = address.port().to_string();
        match &login.tls {
            None => drop(command.args(["--port", &port])),
            Some(ServerTls { certificate, key, clients }) => {
                command.args(["--port", "0", "--tls-port", &port, "--tls-cert-file"]).arg(certificate);
                command.arg("--tls-key-file").arg(key).arg("--tls-ca-cert-file").arg(clients);
            }
        }
        if let Some(password) = &login.password {
            command.args(["--requirepass", password]);
        }
        Ok(())
    })?;
    process.accepting(address).await?;
    Ok(process)
}
