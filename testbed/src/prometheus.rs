//! Prometheus with a data folder of its own, and the exporter of a machine's figures.

use std::net::SocketAddr;

use crate::{Process, Program, free_address, on_free_ports};

const PROMETHEUS: Program = Program { binary: "prometheus", package: "prometheus" };
const NODE_EXPORTER: Program =
    Program { binary: "prometheus-node-exporter", package: "prometheus-node-exporter" };

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one with this configuration, these files beside it and these features, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// When it is not installed, does not accept the configuration, or does not come up.
    pub async fn start(config: &str, files: &[(&str, &str)], features: &[&str]) -> anyhow::Result<Self> {
        on_free_ports(async || {
            let address = free_address();
            let mut process = Process::start(PROMETHEUS, |command, dir| {
                std::fs::write(dir.join("prometheus.yml"), config)?;
                for (name, text) in files {
                    std::fs::write(dir.join(name), text)?;
                }
                command
                    .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
                    .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
                    .arg(format!("--web.listen-address={address}"))
                    .args(features.iter().map(|feature| format!("--enable-feature={feature}")));
                Ok(())
            })?;
            process.accepting(address).await?;
            Ok(Self { process, address })
        })
        .await
    }

    /// `127.0.0.1:PORT`.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A running node exporter.
#[derive(Debug)]
pub struct NodeExporter {
    process: Process,
    address: SocketAddr,
}

impl NodeExporter {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        on_free_ports(async || {
            let address = free_address();
            let mut process = Process::start(NODE_EXPORTER, |command, _| {
                command.arg(format!("--web.listen-address={address}"));
                Ok(())
            })?;
            process.accepting(address).await?;
            Ok(Self { process, address })
        })
        .await
    }

    /// `http://127.0.0.1:PORT/metrics`.
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
