//! A check that the files at the paths of a running store are still the ones that it has open, and that no other
//! program has written to them. Files are identified by device and inode. Changes are detected by size and
//! modification time.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::server::store::sqlite::state_file::beside;

/// The database, its write-ahead log and the index of the log, as this process has them open.
///
/// SQLite does not notice when an open file is removed, moved or overwritten. It would continue to acknowledge
/// messages that are missing after a restart.
#[derive(Debug)]
pub(super) struct OpenFiles {
    /// The path in the settings, if it differs from that of the database: it may lead through links.
    configured: Option<PathBuf>,
    database: OpenFile,
    log: OpenFile,
    /// The index of the log. Its stamp is not compared, because it is shared memory that readers also write to.
    index: OpenFile,
}

/// The size of a file and the time at which its content last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    bytes: u64,
    /// The modification time in seconds and nanoseconds since 1970 UTC.
    modified: (i64, i64),
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    stamp: FileStamp,
}

/// A difference between the files at their paths and those that are open.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileMismatch {
    /// The path has no file or another one.
    #[error(
        "{path} was removed, moved or replaced while the server has it open: put it back, or restart the server to use the file that is there now"
    )]
    Replaced {
        /// The expected path.
        path: PathBuf,
    },
    /// The file at the path cannot be compared.
    #[error("cannot check that {path} is still the file that the server has open: {problem}")]
    Unreadable {
        /// The expected path.
        path: PathBuf,
        /// The error of the operating system.
        problem: io::Error,
    },
    /// The size or modification time differs from what this process left.
    #[error(
        "another program wrote to {path} while the server has it open: restart the server to have the database checked"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl OpenFiles {
    /// Reads the identity and the stamps of the files of `database`, which must all exist. `configured` is the path by
    /// which the settings name it.
    pub(super) fn new(database: &Path, configured: &Path) -> io::Result<Self> {
        Ok(Self {
            configured: (configured != database).then(|| configured.to_owned()),
            database: OpenFile::new(database.to_owned())?,
            log: OpenFile::new(beside(database, "-wal"))?,
            index: OpenFile::new(beside(database, "-shm"))?,
        })
    }

    /// Compares the files at their paths with those that are open.
    ///
    /// # Errors
    /// If they differ, or cannot be compared.
    pub(super) fn check(&self) -> Result<(), FileMismatch> {
        let database = self.database.find()?;
        if let Some(configured) = &self.configured {
            self.database.find_at(configured)?;
        }
        let log = self.log.find()?;
        self.index.find()?;

        self.database.compare(&database)?;
        self.log.compare(&log)
    }

    /// Records that this process committed a transaction, which writes to the log only.
    pub(super) fn committed(&mut self) {
        self.log.update();
    }

    /// Records that this process moved its log into the database, as far as possible.
    pub(super) fn moved_log(&mut self) {
        self.database.update();
        self.log.update();
    }
}

impl OpenFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::metadata(&path)?;
        Ok(Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
            stamp: FileStamp::from(&metadata),
        })
    }

    fn is_same(&self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }

    fn find(&self) -> Result<Metadata, FileMismatch> {
        self.find_at(&self.path)
    }

    fn find_at(&self, path: &Path) -> Result<Metadata, FileMismatch> {
        match fs::metadata(path) {
            Ok(metadata) if self.is_same(&metadata) => Ok(metadata),
            Err(problem) if problem.kind() != ErrorKind::NotFound => {
                let path = path.to_owned();
                Err(FileMismatch::Unreadable { path, problem })
            }
            Ok(_) | Err(_) => Err(FileMismatch::Replaced {
                path: path.to_owned(),
            }),
        }
    }

    fn compare(&self, metadata: &Metadata) -> Result<(), FileMismatch> {
        if self.stamp == FileStamp::from(metadata) {
            return Ok(());
        }
        Err(FileMismatch::Changed {
            path: self.path.clone(),
        })
    }

    fn update(&mut self) {
        // If another file is at the path, the next check reports it.
        if let Ok(metadata) = self.find() {
            self.stamp = FileStamp::from(&metadata);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_path_without_a_file_counts_as_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("test.db");
        let configured = folder.path().join("link");
        for suffix in ["", "-wal", "-shm"] {
            fs::write(beside(&database, suffix), "pages").expect("written");
        }
        symlink(&database, &configured).expect("a link");
        let files = OpenFiles::new(&database, &configured).expect("open");
        files.check().expect("unchanged");

        fs::remove_file(&configured).expect("removed");
        let removed = files.check().expect_err("no file");
        symlink(&configured, &configured).expect("a link to itself");
        let unreadable = files.check().expect_err("a loop");

        assert!(matches!(removed, FileMismatch::Replaced { path } if path == configured));
        assert!(matches!(unreadable, FileMismatch::Unreadable { path, .. } if path == configured));
    }
}
