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
mod quota;
mod quotas;
mod connection_limiter;
mod action;
mod state;

pub use action::SessionAction;
pub use arrival_timer::ArrivalTimer;
pub use connection_limiter::ConnectionLimiter;
pub use heartbeat::{Heartbeat, HeartbeatAction, HeartbeatSettings};
pub use ip_bucket::IpBucket;
pub use limiter::{Limiter, Limiters, Rate};
pub use log_reader::{Behind, LogCursor, LogReader, RoomReader};
pub use quota::{MessageLimits, Quota, RateLimited};
pub use quotas::{QuotaRates, Quotas, RateLimitKey};
pub use send_buffer::{CatchUpPage, CloseReason, SendBuffer, WriteStep};
pub use state::{ClientAccess, Session, max_publish_bytes};
