//! Python with the packages of `target/test-venv`, for clients and receivers that others wrote.

use std::path::{Path, PathBuf};

use anyhow::ensure;

/// Where its interpreter is.
///
/// # Errors
/// When the packages are not installed; the message has the command that installs them.
pub fn python() -> anyhow::Result<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-venv/bin/python");
    ensure!(program.is_file(), "the Python packages of this test are not installed: scripts/install-python");
    Ok(program)
}
