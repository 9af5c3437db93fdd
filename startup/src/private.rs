//! Files and folders that only their owner may use, whatever the umask: they hold private keys and results.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Options to create a file that is private from the beginning.
#[must_use]
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Creates a folder and those above it, each private. An existing folder is not changed.
///
/// # Errors
/// Those of the file system.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes the rights of other users from an existing file of ours, with a warning. `holds` is what they could have
/// read.
pub fn keep_private(path: &Path, holds: &str) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_file() || mode & 0o077 == 0 {
        return;
    }
    let shown = path.display();
    match fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700)) {
        Ok(()) => tracing::warn!(
            "{shown} was open to other users (mode {mode:03o}) and holds {holds}: it is closed to them now"
        ),
        Err(error) => tracing::warn!(
            "{shown} is open to other users (mode {mode:03o}) and holds {holds}, and that cannot be changed ({error}): \
             ask its owner for chmod go= {shown}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_private_and_what_is_there_becomes_so() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("results/deep");
        private_folder(&folder).unwrap();
        private_folder(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&dir.path().join("results"))), (0o700, 0o700));
        let file = folder.join("state.db");
        private_file().create(true).append(true).open(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
        keep_private(&file, "private keys");
        assert_eq!(mode(&file), 0o600);
        keep_private(&folder.join("missing"), "nothing");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        keep_private(&folder, "nothing");
        assert_eq!(mode(&folder), 0o755, "a folder that others made for themselves");
    }
}
