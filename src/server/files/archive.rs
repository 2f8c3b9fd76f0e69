//! Files appended to the program: a tar archive, its length in 16 hexadecimal digits, and a magic string.
//!
//! Executable formats allow trailing bytes. So one build serves both forms of a release, and users can append files of
//! their own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use sha1::{Digest, Sha1};

/// The last bytes of a program with appended files.
const MAGIC: &[u8; 16] = b"fanfare-site-tar";
/// The digits of the length before the magic string.
const LENGTH_DIGITS: usize = 16;
/// The bytes after the archive.
const FOOTER_BYTES: usize = LENGTH_DIGITS + MAGIC.len();

/// Files by their paths below the site's root, without a leading `/`. All share one buffer.
#[derive(Debug)]
pub struct Archive(HashMap<String, EmbeddedFile>);

/// A file of an archive.
#[derive(Clone, Debug)]
pub struct EmbeddedFile {
    /// The content.
    pub bytes: Bytes,
    /// The `ETag`: a digest, in quotes.
    pub etag: String,
}

impl Archive {
    /// Reads the files appended to `program`; `None` if there are none.
    ///
    /// # Errors
    /// Returns an error if the program or its files cannot be read.
    pub(super) fn inside(program: &Path) -> io::Result<Option<Self>> {
        let damaged = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the files inside the program are damaged",
            )
        };

        let mut file = File::open(program)?;
        let length = file.metadata()?.len();
        let Some(archive_end) = length.checked_sub(FOOTER_BYTES as u64) else {
            return Ok(None);
        };

        let mut footer = [0; FOOTER_BYTES];
        file.seek(SeekFrom::Start(archive_end))?;
        file.read_exact(&mut footer)?;
        let (digits, magic) = footer.split_at(LENGTH_DIGITS);
        if magic != MAGIC {
            return Ok(None);
        }

        let length = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .filter(|length| *length <= archive_end)
            .ok_or_else(damaged)?;
        let mut tar = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        file.seek(SeekFrom::Start(archive_end - length))?;
        file.read_exact(&mut tar)?;
        Self::read(tar.into()).map(Some)
    }

    /// Reads the files in `tar`, and computes their digests.
    ///
    /// # Errors
    /// Returns an error if the archive is damaged.
    pub(super) fn read(tar: Bytes) -> io::Result<Self> {
        let mut files = HashMap::new();

        for entry in tar::Archive::new(tar.as_ref()).entries()? {
            let entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }

            let path = entry
                .path()?
                .to_string_lossy()
                .trim_start_matches("./")
                .to_owned();
            let start = entry.raw_file_position() as usize;
            let end = start
                .checked_add(entry.size() as usize)
                .filter(|end| *end <= tar.len())
                .ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("the file {path} inside the program is truncated"),
                    )
                })?;

            let bytes = tar.slice(start..end);
            let etag = format!("\"{:x}\"", Sha1::digest(&bytes));
            files.insert(path, EmbeddedFile { bytes, etag });
        }

        Ok(Self(files))
    }

    /// Returns the file at `path`.
    pub fn get(&self, path: &str) -> Option<&EmbeddedFile> {
        self.0.get(path)
    }

    /// Returns the files directly in `folder`, by name.
    pub(super) fn folder(&self, folder: &str) -> impl Iterator<Item = (String, Bytes)> {
        self.0.iter().filter_map(move |(path, file)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| (name.to_owned(), file.bytes.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_program_without_appended_files_has_no_archive() {
        for content in [&b""[..], b"short", &[0; 4096]] {
            let mut program = tempfile::NamedTempFile::new().expect("a file");
            program.write_all(content).expect("written");

            let archive = Archive::inside(program.path());

            assert!(archive.expect("no error").is_none());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(tar in prop::collection::vec(any::<u8>(), 0..2048)) {
            // Errors are allowed.
            let _ = Archive::read(tar.into());
        }
    }
}
