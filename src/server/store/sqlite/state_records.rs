//! The proof that a database is the newest copy, from the records beside it: see [`state_file`](super::state_file).

use std::fs;
use std::io;
use std::path::Path;

use crate::server::small_file;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::state_file::{
    FileFault, FileId, FileState, Generation, STATE_BYTES, boot_id, candidate_path, change_time,
    is_close, state_path,
};

/// The facts about a database that [`StateRecords::verify`] compares, read before anything is written to it.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) database: FileId,
    /// The generation, as read through the write-ahead log.
    pub(super) generation: &'a Generation,
    /// The number of commits that the database holds without its log; `None` if it cannot be read.
    pub(super) moved_commits: Option<u64>,
    /// The number of valid frames in the log; `None` if it cannot be read.
    pub(super) log_frames: Option<u64>,
}

/// A reason why a database is not proven to be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    /// There is no state file with valid content.
    #[error(
        "it has no valid state file: it was moved here, restored, or written by an older version of Fanfare"
    )]
    NoStateFile,
    /// The database is older than the state file.
    #[error("it is an older copy: {missing} later commits are missing")]
    OlderCopy {
        /// The number of missing commits.
        missing: u64,
    },
    /// The database and the state file have different generations, so their order is unknown.
    #[error("it is not the database that its state file describes")]
    OtherDatabase,
    /// The end of the write-ahead log is missing.
    #[error(
        "{missing} acknowledged commits are missing: the write-ahead log was damaged, cut or removed"
    )]
    CommitsMissing {
        /// The number of missing commits.
        missing: u64,
    },
    /// The log is missing or empty, but it had commits.
    #[error("the write-ahead log was damaged, cut or removed")]
    LogMissing,
    /// The id of one of the files differs from the recorded one.
    #[error("its files were copied or restored")]
    Copied,
    /// See [`FileFault`].
    #[error("a write could not be synced to the disk, or the database was found to be damaged")]
    WriteLost,
    /// See [`FileFault`].
    #[error("another program changed it while the server was running")]
    ChangedWhileRunning,
    /// The power failed, or the file system was rolled back to a snapshot.
    #[error(
        "the system was restarted before the server could close it, which cannot be told from a disk that was rolled back"
    )]
    Rebooted,
}

/// The records beside a database: the current one and that of an interrupted start, as far as they exist.
#[derive(Debug)]
pub(super) struct StateRecords(Vec<StateRecord>);

impl StateRecords {
    /// Reads the records of the database at `path`. Records with invalid content are left out.
    ///
    /// # Errors
    /// If a file exists but cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, OpenError> {
        let mut records = Vec::new();
        for path in [state_path(path), candidate_path(path)] {
            match StateRecord::read(&path) {
                Ok(record) => records.extend(record),
                Err(source) => return Err(OpenError::StateFile { path, source }),
            }
        }
        Ok(Self(records))
    }

    /// Returns the largest number of commits in a record; 0 without records.
    pub(super) fn commits(&self) -> u64 {
        let commits = self.0.iter().map(|record| record.state.commits);
        commits.max().unwrap_or_default()
    }

    /// Checks that the database holds everything that was acknowledged.
    ///
    /// # Errors
    /// If that cannot be proven.
    pub(super) fn verify(&self, evidence: &Evidence<'_>) -> Result<(), Doubt> {
        let generation = evidence.generation;
        if self.0.is_empty() {
            return Err(Doubt::NoStateFile);
        }
        let is_of_database =
            |record: &&StateRecord| generation.name.as_ref() == Some(&record.state.generation);
        let Some(record) = self.0.iter().find(is_of_database) else {
            return Err(match self.commits().saturating_sub(generation.commits) {
                0 => Doubt::OtherDatabase,
                missing => Doubt::OlderCopy { missing },
            });
        };
        let StateRecord { state, id, changed } = record;

        if state.state_file != *id || state.database != evidence.database {
            return Err(Doubt::Copied);
        }
        if generation.commits < state.commits {
            let missing = state.commits - generation.commits;
            return Err(Doubt::CommitsMissing { missing });
        }
        match state.fault {
            Some(FileFault::WriteLost) => return Err(Doubt::WriteLost),
            Some(FileFault::ChangedWhileRunning) => return Err(Doubt::ChangedWhileRunning),
            None => {}
        }
        // The log may be the newest while the database file is an older copy.
        if let Some(expected) = state.moved_commits {
            let moved = evidence.moved_commits.ok_or(Doubt::OtherDatabase)?;
            if let missing @ 1.. = expected.saturating_sub(moved) {
                return Err(Doubt::OlderCopy { missing });
            }
        }

        if state.is_closed {
            return Ok(());
        }
        if state.boot.is_none() || state.boot != boot_id() {
            return Err(Doubt::Rebooted);
        }
        if state
            .written
            .is_some_and(|written| !is_close(written, *changed))
        {
            return Err(Doubt::Copied);
        }
        // The process was killed while it moved the log into the database, which may hold only a part of it.
        if state.moved_commits.is_none() && evidence.log_frames.is_none_or(|frames| frames == 0) {
            return Err(Doubt::LogMissing);
        }
        Ok(())
    }
}

