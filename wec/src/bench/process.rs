//! Processes that are measured: this binary, pinned to a processor if requested, read through `/proc`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Ticks per second in `/proc/PID/stat`: `USER_HZ`, which is 100 for programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running `wec` subcommand. Killed when dropped.
pub(crate) struct Measured {
    child: Child,
    pid: u32,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Measured {
    /// Starts `wec ARGS…`, on one processor if `cpu` is given.
    pub(crate) fn start(cpu: Option<usize>, folder: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        let command = match cpu {
            Some(cpu) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", &cpu.to_string()]).arg(program);
                pinned
            }
            None => Command::new(program),
        };
        Self::spawn(command, folder, args)
    }

    /// The same without the settings in this process's environment (`WEC_STATE`, `WEC_CHALLENGES`), which are for its own
    /// runs.
    pub(crate) fn start_without_settings(folder: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WEC_") {
                command.env_remove(name);
            }
        }
        Self::spawn(command, folder, args)
    }

    fn spawn(mut command: Command, folder: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let shown = args.join(" ");
        let mut child = command
            .args(args)
            .current_dir(folder)
            // Only figures matter here; a run at its limits, which would be reported, is often the purpose.
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot start wec {shown} (taskset comes with the package util-linux)")
            })?;
        let pid = child.id().context("the process ended at once")?;
        let stdout = child.stdout.take().context("standard output of the process")?;
        Ok(Self { child, pid, lines: BufReader::new(stdout).lines() })
    }

    /// The next line of its output.
    pub(crate) async fn line(&mut self) -> anyhow::Result<String> {
        match tokio::time::timeout(Duration::from_secs(120), self.lines.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => bail!("a measured process ended before the expected line"),
            Ok(Err(error)) => Err(error).context("reading from a measured process"),
            Err(_) => bail!("a measured process printed nothing for 120 s"),
        }
    }

    /// The rest of its output, at its end.
    pub(crate) async fn lines(&mut self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = self.lines.next_line().await.context("reading from a measured process")? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// User and system time so far, seconds.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .context("the process's /proc entry")?;
        cpu_of(&stat).context("an unknown form of /proc/PID/stat")
    }

    /// Resident memory now, bytes; none when the process has ended.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        memory_of(&status, "VmRSS:")
    }

    /// Its open descriptors; none after it has ended.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Waits until it has ended by itself; `look` is called every tenth of a second meanwhile.
    ///
    /// # Errors
    /// If it takes longer than `within`.
    pub(crate) async fn ended(
        &mut self,
        within: Duration,
        mut look: impl FnMut(&Self),
    ) -> anyhow::Result<()> {
        tokio::time::timeout(within, async {
            while !self.has_ended() {
                look(self);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await
        .context("the run does not end")
    }

    /// Stops it with a signal and waits.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        if !self.has_ended() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
            let pid = pid.context("the id of a measured process is no id")?;
            kill_process(pid, Signal::TERM).context("asking a measured process to end")?;
        }
        tokio::time::timeout(Duration::from_secs(60), self.child.wait())
            .await
            .context("a measured process did not end within 60 s")?
            .context("waiting for a measured process")?;
        Ok(())
    }
}

/// Flags for issuances only: after the registrations, authorizations and certificates in equal parts.
pub(crate) const ISSUANCES: [&str; 2] =
    ["--weight", "registration=100,authorization=1,certificate=1,refresh=0,revoke=0"];

/// The built-in CA in its own process, and its URL.
pub(crate) struct Ca {
    process: Measured,
    pub(crate) directory: String,
    /// File with the root to trust.
    root: String,
    counts: std::path::PathBuf,
}

impl Ca {
    pub(crate) async fn start(cpu: Option<usize>, folder: &Path, extra: &[&str]) -> anyhow::Result<Self> {
        let counts = folder.join("ca-counts.json");
        let counts_text = counts.display().to_string();
        let root = folder.join("root.pem").display().to_string();
        let mut args =
            vec!["null-ca", "--listen", "127.0.0.1:0", "--root-out", &root, "--counts-out", &counts_text];
        args.extend(extra);
        let mut process = Measured::start(cpu, folder, &args)?;
        let directory = process.line().await?;
        Ok(Self { process, directory, root, counts })
    }

    /// The flags with which a requester uses it. It validates nothing, so the listeners may be anywhere.
    pub(crate) fn target(&self) -> [&str; 6] {
        ["--directory", &self.directory, "--cacert", &self.root, "--http01-listen", "127.0.0.1:0"]
    }

    /// Certificates that it issued, by its own count.
    pub(crate) async fn finish(self) -> anyhow::Result<u64> {
        self.process.finish().await?;
        let counts: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&self.counts)?)?;
        counts["certificates"].as_u64().context("the CA's own count of certificates")
    }
}

/// What a process took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) cpu_seconds: f64,
    /// Highest resident memory, bytes.
    pub(crate) peak: u64,
}

/// Runs another program, and returns what it took and what it printed. Its last hundredths of a second are not counted.
pub(crate) async fn spent_by(
    program: &str,
    args: &[&str],
    within: Duration,
) -> anyhow::Result<(Spent, String)> {
    let mut command = Command::new(program);
    let child = command.args(args).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let pid = child.id().context("the process ended at once")?;
    let mut spent = Spent::default();
    let output = child.wait_with_output();
    tokio::pin!(output);
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let ended = async {
        loop {
            tokio::select! {
                ended = &mut output => break ended,
                _ = look.tick() => {
                    let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}"));
                    if let Some(cpu_seconds) = read("stat").ok().and_then(|stat| cpu_of(&stat)) {
                        spent.cpu_seconds = cpu_seconds;
                    }
                    if let Some(peak) = read("status").ok().and_then(|status| memory_of(&status, "VmHWM:")) {
                        spent.peak = peak;
                    }
                }
            }
        }
    };
    let output = tokio::time::timeout(within, ended).await.context("it takes too long")??;
    Ok((spent, String::from_utf8(output.stdout)?))
}

/// Processor time of all threads of this process, nanoseconds.
pub(crate) fn cpu_of_threads() -> anyhow::Result<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").context("the process's /proc entry")?.flatten();
    let spent = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    Ok(spent.filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok()).sum())
}

/// The highest resident memory of this process, bytes.
pub(crate) fn peak_of_self() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("the process's /proc entry")?;
    memory_of(&status, "VmHWM:").context("an unknown form of /proc/self/status")
}

/// utime and stime: the 14th and 15th field, counted after the command's closing bracket.
fn cpu_of(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 =
        [11, 12].iter().map(|index| fields.get(*index)?.parse::<f64>().ok()).sum::<Option<f64>>()?;
    Some(ticks / TICKS_PER_SECOND)
}

fn memory_of(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The value below which this share of a sorted sample is; none for an empty sample.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_after_a_command_with_brackets_and_blanks() {
        let stat = "42 (a ) b) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("nonsense"), None);
    }

    #[test]
    fn quantiles_are_of_the_sample() {
        let sample: Vec<u64> = (1..=200).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| quantile(&sample, share)),
            [Some(1), Some(100), Some(198), Some(200)]
        );
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn reads_resident_memory() {
        assert_eq!(memory_of("Name:\twec\nVmRSS:\t   2048 kB\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(memory_of("Name:\twec\n", "VmRSS:"), None);
    }
}
