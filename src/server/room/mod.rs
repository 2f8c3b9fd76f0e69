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
pub use frame::{Draft, Frame, Said};
pub use keys::{KeyLimits, KeyWindow, Keyed};
pub use log::{Lagged, Log, LogLimits, join};
pub use moment::Moment;
pub use neighbours::{Attendance, Kind, Neighbours};
pub use presence::{Change, Presence, Present};
pub use reel::{MAX_RUN_BYTES, Reel, Run, Tally};
