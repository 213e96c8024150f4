//! Files that only their owner reads, and that are there whole or not at all.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// How the names of files begin that are being written.
pub const TEMPORARY: &str = ".writing-";

/// A private file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It is there already, and is not overwritten.
    #[error("creating {}: it exists", .0.display())]
    Exists(PathBuf),
    /// Other users may read or change it.
    #[error("reading {}: its mode {mode:03o} lets other users in", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is longer than any file of its kind.
    #[error("reading {}: it is longer than {bytes_max} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: usize,
    },
}

/// Reads a file of at most `bytes_max` bytes that no other user may read; no copy of it stays in memory.
///
/// # Errors
/// [`FileError`] when it is missing, too long, or open to others.
pub fn read(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let io = io_error("reading", path);
    // Of the opened file, so that nobody can put another in its place in between.
    let attempt = || -> io::Result<(u32, Zeroizing<Vec<u8>>)> {
        let file = fs::File::open(path)?;
        let mode = permissions(&file.metadata()?);
        // A vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max.saturating_add(2)));
        if is_closed(mode) {
            file.take(bytes_max.saturating_add(1) as u64).read_to_end(&mut bytes)?;
        }
        Ok((mode, bytes))
    };
    let (mode, bytes) = attempt().map_err(io)?;
    if !is_closed(mode) {
        return Err(FileError::Exposed { path: path.into(), mode });
    }
    if bytes.len() > bytes_max {
        return Err(FileError::TooLong { path: path.into(), bytes_max });
    }
    Ok(bytes)
}

/// Creates a file; durable when it returns.
///
/// # Errors
/// [`FileError::Exists`] when there is one, or whatever the file system says.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let file = written(path, bytes)?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists(path.into()),
        _ => io_error("writing", path)(error.error),
    })?;
    sync_dir(dir_of(path))
}

/// Puts a file in the place of the one that may be there; durable when it returns.
///
/// # Errors
/// Whatever the file system says; then the old file is still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let file = written(path, bytes)?;
    file.persist(path).map_err(|error| io_error("writing", path)(error.error))?;
    sync_dir(dir_of(path))
}

/// The content beside its place under a name of its own, flushed.
fn written(path: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile, FileError> {
    let dir = dir_of(path);
    create_dir(dir)?;
    let attempt = || -> io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    attempt().map_err(io_error("writing", path))
}

fn dir_of(path: &Path) -> &Path {
    // The parent of a plain file name is the empty path.
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes what was created in or removed from a directory durable.
///
/// # Errors
/// Whatever the file system says.
pub fn sync_dir(dir: &Path) -> Result<(), FileError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("writing", dir))
}

/// Creates what is missing of a directory, for its owner alone.
///
/// # Errors
/// Whatever the file system says.
pub fn create_dir(dir: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("creating", dir))
}

/// Takes a directory that may have been there before from everybody but its owner.
///
/// # Errors
/// Whatever the file system says.
pub fn close_dir(dir: &Path) -> Result<(), FileError> {
    let attempt = || {
        let mode = permissions(&fs::metadata(dir)?);
        if is_closed(mode) {
            return Ok(());
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(mode & 0o700))
    };
    attempt().map_err(io_error("closing to other users", dir))
}

/// That a directory, if it is there, is its owner's alone.
///
/// # Errors
/// [`FileError::Exposed`] when others may enter it.
pub fn check_dir(dir: &Path) -> Result<(), FileError> {
    match fs::metadata(dir).map(|found| permissions(&found)) {
        Ok(mode) if !is_closed(mode) => Err(FileError::Exposed { path: dir.into(), mode }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("reading", dir)(error)),
    }
}

fn permissions(metadata: &fs::Metadata) -> u32 {
    metadata.permissions().mode() & 0o777
}

const fn is_closed(mode: u32) -> bool {
    mode & 0o077 == 0
}

/// Says of an error what was attempted on which file.
pub fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { what, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        permissions(&fs::metadata(path).unwrap())
    }

    #[test]
    fn a_file_is_its_owners_alone_and_beside_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/r.json");
        create(&path, b"1").unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(matches!(create(&path, b"2"), Err(FileError::Exists(_))));
        assert_eq!(*read(&path, 1).unwrap(), b"1");
        replace(&path, b"22").unwrap();
        assert_eq!(*read(&path, 2).unwrap(), b"22");
        assert!(matches!(read(&path, 1), Err(FileError::TooLong { .. })));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        create(&path, b"1").unwrap();
        for open in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            assert!(matches!(read(&path, 9), Err(FileError::Exposed { mode, .. }) if mode == open));
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(check_dir(dir.path()), Err(FileError::Exposed { mode: 0o750, .. })));
        close_dir(dir.path()).unwrap();
        check_dir(dir.path()).unwrap();
        check_dir(&dir.path().join("missing")).unwrap();
    }
}
