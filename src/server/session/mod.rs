//! One connection's protocol state, sans I/O: what came and the time in, decisions out.
//!
//! # Invariants
//!
//! - Nothing here waits, reads a clock, or names tokio, axum, a socket or a database: time comes in as
//!   [`Tick`](crate::server::room::Moment), bytes to write wait in an [`SendBuffer`].

mod arrival;
mod heartbeat;
mod lease;
mod host;
mod limiter;
mod limiters;
mod outbox;
mod quotas;
mod state;

pub use arrival::ArrivalTimer;
pub use heartbeat::{Heartbeat, HeartbeatAction, HeartbeatSettings};
pub use host::IpBucket;
pub use lease::{ClientAccess, Permissions};
pub use limiter::{Limiter, Rate};
pub use limiters::Limiters;
pub use outbox::{CatchUpPage, CloseReason, NextChunk, SendBuffer};
pub use quotas::{Quota, QuotaRates, Quotas, RateLimit, RateLimitKey, RateLimited};
pub use state::{Action, Session, max_publish_bytes};
