//! One room's data: its log of frames, who is here or on another node, which sends were repeated. Pure.
//!
//! # Invariants
//!
//! - Nothing here waits, reads a clock, or names tokio, axum, a socket or a database.
//! - A [`Frame`] never changes once appended, though a tombstone may take its place; every reader of a format
//!   gets the same bytes.
//! - Offsets only grow.

mod moment;
mod dialect;
mod format;
mod frame;
mod log;
mod reel;
mod roster;
mod presence;
mod neighbours;
mod keys;

pub use dialect::Dialect;
pub use format::Format;
pub use frame::{Draft, Frame, Payload};
pub use keys::{DedupEntry, DedupLimits, DedupWindow};
pub use log::{Lagged, Log, LogLimits, concat_frames};
pub use moment::Tick;
pub use neighbours::{PresenceUpdate, PresenceUpdateKind, RemotePresence};
pub use presence::{Presence, PresenceChange, PresentMember};
pub use reel::{Chunk, DeliveryCounters, FanoutBatch, MAX_RUN_BYTES};
