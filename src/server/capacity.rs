//! The number of connections that the file limit allows: each needs a file descriptor.

use tracing::{info, warn};

use crate::server::metrics;

/// File descriptors of the program itself: listeners, the runtime, the store, the log, files being served.
const OWN_FILES: u64 = 32;
/// One in this many file descriptors is reserved for the ops listener, and as many for connections that are refused
/// with a reason; no fewer and no more than these.
const RESERVED_PART: u64 = 64;
const OPS_FILES: (u64, u64) = (16, 4096);
const REFUSAL_FILES: (u64, u64) = (16, 64);
/// File descriptors of one connection with TLS: the client's socket, and a pair.
const FILES_WITH_TLS: u64 = 3;
/// One in this many public connections is reserved for HTTP requests, which the Hub does not count.
const REQUESTS_PART: usize = 8;

/// Most sockets that may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketLimits {
    /// On the public listener, WebSockets and streams included.
    pub(super) public: usize,
    /// On the ops listener.
    pub(super) ops: usize,
    /// Beyond those on the public listener, for refusals.
    pub(super) refusals: usize,
}

impl SocketLimits {
    /// Returns what fits in `files` file descriptors.
    fn of(files: u64, is_tls: bool) -> Self {
        let each = if is_tls { FILES_WITH_TLS } else { 1 };
        let part = files / RESERVED_PART;
        let ops = part.clamp(OPS_FILES.0, OPS_FILES.1);
        let refusals = part.clamp(REFUSAL_FILES.0, REFUSAL_FILES.1);
        let public = files.saturating_sub(OWN_FILES + ops + refusals) / each;
        let sockets = |files: u64| usize::try_from(files.max(1)).unwrap_or(usize::MAX);
        Self {
            public: sockets(public),
            ops: sockets(ops),
            refusals: sockets(refusals / each),
        }
    }

    /// Returns how many WebSockets and streams fit, beside requests over HTTP.
    pub(super) fn connections(&self) -> usize {
        self.public - self.public / REQUESTS_PART
    }
}

/// Raises the file limit as far as the system allows, and returns how many sockets fit in it. Connections above
/// `max_connections` are never needed.
pub(super) fn raise(max_connections: usize, is_tls: bool) -> SocketLimits {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => files,
        Err(error) => {
            warn!(%error, "cannot raise the file limit");
            u64::MAX
        }
    };

    let limits = SocketLimits::of(files, is_tls);
    metrics::set_connection_file_limit(limits.public as u64);
    let fit = limits.public.min(max_connections);
    info!("room for {fit} connections (file limit {files}, --max-connections {max_connections})");
    if limits.connections() < max_connections {
        let lowered = limits.connections();
        warn!(
            files,
            "--max-connections is lowered from {max_connections} to {lowered}; \
             for more, raise the file limit (ulimit -n, LimitNOFILE= in systemd)"
        );
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_for_the_program_for_operators_and_for_refusals() {
        let limits = SocketLimits::of(100, false);
        assert_eq!((limits.public, limits.ops, limits.refusals), (36, 16, 16));
        assert_eq!(limits.connections(), 32);

        let with_tls = SocketLimits::of(100, true);
        assert_eq!((with_tls.public, with_tls.refusals), (12, 5));
        assert_eq!(SocketLimits::of(10, false).public, 1, "never none");
    }
}
