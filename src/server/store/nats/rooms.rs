//! The state of each open room on this node.
//!
//! # Invariants
//!
//! - The head of a room is the offset of its newest message, or the value that NATS returned when the room was opened
//!   and the consumer was at `opened_at`. The messages after the head are new, and only those.
//! - If the consumer does not receive some numbers of the stream, because those messages were removed first, the next
//!   message of each room that was open shows the gap: its `prev` is the newest number that may be missing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::entry::StreamEntry;
use super::graves::{FirstMessage, Tombstones};
use super::standing::RoomPosition;
use super::subject::{Place, token};
use super::tail::{CacheQuota, RecentMessages, Snapshot};
use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Frame;
use crate::server::store::Bounds;

/// The time for which the oldest message is cached: NATS sends no notification when a message is removed.
const BELIEVED: Duration = Duration::from_secs(1);

/// See the [module docs](self).
pub(super) struct RoomStates {
    epoch: Epoch,
    /// The maximum number of messages that are kept per room.
    kept: usize,
    inner: Mutex<RoomStatesInner>,
    /// The last processed number of the stream, for tasks that wait for one.
    reached: watch::Sender<u64>,
}

struct RoomStatesInner {
    /// The open rooms by subject token.
    open: HashMap<String, RoomPosition>,
    /// The last number of the stream that the consumer has processed.
    position: u64,
    /// The newest number that the consumer did not receive.
    hole: u64,
}

/// A room that is being opened. The consumer tracks the room while this value exists. Dropping it removes the room,
/// unless [`Opening::keep`] was called or another opening exists, so a failed or aborted request leaves no state.
pub(super) struct Opening {
    rooms: Arc<RoomStates>,
    token: String,
    /// A lock that allows one request to NATS at a time for the room.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

/// The state of a room before a request to NATS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// True if no request is needed.
    pub(super) is_fresh: bool,
    /// The newest offset, if it is known.
    pub(super) head: Option<u64>,
}

impl Opening {
    /// Returns the current state of the room.
    pub(super) fn known(&self) -> Known {
        let inner = self.rooms.inner.lock();
        let room = inner.open.get(&self.token);
        let asked = room.and_then(|room| room.asked);
        Known {
            is_fresh: asked.is_some_and(|asked| asked.elapsed() < BELIEVED),
            head: room.and_then(|room| room.head),
        }
    }

    /// Keeps the room until [`RoomStates::release`].
    pub(super) fn keep(self) {
        if let Some(room) = self.rooms.inner.lock().open.get_mut(&self.token) {
            room.is_kept = true;
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut inner = self.rooms.inner.lock();
        if let Some(room) = inner.open.get_mut(&self.token) {
            room.openings -= 1;
            inner.forget_if_unused(&self.token);
        }
    }
}

/// The oldest message of a room, according to NATS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    /// Its offset.
    pub(super) first: u64,
    /// The last offset before it that may be missing.
    pub(super) gone: u64,
}

/// A change of a room that is new to this node.
pub(super) struct News {
    pub(super) room: RoomName,
    pub(super) what: What,
}

impl News {
    /// Returns the appended entry, if the change is an append.
    pub(super) const fn appended(&self) -> Option<&Arc<Frame>> {
        match &self.what {
            What::Appended(frame) => Some(frame),
            What::Deleted { .. } => None,
        }
    }

    /// Reports whether `next`, the following change of the same room, can be sent together with this one.
    pub(super) const fn is_like(&self, next: &Self) -> bool {
        self.appended().is_some() && next.appended().is_some()
    }
}

/// The kind of a change.
pub(super) enum What {
    /// An appended entry.
    Appended(Arc<Frame>),
    /// The deletion of the message at `offset`; `at` is its time in milliseconds since 1970 UTC.
    Deleted { offset: Offset, at: u64 },
}

impl RoomStatesInner {
    /// Removes the room with `token` if it is neither kept nor being opened.
    fn forget_if_unused(&mut self, token: &str) {
        let is_unused = |room: &RoomPosition| room.openings == 0 && !room.is_kept;
        if self.open.get(token).is_some_and(is_unused) {
            self.open.remove(token);
        }
    }
}

impl RoomStates {
    /// Creates an empty set of rooms. The consumer starts after `position`; `kept` messages are kept per room.
    pub(super) fn new(epoch: Epoch, kept: usize, position: u64) -> Self {
        let inner = RoomStatesInner {
            open: HashMap::new(),
            position,
            hole: 0,
        };
        Self {
            epoch,
            kept,
            inner: Mutex::new(inner),
            reached: watch::Sender::new(position),
        }
    }

