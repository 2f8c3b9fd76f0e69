//! Where each open room stands on this node.
//!
//! # Invariants
//!
//! - A room's head is what its newest message said, or what NATS said when the room was opened and the feed stood
//!   at `opened_at`; so what the feed brings after that, and only that, is new.
//! - Where the feed was not given numbers of the stream (they left it before they came), the next message of each
//!   room that was open says so by its `prev`: the newest number that may be missing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::subject::token;
use super::tail::{Excerpt, Tail};
use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Frame;
use crate::server::store::Bounds;

/// How long it is believed which message is the oldest: nobody tells when one leaves the stream.
const BELIEVED: Duration = Duration::from_secs(1);

/// See the [module docs](self).
pub(super) struct Rooms {
    epoch: Epoch,
    /// Messages kept of each room, at most.
    kept: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    /// By their tokens.
    open: HashMap<String, Standing>,
    /// The last number of the stream that the feed has taken.
    position: u64,
    /// The newest number that the feed was not given.
    hole: u64,
}

/// One open room.
struct Standing {
    name: RoomName,
    /// `None` until NATS has said.
    head: Option<u64>,
    /// The first and the last that the feed brought before that.
    early: Option<(u64, u64)>,
    opened_at: u64,
    /// The oldest offset kept; 0 when nothing is.
    first: u64,
    /// Everything after this is kept.
    gone: u64,
    /// When NATS said which is the oldest.
    asked: Option<Instant>,
    tail: Tail,
    /// Held by whoever asks NATS about the room.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of a room before NATS is asked.
pub(super) struct Opening {
    /// Whether it is enough.
    pub(super) is_known: bool,
    /// Its head, if that is known.
    pub(super) head: Option<u64>,
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

/// The oldest message of a room, as NATS says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    /// Its offset.
    pub(super) first: u64,
    /// The last offset that may be gone.
    pub(super) gone: u64,
}

/// A message that is news on this node.
pub(super) struct News {
    pub(super) room: RoomName,
    pub(super) frame: Arc<Frame>,
}

impl Rooms {
    /// None, of a stream whose feed begins after `position`, and of whose rooms `kept` messages are kept.
    pub(super) fn new(epoch: Epoch, kept: usize, position: u64) -> Self {
        let inner = Inner { open: HashMap::new(), position, hole: 0 };
        Self { epoch, kept, inner: Mutex::new(inner) }
    }

    /// From now on what the feed brings of `room` is noticed.
    pub(super) fn begin(&self, room: &RoomName) -> Opening {
        let mut inner = self.lock();
        let position = inner.position;
        let standing = inner.open.entry(token(room)).or_insert_with(|| Standing::new(room.clone(), position));
        Opening {
            is_known: standing.asked.is_some_and(|asked| asked.elapsed() < BELIEVED),
            head: standing.head,
            turn: standing.turn.clone(),
        }
    }

    /// NATS said that `room` stands at `head`, and which message is its oldest: none if nothing is kept.
    pub(super) fn learn(&self, room: &RoomName, head: u64, oldest: Option<Oldest>) {
        let mut inner = self.lock();
        let Some(standing) = inner.open.get_mut(&token(room)) else { return };
        standing.asked = Some(Instant::now());
        if let Some(known) = standing.head {
            match oldest {
                Some(Oldest { first, gone }) => (standing.first, standing.gone) = (first, gone),
                None if known == head => standing.first = 0,
                // Meanwhile a message has come: that one is.
                None => return,
            }
        } else {
            let oldest = oldest.or(standing.early.map(|(first, _)| Oldest { first, gone: head }));
            let Oldest { first, gone } = oldest.unwrap_or(Oldest { first: 0, gone: head });
            let head = head.max(first).max(standing.early.map_or(0, |(_, last)| last));
            (standing.first, standing.gone, standing.head) = (first, gone, Some(head));
            standing.tail = Tail::new(head);
        }
        let first = if standing.first == 0 { u64::MAX } else { standing.first };
        standing.tail.trim(first);
    }

