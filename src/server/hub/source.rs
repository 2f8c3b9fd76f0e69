//! The source of a subscription's messages: a room, or all rooms that a pattern matches.

use std::sync::Arc;

use crate::protocol::{Offset, RoomName, RoomSelector};
use crate::server::hub::feed::DeletionMark;
use crate::server::hub::{Feed, PatternFeed, Room};
use crate::server::session::CatchUpPage;
use crate::server::store::{Limit, StoreError};

/// A room, or all rooms that a pattern matches.
#[derive(Clone, Debug)]
pub enum Source {
    /// One room.
    Room(Arc<Room>),
    /// All rooms that match.
    Pattern(Arc<PatternFeed>),
}

impl Source {
    /// Returns the newest messages, and the readers.
    pub fn feed(&self) -> &Feed {
        match self {
            Self::Room(room) => room.feed(),
            Self::Pattern(pattern) => pattern.feed(),
        }
    }

    /// Returns the room, if it is one.
    pub const fn room(&self) -> Option<&Arc<Room>> {
        match self {
            Self::Room(room) => Some(room),
            Self::Pattern(_) => None,
        }
    }

    /// Returns the name of the room, or the pattern, as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Room(room) => room.name().as_str(),
            Self::Pattern(pattern) => pattern.pattern().as_str(),
        }
    }

    /// Returns the name of the room, or the pattern.
    pub fn selector(&self) -> RoomSelector {
        match self {
            Self::Room(room) => room.name().clone().into(),
            Self::Pattern(pattern) => pattern.pattern().clone().into(),
        }
    }

    /// Returns true if this is the room `name`, or a pattern that matches it.
    pub fn matches(&self, name: &RoomName) -> bool {
        match self {
            Self::Room(room) => room.name() == name,
            Self::Pattern(pattern) => pattern.pattern().matches(name),
        }
    }

    /// Reads a page of at most `limit` messages after `after` from the store. For a pattern, trimmed messages up to
    /// `known` are not reported.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn catch_up(
        &self,
        after: Offset,
        known: Offset,
        limit: Limit,
    ) -> Result<(CatchUpPage, DeletionMark), StoreError> {
        match self {
            Self::Room(room) => room.catch_up(after, limit).await,
            Self::Pattern(pattern) => pattern.catch_up(after, known, limit).await,
        }
    }
}
