//! The protocol state of one connection, without I/O: messages and times come in, decisions go out.
//!
//! # Invariants
//!
//! - This floor is pure: it never waits, reads no clock, and names no tokio, axum, socket or database. Times come
//!   in as [`Tick`](crate::server::room::Tick), and bytes to write wait in a [`SendBuffer`].

mod arrival_timer;
mod heartbeat;
mod ip_bucket;
mod limiter;
mod log_reader;
mod send_buffer;
mod quotas;
mod state;

pub use arrival_timer::ArrivalTimer;
pub use heartbeat::{Heartbeat, HeartbeatAction, HeartbeatSettings};
pub use ip_bucket::IpBucket;
pub use limiter::{Limiter, Limiters, Rate};
pub use log_reader::{Behind, LogCursor, LogReader, RoomReader};
pub use quotas::{
    ConnectionLimiter, MessageLimits, Quota, QuotaRates, Quotas, RateLimitKey, RateLimited,
};
pub use send_buffer::{CatchUpPage, CloseReason, SendBuffer, WriteStep};
pub use state::{ClientAccess, Session, SessionAction, max_publish_bytes};
