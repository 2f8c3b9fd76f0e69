//! Where each open room stands on this node.
//!
//! # Invariants
//!
//! - A room's head is what its newest message said, or what NATS said when the room was opened and the feed stood
//!   at `opened_at`; so what the feed brings after that, and only that, is new.
//! - Where the feed was not given numbers of the stream (they left it before they came), the next message of each
//!   room that was open says so by its `prev`: the newest number that may be missing.

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

/// How long it is believed which message is the oldest: nobody tells when one leaves the stream.
const BELIEVED: Duration = Duration::from_secs(1);

/// See the [module docs](self).
pub(super) struct RoomStates {
    epoch: Epoch,
    /// Messages kept of each room, at most.
    kept: usize,
    inner: Mutex<RoomStatesInner>,
    /// The last number of the stream that the feed has taken, for those who wait for one.
    reached: watch::Sender<u64>,
}

struct RoomStatesInner {
    /// By their tokens.
    open: HashMap<String, RoomPosition>,
    /// The last number of the stream that the feed has taken.
    position: u64,
    /// The newest number that the feed was not given.
    hole: u64,
}

/// A room that is being opened: the feed follows it while this lives. Dropping it forgets the room, unless
/// [`Opening::keep`] was called or another one lives; so a request that fails or is aborted leaves nothing.
pub(super) struct Opening {
    rooms: Arc<RoomStates>,
    token: String,
    /// Lets one request at a time ask NATS about the room.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

/// The state of a room before NATS is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Set if nothing needs to be asked.
    pub(super) is_fresh: bool,
    /// The newest offset, if that is known.
    pub(super) head: Option<u64>,
}

impl Opening {
    /// Returns the state of the room as it is now.
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

/// The oldest message of a room, as NATS says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    /// Its offset.
    pub(super) first: u64,
    /// The last offset that may be gone.
    pub(super) gone: u64,
}

/// What is news on this node.
pub(super) struct News {
    pub(super) room: RoomName,
    pub(super) what: What,
}

impl News {
    /// The entry that was appended, if one was.
    pub(super) const fn appended(&self) -> Option<&Arc<Frame>> {
        match &self.what {
            What::Appended(frame) => Some(frame),
            What::Deleted { .. } => None,
        }
    }

    /// Whether `next`, which comes behind it in the same room, can be told in one go with it.
    pub(super) const fn is_like(&self, next: &Self) -> bool {
        self.appended().is_some() && next.appended().is_some()
    }
}

/// What happened in its room.
pub(super) enum What {
    /// This was appended.
    Appended(Arc<Frame>),
    /// What was said there is gone since `at`, in milliseconds since 1970 UTC.
    Deleted { offset: Offset, at: u64 },
}

impl RoomStatesInner {
    /// Forgets the room with `token` if it is neither kept nor being opened.
    fn forget_if_unused(&mut self, token: &str) {
        let is_unused = |room: &RoomPosition| room.openings == 0 && !room.is_kept;
        if self.open.get(token).is_some_and(is_unused) {
            self.open.remove(token);
        }
    }
}

impl RoomStates {
    /// None, of a stream whose feed begins after `position`, and of whose rooms `kept` messages are kept.
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

    /// Returns how many rooms this node follows.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.lock().open.len()
    }

    /// Starts to follow `room` in the feed.
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

    /// NATS said that `room` stands at `head`, and which message is its oldest: none if nothing is kept.
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
                // Meanwhile a message has come: that one is.
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

    /// NATS said which tombstones `room` has. The newest of them all.
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

    /// The oldest tombstone of `room` that is kept before `eldest`, and what is gone before it, if the room's newest
    /// offset is `head` and the stream holds `messages` of it.
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

    /// What `look` sees of the tombstones of `room`; nothing if it is not open.
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

    /// Returns the newest offset of `room` if something is kept there.
    pub(super) fn newest_kept(&self, room: &RoomName) -> Option<Offset> {
        let inner = self.inner.lock();
        let room = inner.open.get(&token(room))?;
        room.head.filter(|_| room.first > 0).map(Offset)
    }

    /// Whether the stream may hold nothing of `room`.
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

    /// Records that this node has stored the first message of `room` at `sequence`, before the feed brings it.
    pub(super) fn began(&self, room: &RoomName, sequence: u64) {
        if let Some(room) = self.inner.lock().open.get_mut(&token(room)) {
            room.began = sequence;
        }
    }

    /// Forgets `room`, at the latest when the last [`Opening`] of it ends.
    pub(super) fn release(&self, room: &RoomName) {
        let mut inner = self.inner.lock();
        let token = token(room);
        if let Some(room) = inner.open.get_mut(&token) {
            room.is_kept = false;
            inner.forget_if_unused(&token);
        }
    }

    /// Where `room` stands, if it is open.
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

    /// The newest messages of `room`, if it is open.
    pub(super) fn excerpt(&self, room: &RoomName) -> Option<Snapshot> {
        let inner = self.inner.lock();
        let standing = inner
            .open
            .get(&token(room))
            .filter(|standing| standing.head.is_some())?;
        Some(standing.tail.excerpt(standing.first))
    }

    /// When what stands at `offset` of `room` was said, in milliseconds since 1970 UTC, if that is at hand.
    pub(super) fn said_at(&self, room: &RoomName, offset: u64) -> Option<u64> {
        let inner = self.inner.lock();
        let standing = inner.open.get(&token(room))?;
        let kept = standing.tail.at(offset).map(|frame| frame.at());
        kept.or_else(|| standing.graves.at(offset).map(StreamEntry::at))
    }

    /// `frames` of `room`, all after `floor` and up to the floor that `excerpt` had, were read.
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
            // What was deleted while they were read.
            for frame in frames.iter().filter(|frame| !frame.is_deleted()) {
                if standing.graves.at(frame.offset().0).is_some() {
                    standing.tail.erase(frame.offset().0);
                }
            }
        }
    }

    /// The feed brings number `sequence` of the stream, which has its place in a room or none; `read` reads it, if its
    /// room is open. What is news of it.
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
                // It may have been deleted since.
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
                // It was gone before it came here.
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

    /// The last number that the feed has taken.
    pub(super) fn position(&self) -> u64 {
        self.inner.lock().position
    }

    /// Tells those who wait for a number how far the feed is.
    pub(super) fn tell_position(&self) {
        self.reached.send_replace(self.position());
    }

    /// Changes when the feed gets on.
    pub(super) fn reached(&self) -> watch::Receiver<u64> {
        self.reached.subscribe()
    }
}
