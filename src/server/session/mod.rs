//! One connection's protocol state, sans I/O: input and time in, decisions out.
//!
//! # Invariants
//!
//! - Nothing here waits, reads a clock, or names tokio, axum, a socket or a database: time comes in as
//!   [`Moment`], bytes to write wait in an [`Outbox`].

mod moment;
mod heartbeat;
mod limiter;
mod outbox;

pub use heartbeat::{Heartbeat, HeartbeatSettings, Pulse};
pub use limiter::{Limiter, Rate};
pub use moment::Moment;
pub use outbox::{Farewell, Next, Outbox};
