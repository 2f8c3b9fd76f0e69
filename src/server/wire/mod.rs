//! WebSocket frames (RFC 6455) and message compression (RFC 7692) for a server, without I/O.
//!
//! # Invariants
//!
//! - This floor is pure: it never waits, reads no clock, and names no socket and no room.
//! - Memory is never reserved by a length that a peer declares.
//! - A [`Decoder`] holds no buffer between two messages.

mod header;
mod incoming;
mod message;
mod decoder;
mod deflate;
mod violation;

pub use decoder::Decoder;
pub use deflate::{AGREEMENT as DEFLATE_AGREEMENT, is_offered as is_deflate_offered};
pub use header::{Opcode, PING, close_echo, close_frame, encode, encode_deflated, encode_into};
pub use incoming::Incoming;
pub use violation::Violation;
