//! The health of a store, and the damage that it has found.

use std::fmt;

use crate::protocol::{Offset, RoomName};

/// The health of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// The last write succeeded.
    #[default]
    Ready,
    /// The last write failed, for this reason. The store retries automatically.
    ReadOnly(String),
    /// The store cannot be reached, for this reason, so messages of other nodes are missing too. The store retries
    /// automatically.
    Unreachable(String),
    /// The data on the disk can no longer be trusted, for this reason. The process must end.
    Corrupt(String),
}

impl Health {
    /// Returns the label of this state in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ReadOnly(_) => "read_only",
            Self::Unreachable(_) => "unreachable",
            Self::Corrupt(_) => "corrupt",
        }
    }

    /// Returns the reason why the store is not ready.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::ReadOnly(reason) | Self::Unreachable(reason) | Self::Corrupt(reason) => {
                Some(reason)
            }
        }
    }
}

/// Stored messages that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The number of messages found so far.
    pub messages: usize,
    /// The room of the first unreadable message found.
    pub room: RoomName,
    /// The offset of that message.
    pub offset: Offset,
    /// The error of the database.
    pub problem: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            room,
            offset,
            problem,
        } = self;
        write!(
            f,
            "{messages} messages cannot be read because the database is damaged, the first found at offset {offset} of \
             room {room} ({problem}); readers are sent a gap; restore a backup to get them back"
        )
    }
}
