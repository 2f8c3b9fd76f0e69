//! Files that were put behind the end of the program: a tar archive, then its length in sixteen hexadecimal digits, and a
//! word that says what it is.
//!
//! The system runs a program that is longer than it says itself; so one build makes both forms of a release, and
//! whoever has other files packs those.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use sha1::{Digest, Sha1};

/// The last bytes of a program with files in it.
const WORD: &[u8; 16] = b"fanfare-site-tar";
/// Digits of the length before them.
const DIGITS: usize = 16;
/// Both.
const FOOTER: usize = DIGITS + WORD.len();

/// The files, by their paths from the site's root, without a `/` at the front; all in one piece of memory.
#[derive(Debug)]
pub struct Archive(HashMap<String, Packed>);

/// One file.
#[derive(Clone, Debug)]
pub struct Packed {
    /// What it holds.
    pub bytes: Bytes,
    /// Its `ETag`: a digest, in quotes.
    pub etag: String,
}

impl Archive {
    /// The files inside `program`, if there are any.
    ///
    /// # Errors
    /// If there are, but they cannot be read.
    pub(super) fn inside(program: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(program)?;
        let length = file.metadata()?.len();
        let Some(before_footer) = length.checked_sub(FOOTER as u64) else {
            return Ok(None);
        };
        let mut footer = [0; FOOTER];
        file.seek(SeekFrom::Start(before_footer))?;
        file.read_exact(&mut footer)?;
        let (digits, word) = footer.split_at(DIGITS);
        if word != WORD {
            return Ok(None);
        }
        let damaged = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "what is inside the program is damaged",
            )
        };
        let length = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let length = length
            .filter(|length| *length <= before_footer)
            .ok_or_else(damaged)?;
        let mut tar = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        file.seek(SeekFrom::Start(before_footer - length))?;
        file.read_exact(&mut tar)?;
        Self::read(tar.into()).map(Some)
    }

    /// The files in `tar`.
    fn read(tar: Bytes) -> io::Result<Self> {
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
            let (start, length) = (entry.raw_file_position() as usize, entry.size() as usize);
            let is_whole = start
                .checked_add(length)
                .is_some_and(|end| end <= tar.len());
            if !is_whole {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{path} is cut off"),
                ));
            }
            let bytes = tar.slice(start..start + length);
            let digest: String = Sha1::digest(&bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            files.insert(
                path,
                Packed {
                    bytes,
                    etag: format!("\"{digest}\""),
                },
            );
        }
        Ok(Self(files))
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&Packed> {
        self.0.get(path)
    }

    /// What is right in `folder`, by name.
    pub(super) fn folder(&self, folder: &str) -> impl Iterator<Item = (String, Bytes)> {
        self.0.iter().filter_map(move |(path, packed)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| (name.to_owned(), packed.bytes.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A program that is `before` and then has `files` in it.
    fn program(before: &[u8], files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, *bytes).expect("it fits");
        }
        let tar = tar.into_inner().expect("all is written");
        let mut program = tempfile::NamedTempFile::new().expect("a file");
        for part in [before, &tar, format!("{:016x}", tar.len()).as_bytes(), WORD] {
            program.write_all(part).expect("it is written");
        }
        program
    }

    #[test]
    fn what_was_put_inside_is_found_by_its_path() {
        let program = program(
            b"ELF and so on",
            &[("./robots.txt", b"no"), ("./pkg/fanfare.js", b"run()")],
        );
        let archive = Archive::inside(program.path())
            .expect("it can be read")
            .expect("there is one");
        assert_eq!(
            &archive.get("pkg/fanfare.js").expect("it is there").bytes[..],
            b"run()"
        );
        assert_ne!(
            archive.get("robots.txt").map(|file| &file.etag),
            archive.get("pkg/fanfare.js").map(|file| &file.etag)
        );
        assert!(archive.get("fanfare.js").is_none() && archive.get("pkg").is_none());
        let pkg: Vec<_> = archive.folder("pkg").map(|(name, _)| name).collect();
        assert_eq!(pkg, ["fanfare.js"]);
    }

    #[test]
    fn a_program_without_files_has_none_and_a_damaged_one_says_so() {
        for nothing in [&b""[..], b"short", &[0; 4096]] {
            let mut program = tempfile::NamedTempFile::new().expect("a file");
            program.write_all(nothing).expect("it is written");
            assert!(Archive::inside(program.path()).expect("no error").is_none());
        }
        for (digits, tar) in [
            ("zzzzzzzzzzzzzzzz", ""),
            ("ffffffffffffffff", ""),
            ("0000000000000200", "x"),
        ] {
            let mut program = tempfile::NamedTempFile::new().expect("a file");
            let tar = format!("{tar:a<512}");
            program
                .write_all(format!("{tar}{digits}fanfare-site-tar").as_bytes())
                .expect("it is written");
            assert!(Archive::inside(program.path()).is_err(), "{digits}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(tar in prop::collection::vec(any::<u8>(), 0..2048)) {
            let _read = Archive::read(tar.into());
        }
    }
}
