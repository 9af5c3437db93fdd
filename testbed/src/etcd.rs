//! etcd, one member, its state in a directory of its own that outlives a restart.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::PATIENCE;
use crate::{Process, Program, free_address, on_free_ports};

const ETCD: Program = Program { binary: "etcd", package: "etcd-server" };

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    client: SocketAddr,
    peer: SocketAddr,
    data: TempDir,
}

impl Etcd {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        on_free_ports(async || {
            let data = tempfile::Builder::new().prefix("wec-test-etcd-").tempdir()?;
            let (client, peer) = (free_address(), free_address());
            let process = launch(client, peer, data.path()).await?;
            Ok(Self { process, client, peer, data })
        })
        .await
    }

    /// Where it serves: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Where it serves.
    pub const fn address(&self) -> SocketAddr {
        self.client
    }

    /// Kills it as a power cut would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().map(|_| ())
    }

    /// Starts it again after [`Etcd::kill`], at the same address with what it had stored.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(self.client, self.peer, self.data.path()).await?;
        Ok(())
    }

    /// Forgets what came before `revision`.
    ///
    /// # Errors
    /// When etcd refuses, such as for a revision in the future.
    pub async fn compact(&self, revision: u64) -> anyhow::Result<()> {
        let answer = post(self.client, "/v3/kv/compaction", &format!("{{\"revision\":{revision}}}")).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "etcd refused to compact: {answer}");
        Ok(())
    }
}

async fn launch(client: SocketAddr, peer: SocketAddr, data: &Path) -> anyhow::Result<Process> {
    let mut process = Process::start(ETCD, |command, _| {
        let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
        command
            .args(["--name", "testbed", "--data-dir"])
            .arg(data)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("testbed={peer}")])
            // Debian's 3.4 refuses to run on some architectures without it; it changes nothing on the others.
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH);
        Ok(())
    })?;
    process
        .ready(PATIENCE, async || {
            // A range, because the port is open before there is a leader.
            post(client, "/v3/kv/range", "{\"key\":\"AA==\"}")
                .await
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await?;
    Ok(process)
}

/// A request to etcd's JSON gateway; the whole answer as text.
async fn post(address: SocketAddr, path: &str, body: &str) -> anyhow::Result<String> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    Ok(tokio::time::timeout(Duration::from_secs(5), exchange).await.context("etcd does not answer")??)
}
