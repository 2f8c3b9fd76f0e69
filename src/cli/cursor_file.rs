//! The file of `fanfare listen --cursor`: the position up to which messages were handled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::client::ReadPosition;
use crate::server::small_file;

/// The longest position in bytes.
const MAX_BYTES: u64 = 1024;

/// The file, and the position in it.
#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    position: Option<ReadPosition>,
}

impl CursorFile {
    /// Reads the file at `path`, if it exists.
    ///
    /// # Errors
    /// If it cannot be read, or has something else than a position.
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let position = match small_file::read(&path, MAX_BYTES) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let position = text.trim().parse();
                let problem = || format!("{} has no position", path.display());
                Some(position.with_context(problem)?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => bail!("cannot read {}: {error}", path.display()),
        };
        Ok(Self { path, position })
    }

    /// Returns the position; `None` if there was no file.
    pub(super) const fn position(&self) -> Option<&ReadPosition> {
        self.position.as_ref()
    }

    /// Replaces the position, if it has changed. After a crash, the file has the old or the new one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn save(&mut self, position: &ReadPosition) -> anyhow::Result<()> {
        if self.position.as_ref() == Some(position) {
            return Ok(());
        }

        let written = replace(&self.path, &format!("{position}\n"));
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.position = Some(position.clone());
        Ok(())
    }
}

/// Replaces the content of the file at `path` atomically.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);

    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;

    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_position_is_read_again_and_a_missing_file_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cursor");
        let position: ReadPosition = "5f3e9a01:17".parse().expect("a position");

        let mut file = CursorFile::open(path.clone()).expect("opened");
        assert_eq!(file.position(), None);
        file.save(&position).expect("saved");

        let again = CursorFile::open(path).expect("opened");
        assert_eq!(again.position(), Some(&position));
    }

    #[test]
    fn a_file_with_something_else_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cursor");
        fs::write(&path, "tomorrow\n").expect("written");

        let error = CursorFile::open(path).expect_err("no position");

        assert!(error.to_string().contains("has no position"), "{error}");
    }
}
