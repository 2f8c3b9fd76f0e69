//! The reasons why a database cannot be opened.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::server::store::sqlite::fault::Fault;

/// The reason why the database could not be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder or file could not be created or opened.
    #[error("cannot open the database {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The state file beside it cannot be read.
    #[error(
        "cannot read the state file {path}: let the server read it, or move it away to begin a new epoch"
    )]
    StateFile {
        /// The state file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path leads to a folder or a device.
    #[error("{path} is not a regular file: name the file of a database")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The database has no tables.
    #[error(
        "{path} is empty: name the file of a database, or a copy that `fanfare backup` has made"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file does not begin with a SQLite header.
    #[error(
        "{path} is no SQLite database, or its first page is damaged; nothing was changed in it: check the path, or restore a copy"
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the database open.
    #[error(
        "the database {path} is in use by another fanfare; stop that one, or give this one a --data of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The database belongs to another program.
    #[error("{path} is a database, but not one of Fanfare's; nothing was changed in it")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database was written by a later version.
    #[error(
        "the database {path} has format {found}, and this program knows up to {known}: it is from a newer Fanfare"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The schema version of the database.
        found: usize,
        /// The newest schema version that this program supports.
        known: usize,
    },
    /// The disk or the permissions prevent the use of the database.
    #[error("the database {path} cannot be used ({problem})")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error reported by SQLite.
        problem: String,
    },
    /// The file is not readable as a database, or the check found a problem.
    #[error(
        "the database {path} is damaged or cannot be read ({problem}); nothing was changed in it: restore a copy, or move it away to begin anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The error reported by SQLite.
        problem: String,
    },
}

impl OpenError {
    /// Returns the reason for which SQLite could not open or read the database at `path`.
    pub(super) fn new(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, problem) = (path.to_owned(), error.to_string());
        if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
            return Self::NotADatabase { path };
        }
        match Fault::from(error) {
            Fault::Refused(_) => Self::Unusable { path, problem },
            Fault::Fatal(_) => Self::Damaged { path, problem },
        }
    }
}
