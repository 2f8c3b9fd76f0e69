//! A member of a room with its connections and its state.

use crate::protocol::{Json, Member, UserId};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::Tick;

/// A member of a room.
#[derive(Debug)]
pub(super) struct MemberEntry {
    pub(super) connections: u32,
    /// Time of the first connection, in milliseconds since 1970 UTC.
    pub(super) since: u64,
    /// Time at which the member leaves, after its last connection was closed; of no meaning while there is one.
    pub(super) leaves_at: Tick,
    pub(super) is_announced: bool,
    /// True if a client received the id in a member list before it was announced to the room.
    pub(super) is_listed: bool,
    /// The state, if one was ever set.
    state: Option<Box<MemberState>>,
    /// True if the state has changed since it was last announced.
    pub(super) is_state_changed: bool,
}

/// The state that a member has set.
#[derive(Debug)]
struct MemberState {
    /// `None` if it was removed.
    json: Option<Json>,
    /// Time at which it was set, in milliseconds since 1970 UTC.
    set_at: u64,
    _reservation: MemoryReservation,
}

impl MemberEntry {
    /// Creates a member without connections and without a state, which is present since `since`.
    pub(super) fn new(since: u64) -> Self {
        Self {
            connections: 0,
            since,
            leaves_at: Tick::default(),
            is_announced: false,
            is_listed: false,
            state: None,
            is_state_changed: false,
        }
    }

    /// Returns the member as clients see it.
    pub(super) fn shown_as(&self, id: &UserId) -> Member {
        Member {
            id: id.clone(),
            state: self.state_json().cloned(),
        }
    }

    pub(super) fn state_json(&self) -> Option<&Json> {
        self.state.as_ref()?.json.as_ref()
    }

    pub(super) fn state_set_at(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.set_at)
    }

    pub(super) fn state_bytes(&self) -> usize {
        self.state_json().map_or(0, |json| json.as_str().len())
    }

    /// Replaces the state. Returns true if the new one is different.
    pub(super) fn replace_state(&mut self, json: Option<Json>, set_at: u64) -> bool {
        let has_changed = self.state_json() != json.as_ref();
        let bytes = size_of::<MemberState>() + json.as_ref().map_or(0, |json| json.as_str().len());

        self.state = Some(Box::new(MemberState {
            json,
            set_at,
            _reservation: Memory::of_process().reserve(bytes),
        }));
        self.is_state_changed |= has_changed;
        has_changed
    }
}
