//! What travels between both sides: names, positions, the frames of `fanfare.v1`, close and error codes; and
//! how long a client stays away before it comes back.
//!
//! No I/O, no clock, no feature gate; names nothing else of ours.

mod name;
mod shown;
mod key;
mod position;
mod token;
mod command;
mod push;
mod codec;
mod error;
mod close;
mod base_path;
mod backoff;
mod bom;

pub use backoff::Backoff;
pub use base_path::{BasePath, BasePathError};
pub use bom::{has_bom, without_bom};
pub use close::CloseCode;
pub use codec::CommandError;
pub use command::{Command, MAX_HISTORY};
pub use error::ErrorCode;
pub use key::{Key, KeyError};
pub use name::{NameError, RoomName, UserId};
pub use position::{Epoch, Offset, Position, PositionError};
pub use push::{Body, GapReason, Publication, Push, Recovery, Welcome};
pub use shown::make_visible;
pub use token::Token;

/// The subprotocol that chooses the typed dialect.
pub const SUBPROTOCOL: &str = "fanfare.v1";

/// What a browser writes before its token, to offer it as one more subprotocol: its WebSockets have no other
/// place for one than this and the address, and addresses are logged. The server never chooses it.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "bearer.";
