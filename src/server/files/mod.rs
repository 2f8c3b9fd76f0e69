//! The page's files: in a folder, or inside the program itself.

mod archive;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha1::{Digest, Sha1};

pub use archive::{Archive, Packed};

/// The folder of what cargo-leptos builds, among the page's files and in addresses.
pub const PKG: &str = "pkg";
/// Bytes of the digest that make a version: no two builds of one program share so many.
const VERSION_BYTES: usize = 8;

/// Where they are.
#[derive(Clone, Debug)]
pub enum Files {
    /// In this folder, with [`PKG`] in it.
    Folder(PathBuf),
    /// Inside the program, as `scripts/pack.sh` put them there.
    Inside(Arc<Archive>),
}

impl Files {
    /// Those that belong to this program: inside it, else `site` beside it, else where a build makes them.
    ///
    /// # Errors
    /// If there are some inside that cannot be read.
    pub fn of_this_program() -> io::Result<Self> {
        // A system that does not say which program this is says nothing of what is in it either.
        let Ok(program) = std::env::current_exe() else {
            return Ok(Self::Folder(PathBuf::from("target/site")));
        };
        if let Some(archive) = Archive::inside(&program)? {
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

    /// A digest of what a browser runs or is styled by, names among it; packed forms and declarations follow from
    /// these.
    ///
    /// # Errors
    /// If there is nothing of it, or it cannot be read.
    pub fn version(&self) -> io::Result<String> {
        let mut loaded = match self {
            Self::Folder(root) => read_loaded(&root.join(PKG))?,
            Self::Inside(archive) => archive
                .folder(PKG)
                .filter(|(name, _)| is_loaded(name))
                .collect(),
        };
        if loaded.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("nothing in {PKG}"),
            ));
        }
        loaded.sort();
        let digest = loaded.iter().fold(Sha1::new(), |digest, (name, bytes)| {
            digest.chain_update(name.as_bytes()).chain_update(bytes)
        });
        Ok(digest
            .finalize()
            .iter()
            .take(VERSION_BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect())
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

fn is_loaded(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, kind)| ["css", "js", "wasm"].contains(&kind))
}

fn read_loaded(folder: &Path) -> io::Result<Vec<(String, Bytes)>> {
    let mut loaded = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_loaded(&name) {
            loaded.push((name, fs::read(entry.path())?.into()));
        }
    }
    Ok(loaded)
}
