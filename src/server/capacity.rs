//! How many connections the system lets us have: each is a file to it.

use tracing::{info, warn};

use crate::server::metrics;

/// File descriptors that are not connections: listeners, the runtime, the log, files being served.
const SPARE_FILES: u64 = 64;

/// Takes as many files as the system gives, and says how many connections fit.
pub(super) fn raise(max_connections: usize, is_tls: bool) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => {
            // With TLS, a client has its own socket and a pair.
            let each = if is_tls { 3 } else { 1 };
            let fit = files.saturating_sub(SPARE_FILES) / each;
            metrics::files_for(fit);
            let fit = fit.min(max_connections as u64);
            info!(
                "room for {fit} connections (file limit {files}, --max-connections {})",
                max_connections
            );
        }
        Err(error) => warn!(%error, "cannot raise the file limit"),
    }
}
