//! What connections are held to.

use std::time::Duration;

use crate::server::session::{HeartbeatSettings, Rate};

/// A message that has begun must be whole after this long, and a second more for each of these many bytes that
/// it may have: slower is no link that anybody has.
const UNFINISHED_AFTER: Duration = Duration::from_secs(10);
const SLOWEST_BYTES_A_SECOND: usize = 64 * 1024;

/// What every connection of a server is held to.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// One message's payload, in bytes.
    pub max_message: usize,
    /// Bytes that may wait for one connection alone before no more is read from it.
    pub send_buffer: usize,
    /// Pings and expiry.
    pub heartbeat: HeartbeatSettings,
    /// Messages from one connection.
    pub rate: Rate,
    /// Whether clients that offer it may send and get messages compressed.
    pub compression: bool,
}

/// How long a message of `bytes` may take from its first byte to its last.
pub fn message_timeout(bytes: usize) -> Duration {
    UNFINISHED_AFTER + Duration::from_secs((bytes / SLOWEST_BYTES_A_SECOND) as u64)
}
