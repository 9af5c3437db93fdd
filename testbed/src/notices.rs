//! nginx as the service that gets notices by a webhook: it accepts each request and keeps its body.

use std::net::SocketAddr;

use anyhow::Context as _;

use crate::nginx::NGINX;
use crate::{Process, free_address, on_free_ports};

/// A running nginx.
#[derive(Debug)]
pub struct Notices {
    process: Process,
    address: SocketAddr,
}

impl Notices {
    /// Starts one and waits until it accepts connections.
    ///
    /// # Errors
    /// When it is not installed or does not start; the message has its log.
    pub async fn start() -> anyhow::Result<Self> {
        on_free_ports(async || {
            let address = free_address();
            let mut process = Process::start(NGINX, |command, dir| {
                let path = dir.join("nginx.conf");
                std::fs::write(&path, configuration(address))?;
                // Before it has read its configuration it would write to a file of the system's.
                command.arg("-p").arg(dir).arg("-c").arg(&path).args(["-e", "stderr"]);
                Ok(())
            })?;
            process.accepting(address).await?;
            Ok(Self { process, address })
        })
        .await
    }

    /// A URL at which it accepts notices: `http://127.0.0.1:PORT/services/s3cret`.
    pub fn url(&self) -> String {
        format!("http://{}/services/s3cret", self.address)
    }

    /// What it got: for each request a line with method, path, content type and body.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn received(&self) -> anyhow::Result<Vec<String>> {
        let text = std::fs::read_to_string(self.process.dir().join("notices.log"));
        Ok(text.context("cannot read what nginx received")?.lines().map(str::to_owned).collect())
    }
}

/// nginx reads a body only to pass it on: to itself.
fn configuration(address: SocketAddr) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr;
events {{ worker_connections 100; }}
http {{
  log_format notices escape=none '$request_method $uri $content_type $request_body';
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  access_log off;
  server {{
    listen {address};
    location /services/ {{ access_log notices.log notices; proxy_pass http://{address}/accepted/; }}
    location /accepted/ {{ return 200; }}
  }}
}}
"
    )
}
