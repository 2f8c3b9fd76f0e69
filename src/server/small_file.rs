//! Reading of small files, like settings and keys, with a limit: a wrong path such as `/dev/zero` must not fill the
//! memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The longest file of settings, keys, certificates or credentials, in bytes.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the whole file at `path`, which may be a pipe.
///
/// # Errors
/// Returns the system's errors, and [`ErrorKind::FileTooLarge`] if the file has more than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;

    if bytes.len() as u64 > limit {
        let reason = format!("the file is longer than {limit} bytes, the limit for its kind");
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }

    Ok(bytes)
}

/// Returns true if all users of the machine can read the file at `path`.
pub fn is_world_readable(path: &Path) -> bool {
    let metadata = std::fs::metadata(path);
    metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_up_to_the_limit_are_read_and_longer_ones_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").expect("written");

        assert_eq!(read(&path, 5).expect("short enough"), b"12345");
        for (path, limit) in [(&*path, 4), (Path::new("/dev/zero"), MAX_BYTES)] {
            let error = read(path, limit).expect_err("too long");
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
            assert!(error.to_string().contains(&limit.to_string()), "{error}");
        }
    }
}