    /// Nobody asks for `room` any more.
    pub(super) fn release(&self, room: &RoomName) {
        self.lock().open.remove(&token(room));
    }

    /// Where `room` stands, if it is open.
    pub(super) fn bounds(&self, room: &RoomName) -> Option<Bounds> {
        let inner = self.lock();
        let standing = inner.open.get(&token(room))?;
        let head = standing.head?;
        let gone = if standing.first == 0 { head } else { standing.gone };
        let (first, head, gone) = (Offset(standing.first), Offset(head), Offset(gone));
        Some(Bounds { epoch: self.epoch.clone(), first, head, gone, is_dense: false })
    }

    /// The newest messages of `room`, if it is open.
    pub(super) fn excerpt(&self, room: &RoomName) -> Option<Excerpt> {
        let inner = self.lock();
        let standing = inner.open.get(&token(room)).filter(|standing| standing.head.is_some())?;
        Some(standing.tail.excerpt(standing.first))
    }

    /// What stands at `offset` of `room`, if it is at hand.
    pub(super) fn at(&self, room: &RoomName, offset: u64) -> Option<Arc<Frame>> {
        self.lock().open.get(&token(room))?.tail.at(offset).cloned()
    }

    /// `frames` of `room`, all after `floor` and up to the floor that `excerpt` had, were read.
    pub(super) fn extend(&self, room: &RoomName, excerpt: &Excerpt, frames: &[Arc<Frame>], floor: u64) {
        let mut inner = self.lock();
        let Some(standing) = inner.open.get_mut(&token(room)) else { return };
        if standing.tail.floor() == excerpt.floor {
            standing.tail.extend(frames, floor, self.kept);
        }
    }

    /// The feed brings number `sequence` of the stream, of the room with `token`; `read` reads it, if its room is
    /// open. What is news of it.
    pub(super) fn take(
        &self,
        sequence: u64,
        token: Option<&str>,
        read: impl FnOnce() -> (Entry, bytes::Bytes),
    ) -> Option<News> {
        let mut inner = self.lock();
        if sequence > inner.position + 1 {
            inner.hole = sequence - 1;
        }
        inner.position = inner.position.max(sequence);
        let hole = inner.hole;
        let standing = inner.open.get_mut(token?)?;
        let Some(head) = standing.head else {
            let (first, _) = standing.early.unwrap_or((sequence, sequence));
            standing.early = Some((first, sequence));
            return None;
        };
        if sequence <= head {
            return None;
        }
        let prev = if hole > head.max(standing.opened_at) { hole } else { head };
        let (entry, payload) = read();
        let frame = entry.into_frame(&payload, self.epoch.clone(), Offset(sequence), Offset(prev));
        let frame = Arc::new(frame);
        standing.push(frame.clone(), self.kept);
        Some(News { room: standing.name.clone(), frame })
    }

    /// The last number that the feed has taken.
    pub(super) fn position(&self) -> u64 {
        self.lock().position
    }

    /// What this lock guards is consistent between statements, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn new(name: RoomName, opened_at: u64) -> Self {
        Self {
            name,
            head: None,
            early: None,
            opened_at,
            first: 0,
            gone: 0,
            asked: None,
            tail: Tail::new(0),
            turn: Arc::default(),
        }
    }

    fn push(&mut self, frame: Arc<Frame>, kept: usize) {
        self.head = Some(frame.offset().0);
        if self.first == 0 {
            (self.first, self.gone) = (frame.offset().0, frame.prev().0);
        }
        self.tail.push(frame, kept);
        if let Some(oldest) = self.tail.oldest_of(kept)
            && oldest.offset().0 > self.first
        {
            (self.first, self.gone) = (oldest.offset().0, self.tail.floor());
        }
    }
}
