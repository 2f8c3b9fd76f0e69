//! The rules in a file: JSON, written beside the old one and put in its place, so that there is always a whole one.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::info;

use crate::server::moderation::Rules;
use crate::server::small_file;

/// Permissions of the file: it holds addresses, which other users of the machine must not read.
const MODE: u32 = 0o600;
/// The longest file, in bytes. Ten thousand bans, the most there may be, need a tenth of it.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Why the rules could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read who is banned from {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not say what it should.
    #[error(
        "{path} does not say who is banned ({problem}): restore it, or move it away to begin with nobody"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: serde_json::Error,
    },
}

/// Loads the rules in the file at `path`; no rules if it does not exist.
///
/// # Errors
/// If it cannot be read, or holds something else.
pub fn load(path: &Path) -> Result<Rules, LoadError> {
    match small_file::read(path, MAX_BYTES) {
        Ok(json) => serde_json::from_slice(&json).map_err(|problem| LoadError::Damaged {
            path: path.to_owned(),
            problem,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Rules::default()),
        Err(source) => Err(LoadError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Removes the permissions of the group and of others from the file at `path`, if it exists.
pub(super) fn restrict_permissions(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    // A link could lead to a device, like /dev/null, whose permissions others need.
    if !metadata.is_file() {
        return;
    }

    let before = metadata.permissions().mode() & 0o7777;
    if before & !MODE == 0 {
        return;
    }
    let result = fs::set_permissions(path, Permissions::from_mode(MODE));
    let error = result.err().map(tracing::field::display);
    info!(path = %path.display(), before = %format_args!("{before:04o}"), error, "restricted the permissions of the file of bans to 0600");
}

/// Puts `rules` in the place of what is at `path`: all of them, and for good, or not at all.
pub(super) fn save(path: &Path, rules: &Rules) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(MODE)
        .open(&beside)?;
    // Also if an earlier process left it.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(&serde_json::to_vec_pretty(rules)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}
