//! The page's files in a crate, so that `cargo install` builds the program with them and without tools for wasm.
//!
//! `scripts/packages.sh` makes the crate: it adds the archive and turns the feature on.

/// The archive of the page's files, if the program was built from such a crate.
#[cfg(feature = "packaged-site")]
pub(super) const SITE: Option<&[u8]> = Some(include_bytes!("../../../site.tar"));
/// The archive of the page's files, if the program was built from such a crate.
#[cfg(not(feature = "packaged-site"))]
pub(super) const SITE: Option<&[u8]> = None;
