//! InfluxDB 1.x with a data folder of its own, and with users when asked for them.

use std::net::SocketAddr;

use crate::{Process, Program, free_address, on_free_ports};

const INFLUXD: Program = Program { binary: "influxd", package: "influxdb" };

/// A running InfluxDB.
#[derive(Debug)]
pub struct InfluxDb {
    process: Process,
    address: SocketAddr,
}

impl InfluxDb {
    /// Starts one without users, and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::launch(false).await
    }

    /// Starts one that needs a user and a password. The first statement must create the first user.
    ///
    /// # Errors
    /// As [`InfluxDb::start`].
    pub async fn start_with_users() -> anyhow::Result<Self> {
        Self::launch(true).await
    }

    async fn launch(users: bool) -> anyhow::Result<Self> {
        on_free_ports(async || {
            let (address, rpc) = (free_address(), free_address());
            let mut process = Process::start(INFLUXD, |command, dir| {
                let folder = dir.display();
                let config = dir.join("influxdb.conf");
                std::fs::write(
                    &config,
                    format!(
                        "reporting-disabled = true\nbind-address = \"{rpc}\"\n\
                         [meta]\ndir = \"{folder}/meta\"\n\
                         [data]\ndir = \"{folder}/data\"\nwal-dir = \"{folder}/wal\"\n\
                         [http]\nbind-address = \"{address}\"\nauth-enabled = {users}\n\
                         [monitor]\nstore-enabled = false\n"
                    ),
                )?;
                command.arg("-config").arg(&config).env("HOME", dir);
                for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("INFLUXDB_")) {
                    command.env_remove(name);
                }
                Ok(())
            })?;
            process.accepting(address).await?;
            Ok(Self { process, address })
        })
        .await
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
