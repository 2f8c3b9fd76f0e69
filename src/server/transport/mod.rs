//! Open WebSockets and streams: bytes in from the kernel, bytes out to it. The only floor that touches sockets.
//!
//! # Invariants
//!
//! - A quiet connection holds no buffer: bytes are read into one scratch space of the thread and decoded in
//!   place; what is to be written is shared with every other reader, or gone.
//! - A client's messages go to the store one read after the other: what it says meanwhile waits in its socket, so
//!   that a client is slowed down by its own messages, and a burst is few transactions and few passes.
//! - Writing never waits. A socket that takes nothing is left alone until the kernel says that it does.
//! - Whoever breaks a rule is told the close code before the connection goes.

mod activity;
mod patient;
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
pub use patient::{StallTimeout, StallTimeoutHandle};
pub use renewal::{permissions, unix_time};
pub use settings::{ConnectionSettings, message_timeout};
pub use stream::{EventStreamBody, StreamSubscriber};
pub use task::{PendingConnection, reject};
pub use tls::{CertificateError, Tls};
pub use upgrade::{Handshake, UpgradeError};
