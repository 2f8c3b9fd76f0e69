//! The settings of one hook.

use crate::protocol::RoomSelector;
use crate::server::hooks::SigningSecret;
use crate::server::http_client::HttpUrl;

/// The longest name of a hook, in characters.
pub const MAX_HOOK_NAME: usize = 64;

/// A kind of event that a hook delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// A message.
    Message,
    /// A user has joined a room.
    Join,
    /// A user has left a room.
    Leave,
    /// A room has its first member.
    Occupied,
    /// The last member has left a room.
    Vacated,
    /// A room accepts no more messages.
    Closed,
}

impl HookEvent {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Message,
        Self::Join,
        Self::Leave,
        Self::Occupied,
        Self::Vacated,
        Self::Closed,
    ];

    /// Returns the name in the settings and in deliveries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Occupied => "occupied",
            Self::Vacated => "vacated",
            Self::Closed => "closed",
        }
    }

    /// Returns the kind called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }
}

/// The settings of one hook.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// The name, under which the position is stored: 1 to [`MAX_HOOK_NAME`] of `A-Z a-z 0-9 - _`.
    pub name: String,
    /// The URL of the receiver.
    pub url: HttpUrl,
    /// The rooms and patterns whose messages are delivered, none of which includes another.
    pub rooms: Vec<RoomSelector>,
    /// The events that are delivered, at least one.
    pub events: Vec<HookEvent>,
    /// The secret with which deliveries are signed.
    pub secret: SigningSecret,
}
