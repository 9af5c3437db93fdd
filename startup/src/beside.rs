//! `Beside`: a file that is written beside its place and then renamed, so that an incomplete file never has the name of a
//! complete one.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

/// The end of the name of an unfinished file.
const UNFINISHED: &str = ".unfinished";

/// The unfinished files of this process.
static ALL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file that gets its name when it is complete. Only its owner may use it, as long as it does not replace a file with
/// other permissions. It is removed if it is dropped before [`Beside::finish`].
#[derive(Debug)]
pub struct Beside {
    file: WrittenFile,
    /// The file to replace: that of a symbolic link is where the link points to.
    to: PathBuf,
}

#[derive(Debug)]
enum WrittenFile {
    /// Beside the file.
    Unfinished(NamedTempFile),
    /// A device such as /dev/null, a FIFO, or an open file such as /dev/stdout is written to and not replaced.
    Itself(File),
}

impl Beside {
    /// Begins to write. The folder must exist.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(path: &Path) -> io::Result<Self> {
        let (to, is_open) = target(path)?;
        if is_open {
            // What others wrote into it stays.
            return Ok(Self { file: WrittenFile::Itself(OpenOptions::new().append(true).open(&to)?), to });
        }
        let there = fs::metadata(&to).ok();
        if there.as_ref().is_some_and(Metadata::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            return Ok(Self { file: WrittenFile::Itself(OpenOptions::new().write(true).open(&to)?), to });
        }
        if there.is_some() {
            // A file that may not be written must not be replaced.
            drop(OpenOptions::new().write(true).open(&to)?);
        }
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".");
        let unfinished = tempfile::Builder::new().prefix(&name).suffix(UNFINISHED).tempfile_in(folder)?;
        if let Some(there) = there {
            unfinished.as_file().set_permissions(there.permissions())?;
        }
        all().push(unfinished.path().to_owned());
        Ok(Self { file: WrittenFile::Unfinished(unfinished), to })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        let Self { file: WrittenFile::Unfinished(file), to } = self else { return Ok(()) };
        let path = file.path().to_owned();
        let renamed = file.persist(&to).map(drop).map_err(|error| error.error);
        all().retain(|other| *other != path);
        renamed
    }
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            WrittenFile::Unfinished(file) => file.write(bytes),
            WrittenFile::Itself(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.file {
            WrittenFile::Unfinished(file) => file.flush(),
            WrittenFile::Itself(file) => file.flush(),
        }
    }
}

/// Writes a whole file.
///
/// # Errors
/// Those of the file system.
pub fn write_beside(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = Beside::new(path)?;
    file.write_all(content)?;
    file.finish()
}

/// Removes the unfinished files of this process, before an exit that drops nothing.
pub fn remove_unfinished() {
    for path in all().drain(..) {
        // It may have been removed or renamed.
        let _ = fs::remove_file(path);
    }
}

fn all() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a symbolic link points to, also if nothing is there, and whether that is an open file of a process, such as
/// /dev/stdout and /dev/fd/3 are: its link is a name of the file only by chance.
fn target(path: &Path) -> io::Result<(PathBuf, bool)> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        match fs::read_link(&path) {
            Ok(_) if fs::canonicalize(&folder).is_ok_and(|folder| folder.starts_with("/proc")) => {
                return Ok((path, true));
            }
            Ok(to) => path = folder.join(to),
            Err(_) => return Ok((path, false)),
        }
    }
    Err(io::Error::other("it is a symbolic link that points to itself"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = Beside::new(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!((&fs::read(&path).unwrap()[..], mode(&path)), (&b"new"[..], 0o600));
        // A failure leaves the file as it was, and nothing else.
        let mut file = Beside::new(&path).unwrap();
        file.write_all(b"newer").unwrap();
        drop(file);
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"new".to_vec(), vec!["a".to_owned()]));
        // A signal ends the process without that.
        let file = Beside::new(&path).unwrap();
        let unfinished = names(folder.path());
        assert!(unfinished.len() == 2 && unfinished[1].ends_with(UNFINISHED), "{unfinished:?}");
        let WrittenFile::Unfinished(file) = file.file else { panic!("it is beside the file") };
        drop(file.keep().unwrap());
        remove_unfinished();
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_is_there_keeps_its_permissions_and_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        write_beside(&link, b"new").unwrap();
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"new".to_vec(), 0o640));
        assert!(link.is_symlink());
        let (dangling, made) = (folder.path().join("dangling"), folder.path().join("made"));
        symlink(&made, &dangling).unwrap();
        write_beside(&dangling, b"made").unwrap();
        assert!(dangling.is_symlink() && fs::read(&made).unwrap() == b"made");
        symlink("circle", folder.path().join("circle")).unwrap();
        assert!(
            write_beside(&folder.path().join("circle"), b"")
                .unwrap_err()
                .to_string()
                .contains("points to itself")
        );
        let log = OpenOptions::new().append(true).create(true).open(folder.path().join("log")).unwrap();
        (&log).write_all(b"kept ").unwrap();
        let open = PathBuf::from(format!("/dev/fd/{}", log.as_raw_fd()));
        write_beside(&open, b"and more").unwrap();
        assert_eq!(fs::read(folder.path().join("log")).unwrap(), b"kept and more");
        write_beside(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
        assert_eq!(write_beside(folder.path(), b"").unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(write_beside(&folder.path().join("none/a"), b"").is_err());
    }
}
