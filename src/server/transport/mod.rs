//! Open WebSockets and event streams. No other floor reads or writes a client's socket.
//!
//! Both begin as an HTTP request, after which the socket leaves hyper ([`handover`]). Then both are a
//! [`Connection`](connection::Connection), which begins in [`opening`], has [`subscriptions`] to rooms and patterns, writes
//! to a [`client_socket`], plain or with TLS ([`tls_stream`]), and ends in [`closing`]. They differ in their dialect and in
//! their task. That of an [`event_stream`] ignores the client's bytes. That of a [`websocket`] has a [`reader`] of frames, and
//! stores the client's messages ([`publishing`]).
//!
//! # Invariants
//!
//! - An idle connection holds no buffer. Bytes are read into one buffer of the thread and decoded in place; bytes to
//!   write are shared by all readers of a room, and with TLS encrypted when they are written.
//! - A client has one batch of publishes pending at a time. Later messages wait in its socket, so a fast client is slowed
//!   down by the store, and a burst becomes few transactions and few fan-out passes.
//! - Writes never wait. A socket whose buffer is full is written to again when the kernel reports it writable.
//! - A client that breaks a rule is sent the close code before its connection ends.

mod activity;
mod client_socket;
mod stall_timeout;
mod upgrade;
mod permissions;
mod connection_state;
mod connection;
mod subscriber;
mod handover;
mod opening;
mod requests;
mod reader;
mod publishing;
mod subscriptions;
mod closing;
mod websocket;
mod event_stream;
mod tls;
mod tls_stream;

#[cfg(test)]
mod tests;

pub use activity::{Activity, RequestPhase};
pub use client_socket::ClientSocket;
pub use connection::{ConnectionSettings, message_timeout};
pub use handover::{Handover, encode_head};
pub use opening::PendingConnection;
pub use permissions::{Permissions, own_limits, unix_time};
pub use stall_timeout::{StallTimeout, StallTimeoutHandle};
pub use tls::{CertificateError, Tls};
pub use upgrade::{Handshake, UpgradeError};
pub use websocket::{FrameSender, reject};
