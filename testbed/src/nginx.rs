//! nginx as the front end of a CA: TLS, HTTP/1.1 and HTTP/2, its own way to end connections, and client certificates.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::ports::{free_address, on_free_ports};
use crate::process::{Process, Program};

pub(crate) const NGINX: Program = Program { binary: "nginx", package: "nginx-light" };
const OPENSSL: Program = Program { binary: "openssl", package: "openssl" };

/// How nginx treats its clients. The default closes nothing early and asks for no certificate.
#[derive(Clone, Debug)]
pub struct NginxOptions {
    /// Requests after which a connection is closed: by GOAWAY over HTTP/2, by `Connection: close` over HTTP/1.1.
    pub keepalive_requests: u32,
    /// How long a connection may be idle before it is closed.
    pub keepalive_timeout: Duration,
    /// Whether a client must show a certificate of the root in [`Nginx::client_files`]; else nginx answers 400.
    pub client_certificates: bool,
    /// Whether URLs in answers, Location among them, are relative; `/moved` redirects to `/directory`.
    pub relative: bool,
    /// A response header of this name gets nginx's id of the request.
    pub request_id: Option<&'static str>,
    /// Text in bodies of answers, and what stands there instead, as a proxy in front of another CA would have it. nginx's
    /// variables are filled in: `https://$http_host` is nginx itself.
    pub rewrite: Option<(&'static str, String)>,
    /// Whether the server's certificate is its own root, as `openssl req -x509` makes one.
    pub self_signed: bool,
    /// Where GET requests for `/elsewhere` are sent by 307.
    pub elsewhere: Option<String>,
}

impl Default for NginxOptions {
    fn default() -> Self {
        Self {
            keepalive_requests: 1_000,
            keepalive_timeout: Duration::from_secs(75),
            client_certificates: false,
            relative: false,
            request_id: None,
            rewrite: None,
            self_signed: false,
            elsewhere: None,
        }
    }
}

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    http1: SocketAddr,
    http2: SocketAddr,
}

impl Nginx {
    /// Starts nginx before the server at `https://{behind}`, whose certificate it does not look at, and waits until it
    /// answers.
    ///
    /// # Errors
    /// When it is not installed or does not start; the message has its log.
    pub async fn start(behind: &str, options: NginxOptions) -> anyhow::Result<Self> {
        on_free_ports(async || Self::start_once(behind, &options).await).await
    }

    async fn start_once(behind: &str, options: &NginxOptions) -> anyhow::Result<Self> {
        let (http1, http2) = (free_address(), free_address());
        let mut process = Process::start(NGINX, |command, dir| {
            write_certificates(dir)?;
            if options.self_signed {
                sign_itself(dir)?;
            }
            let path = dir.join("nginx.conf");
            std::fs::write(&path, configuration(behind, options, (http1, http2)))?;
            // Before it has read its configuration it would write to a file of the system's.
            command.arg("-p").arg(dir).arg("-c").arg(&path).args(["-e", "stderr"]);
            Ok(())
        })?;
        for address in [http1, http2] {
            process.accepting(address).await?;
        }
        Ok(Self { process, http1, http2 })
    }

    /// Where it speaks HTTP/1.1: `https://localhost:PORT`.
    pub fn http1_url(&self) -> String {
        format!("https://localhost:{}", self.http1.port())
    }

    /// Where it speaks HTTP/2 and HTTP/1.1: `https://localhost:PORT`.
    pub fn http2_url(&self) -> String {
        format!("https://localhost:{}", self.http2.port())
    }

