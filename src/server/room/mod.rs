//! The data of one room: its message log, its members on all nodes, and the keys of recent messages.
//!
//! # Invariants
//!
//! - This floor is pure: it never waits, reads no clock, and names no tokio, axum, socket or database.
//! - A [`Frame`] never changes once it is appended; deletion replaces it by a tombstone. All readers of a
//!   format receive the same bytes.
//! - Offsets only grow.

mod tick;
mod dialect;
mod format;
mod frame;
mod log;
mod fanout_batch;
mod member_map;
mod presence;
mod remote_presence;
mod dedup;

pub use dedup::{DedupEntry, DedupLimits, DedupWindow};
pub use dialect::Dialect;
pub use fanout_batch::{Chunk, DeliveryCounters, FanoutBatch, MAX_CHUNK_BYTES};
pub use format::Format;
pub use frame::{Draft, Frame, Payload};
pub use log::{Lagged, Log, LogLimits, concat_frames};
pub use presence::{Presence, PresenceChange, PresentMember};
pub use remote_presence::{PresenceUpdate, PresenceUpdateKind, RemotePresence};
pub use tick::Tick;
