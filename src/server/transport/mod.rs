//! Open WebSockets and event streams. No other floor reads or writes a client's socket.
//!
//! # Invariants
//!
//! - An idle connection holds no buffer. Bytes are read into one buffer of the thread and decoded in place; bytes to
//!   write are shared by all readers of a room.
//! - A client has one publish pending at a time. Later messages wait in its socket, so a fast client is slowed down by
//!   the store, and a burst becomes few transactions and few fan-outs.
//! - Writes never wait. A socket whose buffer is full is written to again when the kernel reports it writable.
//! - A client that breaks a rule is sent the close code before its connection ends.

mod activity;
mod stall_timeout;
mod upgrade;
mod settings;
mod connection;
mod trace;
mod renewal;
mod reader;
mod history;
mod task;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use activity::{Activity, RequestPhase};
pub use renewal::{permissions, unix_time};
pub use settings::{ConnectionSettings, message_timeout};
pub use stall_timeout::{StallTimeout, StallTimeoutHandle};
pub use stream::{EventStreamBody, StreamSubscriber};
pub use task::{PendingConnection, reject};
pub use tls::{CertificateError, Tls};
pub use upgrade::{Handshake, UpgradeError};
