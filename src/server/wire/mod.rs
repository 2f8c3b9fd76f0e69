//! RFC 6455 frames as bytes: what a server must accept, refuse and send. Sans I/O.
//!
//! # Invariants
//!
//! - Nothing here waits, reads a clock, names a socket or knows what a room is.
//! - No memory is ever reserved from a length that a peer declared.
//! - A [`Decoder`] between two messages holds no buffer.

mod header;
mod decoder;
mod violation;

pub use decoder::{Decoder, Incoming};
pub use header::{Opcode, close_echo, close_frame, encode, encode_into, payload};
pub use violation::Violation;
