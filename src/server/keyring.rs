//! The file that holds the keys of tokens: what is said of it at the start, and read again when it has changed.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tracing::{info, warn};

use crate::server::auth::{KeySet, Verifier};
use crate::server::small_file;

/// The permission bits that let others than owner and group read.
const WORLD_READABLE: u32 = 0o004;

/// A [`Verifier`] and the file that its keys come from.
#[derive(Clone, Debug)]
pub struct Keyring {
    verifier: Verifier,
    file: PathBuf,
}

impl Keyring {
    /// The keys of `verifier`, that came from `file`.
    pub(super) const fn new(verifier: Verifier, file: PathBuf) -> Self {
        Self { verifier, file }
    }

    /// Reads the file again. If it holds no keys now, those of before go on.
    ///
    /// Waits for the disk, as the start did: it is a small file and this comes seldom.
    pub fn reload(&self) {
        let file = self.file.display();
        let read =
            small_file::read(&self.file, small_file::MAX_BYTES).map_err(|error| error.to_string());
        match read.and_then(|bytes| KeySet::parse(&bytes).map_err(|error| error.to_string())) {
            Ok(keys) => {
                self.verifier.replace(keys);
                info!(%file, "keys read again; who is connected stays so until the end of its token");
                self.warn();
            }
            Err(error) => warn!(%file, error, "keys not read again: those of before go on"),
        }
    }

    /// Warns if everyone on this machine could make tokens.
    pub(super) fn warn(&self) {
        let mode = std::fs::metadata(&self.file).map_or(0, |file| file.permissions().mode());
        if self.verifier.holds_secret() && mode & WORLD_READABLE != 0 {
            let file = self.file.display();
            warn!(
                "every user of this machine can read the secret in {file}, and so make tokens: chmod 600 {file}"
            );
        }
    }
}

/// Who may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyExposure {
    /// Whoever has a token.
    Guarded,
    /// Everyone on this machine.
    Open,
    /// Everyone, from other machines too.
    Exposed,
}

impl KeyExposure {
    const fn new(is_open: bool, address: IpAddr) -> Self {
        match (is_open, address.is_loopback()) {
            (false, _) => Self::Guarded,
            (true, true) => Self::Open,
            (true, false) => Self::Exposed,
        }
    }
}

/// Says who may come in to a server at `address`.
pub(super) fn announce(verifier: &Verifier, address: IpAddr) {
    match KeyExposure::new(verifier.is_open(), address) {
        KeyExposure::Guarded => info!("tokens are asked for (--auth-key-file)"),
        KeyExposure::Open => {
            info!(
                "open mode: whoever reaches this server may read and write, and names are not verified"
            );
        }
        KeyExposure::Exposed => warn!(
            "open mode, and {address} can be reached from other machines: whoever reaches it may read and write, and \
             names are not verified. To ask for tokens: openssl rand -base64 32 > fanfare.key; chmod 600 \
             fanfare.key; then start with --auth-key-file fanfare.key"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_keys_that_other_machines_reach_is_exposed() {
        for (address, open) in [
            ("127.0.0.1", KeyExposure::Open),
            ("::1", KeyExposure::Open),
            ("0.0.0.0", KeyExposure::Exposed),
            ("::", KeyExposure::Exposed),
            ("192.168.1.7", KeyExposure::Exposed),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(KeyExposure::new(true, address), open);
            assert_eq!(KeyExposure::new(false, address), KeyExposure::Guarded);
        }
    }
}
