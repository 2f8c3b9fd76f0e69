//! The files of the page, in a folder or inside the program.

mod archive;
mod packaged;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha1::{Digest, Sha1};

pub use archive::{Archive, EmbeddedFile};

/// The folder of cargo-leptos's output, on disk and in URLs.
pub const PKG: &str = "pkg";
/// Hexadecimal digits of the digest that make a version: enough that no two builds share them.
const VERSION_DIGITS: usize = 16;

/// The location of the page's files.
#[derive(Clone, Debug)]
pub enum Files {
    /// A folder with [`PKG`] in it.
    Folder(PathBuf),
    /// The program itself: `scripts/pack.sh` appended them, or it was built from a crate that contains them.
    Inside(Arc<Archive>),
}

impl Files {
    /// Finds the files of this program: inside it, else in `site` beside it, else in the build's output folder.
    ///
    /// # Errors
    /// Returns an error if the program contains files that cannot be read.
    pub fn of_this_program() -> io::Result<Self> {
        // If the path of the program is unknown, only the build's output folder can be used.
        let Ok(program) = std::env::current_exe() else {
            return Ok(Self::Folder(PathBuf::from("target/site")));
        };
        if let Some(archive) = Archive::inside(&program)? {
            return Ok(Self::Inside(Arc::new(archive)));
        }
        if let Some(tar) = packaged::SITE {
            let archive = Archive::read(Bytes::from_static(tar))?;
            return Ok(Self::Inside(Arc::new(archive)));
        }

        let beside = program
            .parent()
            .map(|folder| folder.join("site"))
            .filter(|folder| folder.is_dir());
        Ok(Self::Folder(
            beside.unwrap_or_else(|| PathBuf::from("target/site")),
        ))
    }

    /// Returns a digest of the scripts and style sheets in [`PKG`], and of their names.
    ///
    /// # Errors
    /// Returns an error if there are none, or one cannot be read.
    pub fn version(&self) -> io::Result<String> {
        let mut files = match self {
            Self::Folder(root) => read_browser_files(&root.join(PKG))?,
            Self::Inside(archive) => archive
                .folder(PKG)
                .filter(|(name, _)| is_browser_file(name))
                .collect(),
        };
        if files.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no .css, .js or .wasm files in {PKG}"),
            ));
        }

        files.sort();
        let mut digest = Sha1::new();
        for (name, bytes) in &files {
            digest.update(name);
            digest.update(bytes);
        }
        let mut version = format!("{:x}", digest.finalize());
        version.truncate(VERSION_DIGITS);
        Ok(version)
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Inside(_) => f.write_str("inside the program"),
        }
    }
}

/// Returns true for scripts and style sheets. Compressed forms and type declarations are derived from these.
fn is_browser_file(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| ["css", "js", "wasm"].contains(&extension))
}

fn read_browser_files(folder: &Path) -> io::Result<Vec<(String, Bytes)>> {
    let mut files = Vec::new();

    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_browser_file(&name) {
            files.push((name, fs::read(entry.path())?.into()));
        }
    }

    Ok(files)
}
