//! RFC 6455 frames as bytes, and RFC 7692 compression of them: what a server must accept, refuse and send. Sans I/O.
//!
//! # Invariants
//!
//! - Nothing here waits, reads a clock, names a socket or knows what a room is.
//! - No memory is ever reserved from a length that a peer declared.
//! - A [`Decoder`] between two messages holds no buffer.

mod header;
mod incoming;
mod message;
mod decoder;
mod deflate;
mod violation;

pub use decoder::Decoder;
pub use deflate::{AGREEMENT as DEFLATE_AGREEMENT, is_offered as is_deflate_offered};
pub use header::{Opcode, close_echo, close_frame, deflated, encode, encode_into, payload};
pub use incoming::Incoming;
pub use violation::Violation;
