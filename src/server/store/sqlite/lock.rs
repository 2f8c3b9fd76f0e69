//! The lock that prevents two servers from using the same database.

use std::fs::{self, Metadata, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::state_file::beside;

/// The files of a database, as suffixes of its name.
pub(super) const SUFFIXES: [&str; 5] = ["", "-wal", "-shm", "-journal", ".state"];
/// Permission bits of the group and of others.
const OTHERS: u32 = 0o077;

/// A lock on a database file, held until it is dropped.
///
/// The lock is on the file itself (`flock`), not on a name: a symbolic link, a hard link or another path leads to the
/// same lock. SQLite's own locks are of another kind (`fcntl`), which does not conflict with it on Linux. But `fcntl`
/// locks end when any descriptor of the file is closed, so this lock must be dropped after the last connection of the
/// process.
#[derive(Debug)]
pub(super) struct DatabaseLock {
    file: fs::File,
    path: PathBuf,
}

impl DatabaseLock {
    /// Locks the database at `path`. Creates it empty, and its folder, if missing.
    ///
    /// # Errors
    /// If the file cannot be opened, or another process has locked it.
    pub(super) fn acquire(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let in_use = || OpenError::InUse {
            path: path.to_owned(),
        };

        // Other users of the machine must not be able to read the messages.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder_of(path))
            .map_err(io)?;
        let file = fs::File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }

        // The write-ahead log and the state file belong beside the real file, not beside a link to it.
        let real = path.canonicalize().map_err(io)?;
        let (held, named) = (
            file.metadata().map_err(io)?,
            fs::metadata(&real).map_err(io)?,
        );
        if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
            return Err(in_use());
        }
        Ok(Self { file, path: real })
    }

    /// Returns the path of the database with all links resolved.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the metadata of the database.
    pub(super) fn metadata(&self) -> Result<Metadata, OpenError> {
        self.file.metadata().map_err(|source| OpenError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// Removes the permissions of the group and of others from all files of the database.
    ///
    /// New files that SQLite creates beside the database get the permissions of the database.
    pub(super) fn restrict_permissions(&self) {
        for path in SUFFIXES.iter().map(|suffix| beside(&self.path, suffix)) {
            restrict_permissions(&path);
        }
    }
}

impl Drop for DatabaseLock {
    /// Releases the lock. Closing the file would not always do that: a process that this one has just forked has a copy
    /// of the descriptor until it executes its program, and the lock lasts until the last copy is closed.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            warn!(path = %self.path.display(), %error, "could not unlock the database");
        }
    }
}

fn restrict_permissions(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else {
        // The file does not exist.
        return;
    };
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return;
    }

    let (before, after) = (format!("{mode:04o}"), format!("{:04o}", mode & !OTHERS));
    let path_shown = path.display();
    match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) {
        Ok(()) => {
            info!(path = %path_shown, before, after, "restricted the permissions of a database file")
        }
        Err(error) => {
            info!(path = %path_shown, before, %error, "could not restrict the permissions of a database file");
        }
    }
}

/// Returns the folder that holds `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
