//! The file of the rules, in JSON. A new file is written and then renamed over the old one, so the file is always
//! complete.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::info;

use crate::server::moderation::Rules;
use crate::server::small_file;

/// The permissions of the file: it contains addresses, which other users of the machine must not read.
const MODE: u32 = 0o600;
/// The maximum size of the file in bytes, about ten times the size of the maximum number of bans.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The error of reading the rules. The file is left unchanged.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the bans and closed rooms in {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is not JSON, or not of bans and closed rooms.
    #[error(
        "the bans and closed rooms in {path} cannot be parsed ({problem}): restore the file, or move it away to start without bans"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The error of the parser.
        problem: serde_json::Error,
    },
}

/// Reads the rules in the file at `path`. Returns no rules if the file does not exist.
///
/// # Errors
/// If the file cannot be read or parsed.
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
    // The path may be a link to a device like /dev/null, whose permissions other programs need.
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

/// Replaces the file at `path` with `rules`, durably and atomically.
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
    // An earlier process may have left the file behind with other permissions.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(&serde_json::to_vec_pretty(rules)?)?;
    file.sync_all()?;

    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}
