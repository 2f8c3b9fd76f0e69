//! The protocol between server and clients: names, positions, the frames of `fanfare.v1`, close and error codes.
//!
//! The server, the page and the command line share it, except for [`admin`], which browsers do not need. No I/O and no
//! clock; it depends on no other floor.

#[macro_use]
mod text_type;
mod name;
mod selector;
mod visible;
mod key;
mod kind;
mod json;
mod message_fields;
mod body;
mod position;
mod token;
mod command;
mod push;
mod json_field;
mod codec;
mod error;
mod close;
mod base_path;
mod bom;
mod weight;
#[cfg(test)]
pub(crate) mod samples;
/// The server renders the admin page, so only native programs use these types.
#[cfg(feature = "ssr")]
pub mod admin;

pub use base_path::{BasePath, BasePathError};
pub use body::{Body, BodyError};
pub use bom::{has_bom, without_bom};
pub use close::CloseCode;
pub use codec::CommandError;
pub use command::{Command, MAX_HISTORY, MAX_SIGNAL_BYTES, MAX_STATE_BYTES};
pub use error::ErrorCode;
pub use json::{Json, JsonError, MAX_JSON_DEPTH};
pub use key::{Key, KeyError};
pub use kind::{Kind, KindError};
pub use message_fields::MessageFields;
pub use name::{NameError, RoomName, UserId};
pub use position::{Epoch, Offset, Position, PositionError};
pub use push::{
    GapReason, Member, Publication, Push, Recovery, Signal, Subscribed, UnsubscribeCode, Welcome,
};
pub use selector::{RoomPattern, RoomSelector};
pub use token::Token;
pub use visible::make_visible;
pub use weight::{FULL_WEIGHT, parse_weight};

/// The WebSocket subprotocol (RFC 6455 section 1.9) that selects the typed dialect.
pub const SUBPROTOCOL: &str = "fanfare.v1";

/// The prefix of a subprotocol that carries a token.
///
/// A browser can send a token for a WebSocket only in the URL or as a subprotocol, and URLs are logged. The server
/// never selects this subprotocol.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "bearer.";
