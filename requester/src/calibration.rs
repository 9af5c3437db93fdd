//! Stores the ceiling that `wec calibrate` measured, and reads it for runs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use wec_record::Calibration;

/// `wec/calibration.json` in the state folder of the XDG Base Directory Specification: `$XDG_STATE_HOME`,
/// else `~/.local/state`. None if the environment has neither.
pub fn calibration_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("wec/calibration.json"))
}

/// The stored calibration of this machine; none if there is none.
///
/// # Errors
/// When it cannot be read, or belongs to another machine. The message has the file and the remedy.
pub fn read_calibration(path: &Path, host: &str, cpus: u32) -> anyhow::Result<Option<Calibration>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the calibration {}", path.display()));
        }
    };
    let kept: Calibration = serde_json::from_str(&text).with_context(|| {
        format!("{} cannot be read as a calibration; wec calibrate makes a new one", path.display())
    })?;
    match kept.mismatch(host, cpus) {
        Some(why) => {
            bail!("the calibration {} is not used: {why}; wec calibrate makes a new one", path.display())
        }
        None => Ok(Some(kept)),
    }
}

/// Stores it atomically in place of an earlier one.
///
/// # Errors
/// When it cannot be written. The message has the file.
pub fn keep_calibration(path: &Path, calibration: &Calibration) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        wec_startup::write_beside(path, (serde_json::to_string_pretty(calibration)? + "\n").as_bytes())
    };
    write().with_context(|| format!("cannot store the calibration in {}", path.display()))
}

/// The stored calibration of this machine, for the header of a run. If it cannot be used, the reason is
/// printed to standard error.
pub(crate) fn kept(host: &str, cpus: u32) -> Option<Calibration> {
    let path = calibration_file()?;
    read_calibration(&path, host, cpus).unwrap_or_else(|error| {
        tracing::warn!("{error:#}");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        Calibration {
            version: wec_record::CALIBRATION_VERSION,
            program: "wec 0.1.0".into(),
            measured_unix_ns: 1,
            host: "lab".into(),
            cpus: 2,
            chains_per_s: 1234.5,
            requests_per_s: 9876.5,
            busy_workers: 64,
            kept_up_chains_per_s: Some(1000.0),
            workers: 10_000,
            workers_at_least: true,
            memory_per_worker: Some(29_000),
        }
    }

    #[test]
    fn a_calibration_is_read_as_written_and_replaces_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/wec/calibration.json");
        assert_eq!(read_calibration(&path, "lab", 2).unwrap(), None);
        keep_calibration(&path, &calibration()).unwrap();
        let newer = Calibration { workers: 5_000, ..calibration() };
        keep_calibration(&path, &newer).unwrap();
        assert_eq!(read_calibration(&path, "lab", 2).unwrap(), Some(newer));
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn an_invalid_calibration_or_one_of_another_machine_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration.json");
        keep_calibration(&path, &calibration()).unwrap();
        let error = read_calibration(&path, "lab", 16).unwrap_err();
        assert!(
            error.to_string().contains("this machine has 16 now; wec calibrate makes a new one"),
            "{error:#}"
        );
        std::fs::write(&path, "{}").unwrap();
        let error = format!("{:#}", read_calibration(&path, "lab", 2).unwrap_err());
        assert!(
            error.contains("cannot be read as a calibration; wec calibrate") && error.contains("version"),
            "{error}"
        );
    }
}
