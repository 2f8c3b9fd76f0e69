//! What both sides agree on: names, positions and close codes.
//!
//! No I/O, no clock, no feature gate; names nothing else of ours.

mod name;
mod position;
mod close;

pub use close::CloseCode;
pub use name::{NameError, RoomName, UserId};
pub use position::{Epoch, Offset};
