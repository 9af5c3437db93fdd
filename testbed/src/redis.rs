//! Redis, nothing on disk, with a password when asked for one.

use std::net::SocketAddr;

use crate::{Process, Program, free_address, on_free_ports};

const REDIS: Program = Program { binary: "redis-server", package: "redis-server" };

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    address: SocketAddr,
    password: Option<String>,
}

impl Redis {
    /// Starts one without a password and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::launch(None).await
    }

    /// [`Redis::start`] with a password.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_with_password(password: &str) -> anyhow::Result<Self> {
        Self::launch(Some(password.to_owned())).await
    }

    async fn launch(password: Option<String>) -> anyhow::Result<Self> {
        on_free_ports(async || {
            let address = free_address();
            let process = launch(address, password.as_deref()).await?;
            Ok(Self { process, address, password: password.clone() })
        })
        .await
    }

    /// `redis://127.0.0.1:port`, with the password if there is one.
    pub fn url(&self) -> String {
        let login = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{login}{}", self.address)
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
        self.process = launch(self.address, self.password.as_deref()).await?;
        Ok(())
    }
}

async fn launch(address: SocketAddr, password: Option<&str>) -> anyhow::Result<Process> {
    let mut process =
        Process::start(REDIS, |command, _| {
            command
                .args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()])
                .args(["--save", "", "--appendonly", "no"]);
            if let Some(password) = password {
                command.args(["--requirepass", password]);
            }
            Ok(())
        })?;
    process.accepting(address).await?;
    Ok(process)
}
