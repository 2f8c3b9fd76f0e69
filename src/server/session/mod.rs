//! One connection's protocol state, sans I/O: what came and the time in, decisions out.
//!
//! # Invariants
//!
//! - Nothing here waits, reads a clock, or names tokio, axum, a socket or a database: time comes in as
//!   [`Moment`](crate::server::room::Moment), bytes to write wait in an [`Outbox`].

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
pub use heartbeat::{Heartbeat, HeartbeatSettings, Pulse};
pub use host::Host;
pub use lease::{Access, Lease};
pub use limiter::{Limiter, Rate};
pub use limiters::Limiters;
pub use outbox::{CatchUpPage, Farewell, Next, Outbox};
pub use quotas::{Pace, Quota, QuotaRates, Quotas, Speaker, TooFast};
pub use state::{Action, Session, max_say_bytes};
