//! The durable state of a hook: the position up to which its receiver has accepted the messages of its rooms.

use crate::protocol::Position;

/// The durable state of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookState {
    /// The position up to which all messages were delivered.
    pub position: Position,
    /// The reason why messages are not delivered, if so.
    pub status: HookStatus,
}

/// The status of a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookStatus {
    /// Messages are delivered.
    #[default]
    Active,
    /// An operator has paused the hook.
    Paused,
    /// The receiver answered 410 Gone.
    Gone,
}

impl HookStatus {
    /// All statuses.
    const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Gone];

    /// Returns the name of the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Gone => "gone",
        }
    }

    /// Returns the status called `name`; [`HookStatus::Active`] for an unknown name of a newer version.
    pub fn named(name: &str) -> Self {
        let named = Self::ALL.into_iter().find(|status| status.as_str() == name);
        named.unwrap_or_default()
    }
}