    /// Returns the number of rooms that this node tracks.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.lock().open.len()
    }

    /// Starts to track `room` in the consumer.
    pub(super) fn begin(self: &Arc<Self>, room: &RoomName) -> Opening {
        let mut inner = self.inner.lock();
        let position = inner.position;

        let token = token(room);
        let standing = inner
            .open
            .entry(token.clone())
            .or_insert_with(|| RoomPosition::new(room.clone(), position));
        standing.openings += 1;

        Opening {
            turn: standing.turn.clone(),
            rooms: self.clone(),
            token,
        }
    }

    /// Records that NATS returned `head` and `oldest` for `room`; `oldest` is `None` if no message is kept.
    pub(super) fn learn(&self, room: &RoomName, head: u64, oldest: Option<Oldest>) {
        let mut inner = self.inner.lock();
        let Some(standing) = inner.open.get_mut(&token(room)) else {
            return;
        };

        standing.asked = Some(Instant::now());
        if let Some(known) = standing.head {
            match oldest {
                Some(Oldest { first, gone }) => (standing.first, standing.gone) = (first, gone),
                None if known == head => standing.first = 0,
                // A message was appended in the meantime, and that one is kept.
                None => return,
            }
        } else {
            let oldest = oldest.or(standing
                .early
                .map(|(first, _)| Oldest { first, gone: head }));
            let Oldest { first, gone } = oldest.unwrap_or(Oldest {
                first: 0,
                gone: head,
            });
            let head = head
                .max(first)
                .max(standing.early.map_or(0, |(_, last)| last));

            (standing.first, standing.gone, standing.head) = (first, gone, Some(head));
            standing.tail = RecentMessages::new(head);
        }

        let first = if standing.first == 0 {
            u64::MAX
        } else {
            standing.first
        };

        standing.tail.trim(first);
        standing.graves.trim(first);
    }

    /// Adds the tombstones that NATS returned for `room`. Returns the newest offset of all its tombstones, or 0.
    pub(super) fn bury(&self, room: &RoomName, tombstones: Vec<(u64, StreamEntry)>) -> u64 {
        let mut inner = self.inner.lock();
        let Some(standing) = inner.open.get_mut(&token(room)) else {
            return 0;
        };

        for (offset, tombstone) in tombstones {
            standing.graves.dig(offset, tombstone);
        }

        standing.graves.newest().unwrap_or_default()
    }

    /// Returns the oldest tombstone of `room` that is kept before the first message `eldest`, with the last offset that
    /// may be missing before it. `head` is the newest offset of the room; the stream holds `messages` of its messages.
    pub(super) fn edge(
        &self,
        room: &RoomName,
        eldest: Option<FirstMessage>,
        head: u64,
        messages: usize,
    ) -> Option<Oldest> {
        let inner = self.inner.lock();
        let graves = &inner.open.get(&token(room))?.graves;

        let behind = eldest.map_or(0, |eldest| graves.count_from(eldest.sequence));
        let places = self.kept.saturating_sub(messages + behind);

        let first = graves.edge(eldest, head, places)?;
        Some(Oldest {
            first,
            gone: graves.gone_before(first),
        })
    }

    /// Returns the result of `look` on the tombstones of `room`; the default value if the room is not open.
    pub(super) fn graves<T: Default>(
        &self,
        room: &RoomName,
        look: impl FnOnce(&Tombstones) -> T,
    ) -> T {
        self.inner
            .lock()
            .open
            .get(&token(room))
            .map_or_else(T::default, |standing| look(&standing.graves))
    }

    /// Returns the newest offset of `room`; `None` if no message is kept or the room is not open.
    pub(super) fn newest_kept(&self, room: &RoomName) -> Option<Offset> {
        let inner = self.inner.lock();
        let room = inner.open.get(&token(room))?;
        room.head.filter(|_| room.first > 0).map(Offset)
    }

    /// Reports whether the stream may hold no message of `room`.
    pub(super) fn may_be_empty(&self, room: &RoomName) -> bool {
        let inner = self.inner.lock();
        let Some(standing) = inner.open.get(&token(room)) else {
            return false;
        };

        if Some(standing.began) > standing.head {
            return false;
        }

        let is_grave = |head| standing.graves.at(head).is_some() && standing.tail.says_nothing();
        standing.first == 0 || standing.head.is_some_and(is_grave)
    }

    /// Records that this node has stored the first message of `room` at `sequence`, before the consumer delivers it.
    pub(super) fn began(&self, room: &RoomName, sequence: u64) {
        if let Some(room) = self.inner.lock().open.get_mut(&token(room)) {
            room.began = sequence;
        }
    }

    /// Removes `room`, at the latest when its last [`Opening`] is dropped.
    pub(super) fn release(&self, room: &RoomName) {
        let mut inner = self.inner.lock();
        let token = token(room);
        if let Some(room) = inner.open.get_mut(&token) {
            room.is_kept = false;
            inner.forget_if_unused(&token);
        }
    }

    /// Returns the bounds of `room`; `None` if it is not open.
    pub(super) fn bounds(&self, room: &RoomName) -> Option<Bounds> {
        let inner = self.inner.lock();
        let standing = inner.open.get(&token(room))?;
        let head = standing.head?;

        let gone = if standing.first == 0 {
            head
        } else {
            standing.gone
        };
        let (first, head, gone) = (Offset(standing.first), Offset(head), Offset(gone));

        Some(Bounds {
            epoch: self.epoch.clone(),
            first,
            head,
            gone,
            is_dense: false,
            base: Offset(0),
        })
    }

    /// Returns the cached newest messages of `room`; `None` if it is not open.
    pub(super) fn excerpt(&self, room: &RoomName) -> Option<Snapshot> {
        let inner = self.inner.lock();
        let standing = inner
            .open
            .get(&token(room))
            .filter(|standing| standing.head.is_some())?;
        Some(standing.tail.excerpt(standing.first))
    }

    /// Returns the time of the entry at `offset` of `room`, in milliseconds since 1970 UTC; `None` if it is not cached.
    pub(super) fn said_at(&self, room: &RoomName, offset: u64) -> Option<u64> {
        let inner = self.inner.lock();
        let standing = inner.open.get(&token(room))?;
        let kept = standing.tail.at(offset).map(|frame| frame.at());
        kept.or_else(|| standing.graves.at(offset).map(StreamEntry::at))
    }

    /// Caches `frames`: all entries of `room` after `floor`, up to the floor of `excerpt`.
    pub(super) fn extend(
        &self,
        room: &RoomName,
        excerpt: &Snapshot,
        frames: &[Arc<Frame>],
        floor: u64,
    ) {
        let mut inner = self.inner.lock();
        let share = CacheQuota::of(self.kept, inner.open.len());

        let Some(standing) = inner.open.get_mut(&token(room)) else {
            return;
        };

        if standing.tail.floor() == excerpt.floor {
            standing.tail.extend(frames, floor, share);
            // Some of them may have been deleted while they were read.
            for frame in frames.iter().filter(|frame| !frame.is_deleted()) {
                if standing.graves.at(frame.offset().0).is_some() {
                    standing.tail.erase(frame.offset().0);
                }
            }
        }
    }

    /// Processes message `sequence` of the stream with the subject `place`. `read` parses it and is called only if the
    /// room is open. Returns the change of the room, `None` if there is none.
    pub(super) fn take(
        &self,
        sequence: u64,
        place: Option<Place<'_>>,
        read: impl FnOnce() -> (StreamEntry, Bytes),
    ) -> Option<News> {
        let mut inner = self.inner.lock();
        if sequence > inner.position + 1 {
            inner.hole = sequence - 1;
        }
        inner.position = inner.position.max(sequence);

        let (hole, share) = (inner.hole, CacheQuota::of(self.kept, inner.open.len()));
        let (standing, offset, said, payload) = match place? {
            Place::Message(token) => {
                let standing = inner.open.get_mut(token)?;
                let Some(head) = standing.head else {
                    let (first, _) = standing.early.unwrap_or((sequence, sequence));
                    standing.early = Some((first, sequence));
                    return None;
                };
                if sequence <= head {
                    return None;
                }
                let (said, payload) = read();
                // The message may have been deleted in the meantime.
                let said = standing.graves.at(sequence).cloned().unwrap_or(said);
                (standing, sequence, said, payload)
            }
            Place::Grave(token, offset) => {
                let standing = inner.open.get_mut(token)?;
                let (tombstone, payload) = read();

                let at = tombstone.deleted()?;
                if !standing.graves.dig(offset, tombstone.clone()) {
                    return None;
                }

                if offset <= standing.head? {
                    standing.tail.erase(offset);
                    let what = What::Deleted {
                        offset: Offset(offset),
                        at,
                    };
                    return Some(News {
                        room: standing.name.clone(),
                        what,
                    });
                }
                // The message was removed from the stream before the consumer received it.
                (standing, offset, tombstone, payload)
            }
            Place::Order => return None,
        };

        let head = standing.head?;
        let prev = if hole > head.max(standing.opened_at) {
            hole.min(offset - 1)
        } else {
            head
        };

        let frame = said.into_frame(&payload, self.epoch.clone(), Offset(offset), Offset(prev));
        let frame = Arc::new(frame);
        standing.push(frame.clone(), share);

        Some(News {
            room: standing.name.clone(),
            what: What::Appended(frame),
        })
    }

    /// Returns the last number that the consumer has processed.
    pub(super) fn position(&self) -> u64 {
        self.inner.lock().position
    }

    /// Notifies tasks that wait for a number of the stream.
    pub(super) fn tell_position(&self) {
        self.reached.send_replace(self.position());
    }

    /// Returns a receiver of the position, which changes when the consumer advances.
    pub(super) fn reached(&self) -> watch::Receiver<u64> {
        self.reached.subscribe()
    }
}
