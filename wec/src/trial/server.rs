//! A server as a child process in a group of its own, so that Ctrl-C reaches this process only, which ends it in order.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, bail};
use tokio::process::{Child, ChildStdin, Command};

/// Lines of a server's output in an error.
const LINES: usize = 20;

/// A program and its packages.
pub(super) struct Program {
    /// The binary's name.
    pub(super) binary: &'static str,
    /// How to install it.
    pub(super) install: &'static str,
}

impl Program {
    /// Where it is: on the PATH, or where Debian puts what only root uses.
    ///
    /// # Errors
    /// When it is not installed; the message names the package.
    pub(super) fn find(&self) -> anyhow::Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let others = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let found = std::env::split_paths(&path).chain(others).map(|dir| dir.join(self.binary));
        match found.into_iter().find(|file| file.is_file()) {
            Some(file) => Ok(file),
            None => bail!("{} is not installed: {}", self.binary, self.install),
        }
    }
}

/// Runs a command until it ends or standard input does: that is a pipe from this process, which the system closes however
/// this process ends. A background command would read from /dev/null, so the pipe has another number.
const GUARDED: &str = "exec 3<&0 </dev/null; \"$@\" 3<&- & server=$!; \
    (read -r _ <&3; kill -KILL \"$server\") 2>/dev/null & reader=$!; \
    wait \"$server\"; status=$?; kill \"$reader\" 2>/dev/null; exit \"$status\"";

/// A running server. It ends when this is dropped, and also when this process dies without that.
pub(super) struct Server {
    name: &'static str,
    /// The shell that runs the server, with its exit status.
    child: Child,
    pipe: Option<ChildStdin>,
    log: PathBuf,
}

impl Server {
    /// Starts a command in `folder`, into which its output goes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(name: &'static str, folder: &Path, command: Command) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = std::fs::File::create(&log).context("a file for the CA's output")?;
        let command = command.as_std();
        let variables = command.get_envs().filter_map(|(variable, value)| Some((variable, value?)));
        let mut child = Command::new("sh")
            .args(["-c", GUARDED, name])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(variables)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pipe = child.stdin.take();
        Ok(Self { name, child, pipe, log })
    }

    /// Its name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The end of its output.
    pub(super) fn output(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Ends it.
    pub(super) async fn stop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait().await;
    }
}
