//! The limits and timeouts of connections.

use std::time::Duration;

use crate::server::session::{HeartbeatSettings, Rate};

/// The time in which the smallest message must arrive.
const MIN_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The slowest link that is supported: the timeout grows by a second for each of these many bytes.
const MIN_BYTES_PER_SECOND: usize = 64 * 1024;

/// The limits and timeouts of every connection of a server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// The largest payload of a message, in bytes.
    pub max_message: usize,
    /// Bytes queued for one connection alone at which reading from it stops.
    pub send_buffer: usize,
    /// The ping interval and the timeout.
    pub heartbeat: HeartbeatSettings,
    /// The rate limit of messages from one connection.
    pub rate: Rate,
    /// True if clients may negotiate compression (permessage-deflate).
    pub compression: bool,
}

/// Returns the time in which a message of `bytes` must arrive, from its first byte to its last.
pub fn message_timeout(bytes: usize) -> Duration {
    MIN_MESSAGE_TIMEOUT + Duration::from_secs((bytes / MIN_BYTES_PER_SECOND) as u64)
}
