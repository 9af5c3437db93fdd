//! Locust, from the Python packages in `target/test-venv`.

use std::path::{Path, PathBuf};

use anyhow::ensure;

/// Where its program is.
///
/// # Errors
/// When it is not installed; the message has the command that installs it.
pub fn locust() -> anyhow::Result<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-venv/bin/locust");
    ensure!(
        program.is_file(),
        "`locust` is not installed, and this test runs against the real one: scripts/install-python"
    );
    Ok(program)
}
