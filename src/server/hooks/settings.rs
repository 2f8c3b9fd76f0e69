//! The settings of one hook.

use crate::protocol::RoomSelector;
use crate::server::hooks::{HookUrl, SigningSecret};

/// The longest name of a hook, in characters.
pub const MAX_HOOK_NAME: usize = 64;

/// The settings of one hook.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// The name, under which the position is stored: 1 to [`MAX_HOOK_NAME`] of `A-Z a-z 0-9 - _`.
    pub name: String,
    /// The URL of the receiver.
    pub url: HookUrl,
    /// The rooms and patterns whose messages are delivered, none of which includes another.
    pub rooms: Vec<RoomSelector>,
    /// The secret with which deliveries are signed.
    pub secret: SigningSecret,
}
