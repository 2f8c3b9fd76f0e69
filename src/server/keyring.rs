//! The key file: checked at the start, and reloaded on SIGHUP.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tracing::{info, warn};

use crate::server::auth::{KeySet, Verifier};
use crate::server::small_file;

/// The permission bit that lets every user read a file.
const WORLD_READABLE: u32 = 0o004;

/// A [`Verifier`] and the file that its keys come from.
#[derive(Clone, Debug)]
pub struct Keyring {
    verifier: Verifier,
    file: PathBuf,
}

impl Keyring {
    /// Creates a keyring of `verifier`, whose keys were read from `file`.
    pub(super) const fn new(verifier: Verifier, file: PathBuf) -> Self {
        Self { verifier, file }
    }

    /// Reads the file again. Keeps the previous keys if that fails.
    ///
    /// Blocks on the disk; the file is small and reloads are rare.
    pub fn reload(&self) {
        let file = self.file.display();
        let read =
            small_file::read(&self.file, small_file::MAX_BYTES).map_err(|error| error.to_string());

        match read
            .and_then(|bytes| KeySet::parse(&bytes).map_err(|error| format!("allowed is {error}")))
        {
            Ok(keys) => {
                self.verifier.replace(keys);
                info!(%file, "reloaded keys; open connections live until their token expires");
                self.warn_if_readable();
            }
            Err(error) => warn!(%file, error, "could not reload keys; keeping the previous ones"),
        }
    }

    /// Warns if every user of this machine can read the secret and could sign tokens with it.
    pub(super) fn warn_if_readable(&self) {
        let mode = std::fs::metadata(&self.file).map_or(0, |file| file.permissions().mode());
        if self.verifier.holds_secret() && mode & WORLD_READABLE != 0 {
            let file = self.file.display();
            warn!(
                "every user of this machine can read the secret in {file}, and so sign tokens: chmod 600 {file}"
            );
        }
    }
}

/// The clients that a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyExposure {
    /// Clients with a token.
    Guarded,
    /// All clients on this machine.
    Open,
    /// All clients, including those on other machines.
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

/// Logs which clients a server at `address` accepts.
pub(super) fn log_exposure(verifier: &Verifier, address: IpAddr) {
    match KeyExposure::new(verifier.is_open(), address) {
        KeyExposure::Guarded => info!("tokens are required (--auth-key-file or --jwks)"),
        KeyExposure::Open => info!(
            "open mode: every client that reaches this server may read and write, and names are not verified"
        ),
        KeyExposure::Exposed => warn!(
            "open mode, and {address} can be reached from other machines: every client may read and write, and names \
             are not verified. To require tokens: openssl rand -base64 32 > fanfare.key; chmod 600 fanfare.key; \
             then start with --auth-key-file fanfare.key"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_keys_that_other_machines_reach_is_exposed() {
        for (address, without_keys) in [
            ("127.0.0.1", KeyExposure::Open),
            ("::1", KeyExposure::Open),
            ("0.0.0.0", KeyExposure::Exposed),
            ("::", KeyExposure::Exposed),
            ("192.168.1.7", KeyExposure::Exposed),
        ] {
            let address = address.parse().expect("an address");

            assert_eq!(KeyExposure::new(true, address), without_keys);
            assert_eq!(KeyExposure::new(false, address), KeyExposure::Guarded);
        }
    }
}
