//! One room's data: its log of frames. Pure.
//!
//! # Invariants
//!
//! - Nothing here waits, reads a clock, or names tokio, axum, a socket or a database.
//! - A [`Frame`] never changes once appended; every reader of a dialect gets the same bytes.
//! - Offsets only grow.

mod frame;
mod log;
mod reel;

pub use frame::Frame;
pub use log::{Lagged, Log, LogLimits};
pub use reel::{Reel, Run};
