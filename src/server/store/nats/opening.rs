//! The opening of a room. Its bounds and its life are requested from NATS if this node has not cached them, and its bounds
//! again if they are out of date.
//!
//! # Invariants
//!
//! - Requests for the same room are sent one at a time. If NATS cannot be reached, a room whose head is already known stays
//!   readable.

use std::sync::Arc;
use std::time::Duration;

use super::connection::NatsError;
use super::room_state::NatsRoomState;
use super::rooms::NatsRooms;
use super::streams::LoadedLife;
use crate::protocol::RoomName;

/// The time for which the oldest message is cached: NATS sends no notification when a message is removed.
const BOUNDS_MAX_AGE: Duration = Duration::from_secs(1);
/// The maximum number of times that the life of a room is read. It is read again if the consumer has received a newer message.
const LIFE_ATTEMPTS: usize = 5;

/// A room that is being opened. The consumer tracks the room while this value exists. Dropping it removes the room,
/// unless [`Opening::finish`] was successful or another opening exists, so a failed or aborted request leaves no
/// state.
pub(super) struct Opening {
    pub(super) rooms: Arc<NatsRooms>,
    pub(super) room: RoomName,
    /// A lock that allows one request to NATS at a time for the room.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Opening {
    /// Loads the bounds of the room if they are out of date, and keeps the room until [`NatsRooms::release`].
    pub(super) async fn finish(self) -> Result<(), NatsError> {
        self.load_if_needed().await?;
        self.rooms.with(&self.room, |room| room.is_kept = true);
        Ok(())
    }

    /// Loads the bounds of the room if they are out of date.
    pub(super) async fn load_if_needed(&self) -> Result<(), NatsError> {
        if !self.is_fresh() {
            let _turn = self.turn.lock().await;
            if !self.is_fresh() {
                let head = self.rooms.with(&self.room, |room| room.head).flatten();
                let loaded = self.load(head).await;
                // A room whose head is known stays readable: it may return fewer messages, but none that are wrong.
                if head.is_none() {
                    loaded?;
                }
            }
        }
        Ok(())
    }

    /// Returns true if the bounds are known and not out of date.
    fn is_fresh(&self) -> bool {
        let loaded = |room: &mut NatsRoomState| Some((room.loaded?, room.life_read_at));
        let loaded = self.rooms.with(&self.room, loaded).flatten();
        loaded.is_some_and(|(loaded, life_read_at)| {
            loaded.elapsed() < BOUNDS_MAX_AGE && self.rooms.has_all_since(life_read_at)
        })
    }

    /// Loads the bounds of the room, also if they are not out of date.
    pub(super) async fn reload(&self) -> Result<(), NatsError> {
        let _turn = self.turn.lock().await;
        let head = self.rooms.with(&self.room, |room| room.head).flatten();
        self.load(head).await
    }

    /// Requests the bounds of the room, whose newest offset is `head` if it is known.
    async fn load(&self, head: Option<u64>) -> Result<(), NatsError> {
        self.rooms.streams.health.check_readable()?;
        let head = match head {
            Some(_) => {
                self.load_missed_events_in_turn().await?;
                let head = self.rooms.with(&self.room, |room| room.head).flatten();
                head.ok_or(NatsError::NotOpen)?
            }
            None => self.load_life().await?,
        };

        let oldest = self.rooms.oldest(&self.room, head).await?;
        self.rooms
            .with(&self.room, |room| room.set_bounds(head, oldest));
        Ok(())
    }

    /// Requests the life and the tombstones of the room, and returns its newest offset.
    async fn load_life(&self) -> Result<u64, NatsError> {
        let streams = &self.rooms.streams;
        let tombstones = streams.tombstones(&self.room).await?;

        let mut attempts = 0;
        let (head, unsaved) = loop {
            let position = self.rooms.position();
            let LoadedLife {
                life,
                head,
                unsaved,
            } = streams.life(&self.room).await?;

            let limits = self.rooms.limits.of(&self.room, &life.lifecycle);
            let expires_at = life.expires_at(&limits);
            let is_set = self
                .rooms
                .with(&self.room, |room| room.set_life(life, position));
            attempts += 1;
            // A message that is missing each time was removed from the stream.
            if is_set != Some(false) || attempts == LIFE_ATTEMPTS {
                self.rooms.set_expiry(&self.room, expires_at);
                break (head, unsaved);
            }
        };

        let must_be_saved = |room: &mut NatsRoomState| room.life.must_be_saved();
        if unsaved > 0 && self.rooms.with(&self.room, must_be_saved) == Some(true) {
            self.rooms.save_later(&self.room);
        }

        let newest = self.rooms.with(&self.room, |room| {
            for tombstone in tombstones {
                room.tombstones.insert(tombstone);
            }
            room.tombstones.trim(room.life.base + 1);
            room.tombstones.newest()
        });
        Ok(head.max(newest.unwrap_or_default()))
    }

    /// Sends the events of the room that the consumer has missed, if there may be some.
    pub(super) async fn load_missed_events(&self) -> Result<(), NatsError> {
        let _turn = self.turn.lock().await;
        self.load_missed_events_in_turn().await
    }

    /// Like [`Opening::load_missed_events`]. The caller has the turn, and the head of the room is known.
    async fn load_missed_events_in_turn(&self) -> Result<(), NatsError> {
        let read_at = self.rooms.with(&self.room, |room| room.life_read_at);
        if read_at.is_none_or(|read_at| self.rooms.has_all_since(read_at)) {
            return Ok(());
        }

        let position = self.rooms.position();
        let LoadedLife { life, .. } = self.rooms.streams.life(&self.room).await?;

        // Events that the consumer receives later are not missed, and those that it sends must come first.
        self.rooms.wait_for(life.applied).await?;
        self.rooms.wait_until_sent().await;
        let add = |room: &mut NatsRoomState| room.add_missed_events(life, position);
        let changes = self.rooms.with(&self.room, add).unwrap_or_default();
        if !changes.is_empty() {
            self.rooms.changes.send(changes);
        }
        Ok(())
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.rooms.end_opening(&self.room);
    }
}
