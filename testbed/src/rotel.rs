//! Rotel, an OpenTelemetry collector, from the Python packages in `target/test-venv`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::{Process, free_address, on_free_ports};

/// A running collector.
#[derive(Debug)]
pub struct Rotel {
    process: Process,
    address: SocketAddr,
}

impl Rotel {
    /// Starts one that forwards each export at once to the OTLP receiver at this URL, over HTTP, and waits until it
    /// accepts connections.
    ///
    /// # Errors
    /// When it is not installed or does not come up; the message has the command that installs it, or its log.
    pub async fn start(to: &str) -> anyhow::Result<Self> {
        let program = program().context(
            "Rotel is not installed, and this test runs against the real one: scripts/install-python",
        )?;
        on_free_ports(async || {
            let (grpc, address) = (free_address(), free_address());
            let mut process = Process::start_with("rotel-agent", |dir| {
                let mut command = Command::new(&program);
                command.args(["start", "--disable-batching", "--exporter", "otlp"]);
                command.args(["--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", to]);
                command.arg("--otlp-grpc-endpoint").arg(grpc.to_string());
                command.arg("--otlp-http-endpoint").arg(address.to_string());
                command.arg("--pid-file").arg(dir.join("rotel.pid"));
                Ok(command)
            })?;
            process.accepting(address).await?;
            Ok(Self { process, address })
        })
        .await
    }

    /// Where it receives OTLP over HTTP: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The binary, which is among the files of the package, in a folder that is named after the version of Python.
fn program() -> Option<PathBuf> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-venv/lib");
    let pythons = std::fs::read_dir(lib).ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages/rotel/rotel-agent")).find(|file| file.is_file())
}
