//! etcd, one member, its state in a directory of its own that outlives a restart.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::json;
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
    secured: Option<Secured>,
    data: TempDir,
}

/// A second address, where it serves by TLS only.
#[derive(Clone, Debug)]
struct Secured {
    address: SocketAddr,
    tls: ServerTls,
}

/// What a server shows and trusts, files of PEM.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Its certificate.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// Whose certificates clients must show.
    pub clients: PathBuf,
}

impl Etcd {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_as(None).await
    }

    /// Starts one that serves by TLS as well, at [`Etcd::secured`].
    ///
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start_with_tls(tls: ServerTls) -> anyhow::Result<Self> {
        Self::start_as(Some(tls)).await
    }

    async fn start_as(tls: Option<ServerTls>) -> anyhow::Result<Self> {
        on_free_ports(async || {
            let data = tempfile::Builder::new().prefix("wec-test-etcd-").tempdir_in(crate::memory_folder())?;
            let (client, peer) = (free_address(), free_address());
            let secured = tls.clone().map(|tls| Secured { address: free_address(), tls });
            let process = launch(client, peer, secured.as_ref(), data.path()).await?;
            Ok(Self { process, client, peer, secured, data })
        })
        .await
    }

    /// Where it serves by TLS, after [`Etcd::start_with_tls`]: `127.0.0.1:port`.
    pub fn secured(&self) -> Option<SocketAddr> {
        self.secured.as_ref().map(|secured| secured.address)
    }

    /// Makes users: `root`, and one who may read and write what is under `prefix` and nothing else. From then on nobody else
    /// may do anything.
    ///
    /// # Errors
    /// When etcd refuses.
    pub async fn enable_users(&self, user: &str, password: &str, prefix: &str) -> anyhow::Result<()> {
        let mut end = prefix.to_owned().into_bytes();
        *end.last_mut().context("a prefix that is not empty")? += 1;
        let (key, end) = (BASE64.encode(prefix), BASE64.encode(&end));
        let permission = json!({ "permType": "READWRITE", "key": key, "range_end": end });
        for (path, body) in [
            ("user/add", json!({ "name": "root", "password": format!("{password} of root") })),
            ("user/grant", json!({ "user": "root", "role": "root" })),
            ("role/add", json!({ "name": user })),
            ("role/grant", json!({ "name": user, "perm": permission })),
            ("user/add", json!({ "name": user, "password": password })),
            ("user/grant", json!({ "user": user, "role": user })),
            ("enable", json!({})),
        ] {
            let answer = post(self.client, &format!("/v3/auth/{path}"), &body.to_string()).await?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "etcd refused {path}: {answer}");
        }
        Ok(())
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
        self.process = launch(self.client, self.peer, self.secured.as_ref(), self.data.path()).await?;
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

async fn launch(
    client: SocketAddr,
    peer: SocketAddr,
    secured: Option<&Secured>,
    data: &Path,
) -> anyhow::Result<Process> {
    let mut process = Process::start(ETCD, |command, _| {
        let (mut client, peer) = (format!("http://{client}"), format!("http://{peer}"));
        if let Some(Secured { address, tls: ServerTls { certificate, key, clients } }) = secured {
            client = format!("{client},https://{address}");
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(key);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(clients);
        }
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
            // Where there are users it is refused, by a leader as well.
            let answer = post(client, "/v3/kv/range", "{\"key\":\"AA==\"}").await;
            answer.is_ok_and(|answer| {
                answer.starts_with("HTTP/1.1 200") || answer.contains("user name is empty")
            })
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
