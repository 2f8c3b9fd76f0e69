//! The classification of SQLite errors. After a [`Fault::Refused`] the store refuses writes and retries. After a
//! [`Fault::Fatal`] the file can no longer be trusted, and the store stops writing.

use std::io;

use rusqlite::ffi;
use rusqlite::{Error, ErrorCode};

/// A failed write, classified. See the [module docs](self). The text describes the error for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A temporary failure: nothing was stored, and a retry may succeed.
    Refused(String),
    /// A permanent failure: the content of the file can no longer be trusted.
    Fatal(String),
}

impl Fault {
    /// Returns the text.
    pub(super) fn into_reason(self) -> String {
        let (Self::Refused(reason) | Self::Fatal(reason)) = self;
        reason
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let (code, extended) = match error {
            Error::SqliteFailure(failure, _) => (Some(failure.code), failure.extended_code),
            _ => (None, 0),
        };

        match (code, extended) {
            (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => Self::Fatal(format!(
                "fsync failed, so what the disk holds is unknown ({error})"
            )),
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => {
                Self::Fatal(format!("the database is damaged ({error})"))
            }
            // The index of the write-ahead log, which needs disk space too, could not be created.
            (Some(ErrorCode::DiskFull), _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => {
                Self::Refused("the disk is full".to_owned())
            }
            (Some(ErrorCode::SystemIoFailure), _) => Self::Refused(match file_size_limit() {
                Some(limit) => format!(
                    "the disk reports an error, or a file would be larger than the limit of {limit} bytes, ulimit -f ({error})"
                ),
                None => format!("the disk reports an error ({error})"),
            }),
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => {
                Self::Refused("another program holds the database locked".to_owned())
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// Returns the limit on the size of files (`RLIMIT_FSIZE`), if there is one.
fn file_size_limit() -> Option<u64> {
    let (limit, _) = rlimit::Resource::FSIZE.get().ok()?;
    (limit != rlimit::INFINITY).then_some(limit)
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// Converts an error of a file beside the database.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Refused(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full".to_owned()
            }
            _ => format!("the disk reports an error ({error})"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: i32) -> Fault {
        Fault::from(&Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn only_what_makes_the_file_untrustworthy_is_fatal() {
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_DIR_FSYNC,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
        ] {
            assert!(matches!(fault(code), Fault::Fatal(_)), "{code}");
        }

        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_BUSY,
        ] {
            assert!(matches!(fault(code), Fault::Refused(_)), "{code}");
        }

        assert_eq!(
            fault(ffi::SQLITE_FULL),
            Fault::Refused("the disk is full".to_owned())
        );
    }
}
