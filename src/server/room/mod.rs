//! The data of one room: its message log, its recent signals, its members on all nodes, and the keys of recent messages.
//!
//! # Invariants
//!
//! - This floor is pure: it never waits, reads no clock, and names no tokio, axum, socket or database.
//! - A [`Frame`] never changes once it is appended; deletion replaces it by a tombstone. All readers of a
//!   format receive the same bytes.
//! - Offsets only grow.

mod encoding;
mod excluded_rooms;
mod frame;
mod log;
mod member_map;
mod pattern_map;
mod member_entry;
mod presence;
mod remote_presence;
mod dedup;
mod signals;

use std::time::Duration;

pub use dedup::{DedupEntry, DedupLimits, DedupWindow};
pub use encoding::{Dialect, Format};
pub use excluded_rooms::ExcludedRooms;
pub use frame::{Content, ContentError, Draft, Frame, Payload};
pub use log::{
    Chunk, DeliveryCounters, FanoutBatch, Lagged, Log, LogLimits, MAX_CHUNK_BYTES, concat_frames,
};
pub use pattern_map::PatternMap;
pub use presence::{Presence, PresenceChange, PresentMember};
pub use remote_presence::{PresenceUpdate, PresenceUpdateKind, RemotePresence};
pub use signals::{SignalChunk, SignalRing};

/// A time: milliseconds since the server started, on a monotonic clock. The pure floors get times as arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// Returns the tick `elapsed` after the start of the server.
    pub const fn after_start(elapsed: Duration) -> Self {
        Self(elapsed.as_millis() as u64)
    }

    /// Returns the tick `time` later than this one, saturating at the largest tick.
    pub const fn after(self, time: Duration) -> Self {
        let millis = time.as_millis();
        Self(self.0.saturating_add(if millis > u64::MAX as u128 {
            u64::MAX
        } else {
            millis as u64
        }))
    }

    /// Returns the time from `earlier` to this tick; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