    /// File with the root certificate of its HTTPS server, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.process.dir().join("ca.pem")
    }

    /// The root certificate of its HTTPS server, PEM.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ca_pem(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(self.ca_file()).context("cannot read the root made for nginx")
    }

    /// A client certificate with its intermediate, and its key, PEM.
    pub fn client_files(&self) -> (PathBuf, PathBuf) {
        (self.process.dir().join("client.pem"), self.process.dir().join("client.key"))
    }

    /// What it has logged of its requests: a line each, with the User-Agent, the header `traceparent` and the
    /// address that it came from.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn access_log(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(self.process.dir().join("access.log"))
            .context("cannot read nginx's access log")
    }

    /// The same requests in nginx's format `combined`, and as JSON with the times of their ends and their lengths.
    pub fn access_logs(&self) -> [PathBuf; 2] {
        ["combined.log", "json.log"].map(|name| self.process.dir().join(name))
    }

    /// The process: its log, its pid, and how to kill it.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn configuration(behind: &str, options: &NginxOptions, (http1, http2): (SocketAddr, SocketAddr)) -> String {
    let NginxOptions { keepalive_requests, keepalive_timeout, client_certificates, relative, .. } = options;
    let timeout = keepalive_timeout.as_secs();
    let verify = if *client_certificates {
        "ssl_verify_client on; ssl_client_certificate ca.pem; ssl_verify_depth 3;"
    } else {
        ""
    };
    let redirect = if *relative { "proxy_redirect https://$http_host/ /;" } else { "proxy_redirect off;" };
    let own = ("https://$http_host", String::new());
    let rewrites = options.rewrite.iter().chain(relative.then_some(&own)).fold(
        String::from(
            "proxy_set_header Accept-Encoding \"\"; sub_filter_once off; sub_filter_types application/json;",
        ),
        |rewrites, (from, to)| format!("{rewrites} sub_filter \"{from}\" \"{to}\";"),
    );
    let id =
        options.request_id.map_or_else(String::new, |name| format!("add_header {name} $request_id always;"));
    let elsewhere = options.elsewhere.as_deref().unwrap_or("/directory");
    // Its files are named relative to its own directory; one process, which the test's signals reach.
    format!(
        "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr info;
events {{ worker_connections 2000; }}
http {{
  log_format lines '$request_id $status $request \"$http_user_agent\" \"$http_traceparent\" $remote_addr';
  log_format json escape=json '{{\"msec\":\"$msec\",\"request_time\":\"$request_time\",\"request\":\"$request\",'
    '\"status\":$status,\"http_user_agent\":\"$http_user_agent\",\"remote_addr\":\"$remote_addr\"}}';
  access_log access.log lines; access_log combined.log combined; access_log json.log json;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream ca {{ server {behind}; keepalive 32; }}
  server {{
    listen {http1} ssl; listen {http2} ssl http2;
    ssl_certificate server.pem; ssl_certificate_key server.key; {verify}
    keepalive_requests {keepalive_requests}; keepalive_timeout {timeout};
    location / {{
      proxy_pass https://ca; proxy_ssl_server_name on; proxy_ssl_name localhost;
      proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_http_version 1.1;
      proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
      {redirect} {rewrites} {id}
    }}
    location = /moved {{ return 308 /directory; }}
    location = /elsewhere {{ return 307 {elsewhere}; }}
  }}
}}
"
    )
}

/// Puts a certificate in place of the server's and of its root, made as people make one by hand.
fn sign_itself(dir: &Path) -> anyhow::Result<()> {
    let made = Command::new(OPENSSL.find()?)
        .current_dir(dir)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.pem"])
        .output()?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::copy(dir.join("server.pem"), dir.join("ca.pem"))?;
    Ok(())
}

/// A root, a server certificate for localhost from it, and a client's certificate from an intermediate of it.
fn write_certificates(dir: &Path) -> anyhow::Result<()> {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    };
    let (root, root_key) = (authority("testbed front end root"), KeyPair::generate()?);
    let root_pem = root.self_signed(&root_key)?.pem();
    let root = Issuer::new(root, root_key);

    let server_key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let server = CertificateParams::new(names)?.signed_by(&server_key, &root)?;

    let (between, between_key) = (authority("testbed client intermediate"), KeyPair::generate()?);
    let between_pem = between.signed_by(&between_key, &root)?.pem();
    let between = Issuer::new(between, between_key);
    let client_key = KeyPair::generate()?;
    let mut client = CertificateParams::new(["load.test".to_owned()])?;
    client.distinguished_name.push(DnType::CommonName, "load tester");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.signed_by(&client_key, &between)?;

    std::fs::write(dir.join("ca.pem"), root_pem)?;
    std::fs::write(dir.join("server.pem"), server.pem())?;
    std::fs::write(dir.join("server.key"), server_key.serialize_pem())?;
    std::fs::write(dir.join("client.pem"), client.pem() + &between_pem)?;
    std::fs::write(dir.join("client.key"), client_key.serialize_pem())?;
    Ok(())
}