/// A state file as found on disk.
#[derive(Debug)]
struct StateRecord {
    state: FileState,
    id: FileId,
    /// The ctime of the file in nanoseconds since 1970 UTC.
    changed: i64,
}

impl StateRecord {
    /// Reads the file at `path`; `None` if the file does not exist or its content is invalid.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        let json = small_file::read(path, STATE_BYTES as u64)?;

        Ok(serde_json::from_slice(&json).ok().map(|state| Self {
            state,
            id: FileId::from(&metadata),
            changed: change_time(&metadata),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::server::store::sqlite::state_file::StateFile;

    /// A database with five commits, left by a server that was killed.
    struct Killed {
        folder: TempDir,
        generation: Generation,
    }

    impl Killed {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let database = folder.path().join("test.db");
            fs::write(&database, "pages").expect("written");
            let found = fs::metadata(&database).expect("found");

            let mut state = StateFile::create(&database, &found, 0).expect("created");
            state.put_in_force().expect("renamed");
            state.set_commits(5);

            let generation = Generation {
                commits: 5,
                ..state.generation()
            };
            Self { folder, generation }
        }

        fn database(&self) -> PathBuf {
            self.folder.path().join("test.db")
        }

        /// Changes the record to another state that a server could have left.
        fn change(&self, change: impl FnOnce(&mut FileState)) {
            let path = state_path(&self.database());
            let record = StateRecord::read(&path).expect("readable");
            let mut record = record.expect("a record");
            change(&mut record.state);
            fs::write(&path, serde_json::to_vec(&record.state).expect("JSON")).expect("written");
        }

        fn verify_with(&self, moved_commits: u64, log_frames: u64) -> Result<(), Doubt> {
            let metadata = fs::metadata(self.database()).expect("found");
            let records = StateRecords::read(&self.database()).expect("readable");
            records.verify(&Evidence {
                database: FileId::from(&metadata),
                generation: &self.generation,
                moved_commits: Some(moved_commits),
                log_frames: Some(log_frames),
            })
        }

        fn verify(&self) -> Result<(), Doubt> {
            self.verify_with(0, 9)
        }
    }

    #[test]
    fn a_database_is_the_newest_after_a_kill_in_the_same_life_of_the_system() {
        let killed = Killed::new();
        assert_eq!(killed.verify(), Ok(()));

        killed.change(|state| state.boot = Some("another".to_owned()));
        assert_eq!(killed.verify(), Err(Doubt::Rebooted));

        killed.change(|state| state.boot = None);
        assert_eq!(killed.verify(), Err(Doubt::Rebooted));
    }

    #[test]
    fn a_record_that_was_written_at_another_time_than_the_file_is_a_copy() {
        let killed = Killed::new();
        killed.change(|state| {
            state.written = state.written.map(|written| written - 1_000_000_000);
        });
        assert_eq!(killed.verify(), Err(Doubt::Copied));
    }

    #[test]
    fn the_number_of_commits_that_a_database_misses_is_reported() {
        let mut killed = Killed::new();
        killed.generation.commits = 3;
        assert_eq!(killed.verify(), Err(Doubt::CommitsMissing { missing: 2 }));

        killed.generation.name = Some("earlier".to_owned());
        assert_eq!(killed.verify(), Err(Doubt::OlderCopy { missing: 2 }));
    }

    #[test]
    fn a_log_may_be_gone_when_the_database_holds_it_but_not_while_it_was_moved() {
        let killed = Killed::new();
        assert_eq!(killed.verify_with(5, 9), Ok(()));
        assert_eq!(killed.verify_with(5, 0), Err(Doubt::LogMissing));

        killed.change(|state| state.moved_commits = Some(5));
        assert_eq!(killed.verify_with(5, 0), Ok(()));
    }

    #[test]
    fn a_database_that_is_older_than_its_log_is_an_older_copy() {
        let killed = Killed::new();
        killed.change(|state| state.moved_commits = Some(4));

        assert_eq!(killed.verify_with(4, 9), Ok(()));
        assert_eq!(killed.verify_with(5, 0), Ok(()), "another program moved it");
        assert_eq!(
            killed.verify_with(1, 9),
            Err(Doubt::OlderCopy { missing: 3 })
        );
    }

    #[test]
    fn a_state_file_that_cannot_be_read_is_an_error_with_its_path_and_an_invalid_one_is_none() {
        let killed = Killed::new();
        let path = state_path(&killed.database());

        fs::write(&path, "{").expect("written");
        assert_eq!(killed.verify(), Err(Doubt::NoStateFile));

        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        let error = StateRecords::read(&killed.database()).expect_err("a folder");
        assert!(matches!(&error, OpenError::StateFile { path: named, .. } if *named == path));
    }

    #[test]
    fn a_kill_before_the_new_record_has_its_name_changes_nothing() {
        let killed = Killed::new();
        let database = killed.database();
        let found = fs::metadata(&database).expect("found");
        let next = StateFile::create(&database, &found, 5).expect("created");

        assert_eq!(
            killed.verify(),
            Ok(()),
            "the database has the old generation"
        );
        let killed = Killed {
            generation: next.generation(),
            ..killed
        };
        assert_eq!(killed.verify(), Ok(()), "it has the new one");
    }
}
