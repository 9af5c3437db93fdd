//! A server as a child process: started in a directory of its own, waited for, and ended with its owner.
//!
//! Every child leads a process group. Dropping the [`Process`] ends the whole group; when the test itself dies without
//! dropping anything (SIGKILL, an aborting panic), a guard process that waits on a pipe from the test ends it.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process_group};
use tempfile::TempDir;

/// How long a server may take to start, on however busy a machine. One that cannot start says so at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How long a server may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// A program that a test needs and where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The binary: a name on the `PATH`, or an absolute path for those that Debian keeps elsewhere.
    pub binary: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

impl Program {
    /// Where the binary is.
    ///
    /// `/usr/sbin` and `/usr/local/sbin` are looked into even when the `PATH` lacks them.
    ///
    /// # Errors
    /// When it is not installed; the message names the Debian package.
    pub fn find(&self) -> anyhow::Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/local/sbin", "/usr/sbin", "/usr/bin"].map(PathBuf::from))
            .map(|dir| dir.join(self.binary))
            .find(|file| file.is_file())
            .with_context(|| {
                format!(
                    "`{}` is not installed, and this test runs against the real one: apt-get install {}",
                    self.binary, self.package
                )
            })
    }
}

/// A running server.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    guard: Child,
    dir: TempDir,
    stop: Signal,
}

impl Process {
    /// Starts `program` with what `setup` adds to the command.
    ///
    /// `setup` gets the server's own directory, removed when the process is dropped, to put configuration and data
    /// into. The command runs there, its output goes to a file (see [`Process::log`]), and it reads no input.
    /// What `setup` sets as the command's program arguments is kept; anything else it wraps (`runuser`,
    /// `nsenter`) goes in by [`Process::start_with`].
    ///
    /// # Errors
    /// When the program is not installed or cannot be started.
    pub fn start(
        program: Program,
        setup: impl FnOnce(&mut Command, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let binary = program.find()?;
        Self::start_with(program.binary, |dir| {
            let mut command = Command::new(&binary);
            setup(&mut command, dir)?;
            Ok(command)
        })
    }

    /// Starts whatever command `build` makes; `name` is what messages call it.
    ///
    /// # Errors
    /// When `build` fails or the command cannot be started.
    pub fn start_with(
        name: &'static str,
        build: impl FnOnce(&Path) -> anyhow::Result<Command>,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("wec-test-").tempdir()?;
        let mut command = build(dir.path())?;
        let log = File::create(log_file(dir.path()))?;
        let child = command
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        let guard = guard(child.id())?;
        Ok(Self { name, child, guard, dir, stop: Signal::TERM })
    }

    /// The signal that makes this server end cleanly, if it is not SIGTERM.
    #[must_use]
    pub const fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Waits until `probe` says yes, asking every few milliseconds.
    ///
    /// # Errors
    /// When the server ends, or is not ready within `bound`; the message ends with its log.
    pub async fn ready(
        &mut self,
        bound: Duration,
        mut probe: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + bound;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once with {status}; its log:\n{}", self.name, self.log());
            }
            if probe().await {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                bail!("{} is not ready after {bound:?}; its log:\n{}", self.name, self.log());
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// [`Process::ready`] when `address` accepts TCP connections.
    ///
    /// # Errors
    /// As [`Process::ready`], with a bound of two minutes.
    pub async fn accepting(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.ready(PATIENCE, async || tokio::net::TcpStream::connect(address).await.is_ok()).await
    }

    /// The server's own directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the server has printed so far.
    pub fn log(&self) -> String {
        std::fs::read(log_file(self.dir.path()))
            .map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The server's process id, which is also its process group's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the whole group.
    ///
    /// # Errors
    /// When nobody is left in the group.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process_group(group(self.child.id())?, signal)?)
    }

    /// Ends the server as a power cut would: SIGKILL to the whole group, nothing flushed.
    ///
    /// # Errors
    /// When the server cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        // The group may be gone already; the status tells.
        let _ = self.signal(Signal::KILL);
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors are ignored throughout: whoever is already gone needs no ending.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(self.stop);
            let step = Duration::from_millis(5);
            let mut waited = Duration::ZERO;
            while waited < GRACE && matches!(self.child.try_wait(), Ok(None)) {
                pause(step);
                waited += step;
            }
        }
        let _ = self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A shell that kills the group when its input ends, which is when we die.
fn guard(leader: u32) -> anyhow::Result<Child> {
    Command::new("sh")
        .args([OsStr::new("-c"), OsStr::new("read -r _; kill -s KILL -- \"-$1\""), OsStr::new("guard")])
        .arg(leader.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start a shell")
}

fn group(leader: u32) -> anyhow::Result<Pid> {
    i32::try_from(leader).ok().and_then(Pid::from_raw).context("not a process id")
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("output.log")
}

#[expect(clippy::disallowed_methods, reason = "Drop cannot await, and a test's server must be gone after it")]
fn pause(step: Duration) {
    std::thread::sleep(step);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEP: Program = Program { binary: "sleep", package: "coreutils" };

    fn sleeper() -> Process {
        Process::start(SLEEP, |command, _| {
            command.arg("600");
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn ends_the_process_and_removes_its_directory_on_drop() {
        let process = sleeper();
        let (pid, dir) = (process.pid(), process.dir().to_owned());
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!dir.exists());
    }

    #[test]
    fn kills_the_group_when_its_owner_dies_without_dropping() {
        let mut process = sleeper();
        // What the kernel does to our end of the pipe when we die.
        drop(process.guard.stdin.take());
        let status = process.child.wait().unwrap();
        assert!(!status.success(), "{status}");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let missing = Program { binary: "no-such-binary", package: "some-package" };
        let message = missing.find().unwrap_err().to_string();
        assert!(message.contains("apt-get install some-package"), "{message}");
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_shows_its_log() {
        let mut process = Process::start_with("sh", |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such option; exit 3"]);
            Ok(command)
        })
        .unwrap();
        let error = process.ready(PATIENCE, async || false).await.unwrap_err().to_string();
        assert!(error.contains("no such option"), "{error}");
    }
}
