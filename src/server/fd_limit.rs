//! The number of connections that the file limit allows: each needs a file descriptor.

use tracing::{info, warn};

use crate::server::metrics;

/// File descriptors of the program itself: listeners, the runtime, the store, the log, and files being served.
const OWN_FILES: u64 = 32;
/// The divisor for reserved file descriptors: one in this many is reserved for the ops listener, and as many for
/// refusals.
const RESERVED_DIVISOR: u64 = 64;
/// The fewest and the most file descriptors reserved for the ops listener.
const OPS_FILES: (u64, u64) = (16, 4096);
/// The fewest and the most file descriptors reserved for connections that are refused with a reason.
const REFUSAL_FILES: (u64, u64) = (16, 64);
/// The divisor for HTTP requests, which the Hub does not count: one in this many public connections is reserved for
/// them.
const REQUESTS_DIVISOR: usize = 8;

/// The most sockets that may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketLimits {
    /// Sockets on the public listener, including WebSockets and streams.
    pub(super) public: usize,
    /// Sockets on the ops listener.
    pub(super) ops: usize,
    /// Additional sockets on the public listener, for refusals.
    pub(super) refusals: usize,
}

impl SocketLimits {
    /// Returns the limits for `files` file descriptors.
    fn of(files: u64) -> Self {
        let part = files / RESERVED_DIVISOR;
        let ops = part.clamp(OPS_FILES.0, OPS_FILES.1);
        let refusals = part.clamp(REFUSAL_FILES.0, REFUSAL_FILES.1);
        let public = files.saturating_sub(OWN_FILES + ops + refusals);
        let sockets = |files: u64| usize::try_from(files.max(1)).unwrap_or(usize::MAX);

        Self {
            public: sockets(public),
            ops: sockets(ops),
            refusals: sockets(refusals),
        }
    }

    /// Returns the most WebSockets and streams, which leaves room for HTTP requests.
    pub(super) fn connections(&self) -> usize {
        self.public - self.public / REQUESTS_DIVISOR
    }
}

/// Raises the file limit as far as the system allows, and returns the sockets that fit in it. Warns if they are fewer
/// than `max_connections`.
pub(super) fn raise(max_connections: usize) -> SocketLimits {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => files,
        Err(error) => {
            warn!(%error, "could not raise the file limit");
            u64::MAX
        }
    };

    let limits = SocketLimits::of(files);
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
    fn files_are_reserved_for_the_program_for_operators_and_for_refusals() {
        let limits = SocketLimits::of(100);

        assert_eq!(limits.public, 36);
        assert_eq!(limits.ops, 16);
        assert_eq!(limits.refusals, 16);
        assert_eq!(limits.connections(), 32);
    }

    #[test]
    fn at_least_one_connection_is_allowed() {
        assert_eq!(SocketLimits::of(10).public, 1);
    }
}
