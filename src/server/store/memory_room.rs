//! A room of the store in memory: its messages, their keys, and the numbers of its trimmed messages.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::protocol::{Epoch, Offset, RoomName};
use crate::server::room::{DedupEntry, DedupLimits, DedupWindow, Draft, Frame};
use crate::server::store::clock::now_millis;
use crate::server::store::lifecycle::ProducerState;
use crate::server::store::room_limits::RoomLimits;
use crate::server::store::trimmed_run::{self, MAX_REMEMBERED, TrimmedRun};
use crate::server::store::{Deleted, Lifecycle, Limit, Page, Span, Stored};

/// The log of one room.
#[derive(Debug)]
pub(super) struct MemoryRoom {
    /// The offset after which the room's offsets begin: an earlier room of the same name may have used those up to it.
    base: Offset,
    /// The newest trimmed offset; `base` if there is none.
    pub(super) gone: Offset,
    /// The newest offset; `base` if there is none.
    pub(super) head: Offset,
    /// The number of trimmed messages.
    pub(super) trimmed: u64,
    /// The remembered runs of trimmed messages.
    runs: VecDeque<TrimmedRun>,
    /// The messages, each with the time of the store's clock.
    pub(super) frames: VecDeque<(Arc<Frame>, u64)>,
    bytes: usize,
    /// The time at which the newest message was stored, by the store's clock.
    written: u64,
    keys: DedupWindow,
    pub(super) limits: RoomLimits,
    pub(super) lifecycle: Lifecycle,
    /// The newest append of each producer.
    pub(super) producers: HashMap<String, ProducerState>,
    /// True if the room was deleted, so that this log is no longer used.
    pub(super) is_deleted: bool,
}

impl MemoryRoom {
    /// Creates a room without messages whose offsets begin after `base`.
    pub(super) fn new(base: Offset, limits: RoomLimits, keys: DedupLimits) -> Self {
        Self {
            base,
            gone: base,
            head: base,
            trimmed: 0,
            runs: VecDeque::new(),
            frames: VecDeque::new(),
            bytes: 0,
            written: 0,
            keys: DedupWindow::new(keys),
            limits,
            lifecycle: Lifecycle::default(),
            producers: HashMap::new(),
            is_deleted: false,
        }
    }

    /// Returns the number of messages, trimmed ones included.
    pub(super) fn count(&self) -> u64 {
        self.trimmed + self.frames.len() as u64
    }

    /// Returns true if the room has, or had, messages, or was created.
    pub(super) fn is_known(&self) -> bool {
        self.count() > 0 || self.has_settings()
    }

    /// Returns true if the room was created, or has an expiry of its own.
    pub(super) const fn has_settings(&self) -> bool {
        self.lifecycle.settings.is_some()
    }

    /// Returns the time of the last read or write, by the store's clock.
    pub(super) fn used(&self) -> u64 {
        self.written.max(self.lifecycle.used)
    }

    /// Returns true if the room has expired at `now`, by the store's clock.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.is_known() && self.limits.is_expired(self.used(), now, now_millis())
    }

    /// Stores `draft` in `room` after `newest`, the newest offset of all rooms, unless it is a duplicate.
    pub(super) fn store(
        &mut self,
        room: &RoomName,
        draft: Draft,
        epoch: &Epoch,
        newest: &mut u64,
        at: u64,
        now: u64,
    ) -> Stored {
        if let Some(key) = draft.key()
            && let Some((offset, at)) = self.keys.find(draft.from(), key)
        {
            return Stored::Duplicate { offset, at };
        }

        let number = self.count() + 1;
        let prev = if number == 1 { Offset(0) } else { self.head };
        *newest += 1;
        self.head = Offset(*newest);
        if let Some(key) = draft.key().cloned() {
            let from = draft.from().clone();
            self.keys.insert(DedupEntry {
                from,
                key,
                number,
                offset: self.head,
                at,
                clock: now,
            });
        }

        let frame =
            Frame::new(room.clone(), draft, epoch.clone(), self.head, prev, at).numbered(number);
        let frame = Arc::new(frame);
        self.bytes += frame.size();
        self.written = now;
        self.frames.push_back((frame.clone(), now));
        Stored::New(frame)
    }

    pub(super) fn delete(&mut self, offset: Offset) -> Deleted {
        let Ok(at) = self
            .frames
            .binary_search_by_key(&offset, |(frame, _)| frame.offset())
        else {
            return Deleted::NotKept;
        };

        let frame = &mut self.frames[at].0;
        if frame.is_deleted() {
            return Deleted::Before;
        }

        let tombstone = Arc::new(frame.tombstone());
        self.bytes += tombstone.size();
        self.bytes -= frame.size();
        *frame = tombstone;
        Deleted::Now
    }

    /// Drops messages and keys that are past the limits.
    pub(super) fn trim(&mut self, now: u64) {
        self.keys.expire(self.count(), now);
        let limits = self.limits;
        self.trim_to(&limits, now);
    }

    /// Drops messages that are past `limits`.
    pub(super) fn trim_to(&mut self, limits: &RoomLimits, now: u64) {
        while let Some((oldest, stored)) = self.frames.front() {
            let (messages, bytes) = (self.frames.len() as u64, self.bytes as u64);
            if !limits.is_exceeded(messages, bytes, *stored, now) {
                return;
            }
            let (offset, number) = (oldest.offset().0, oldest.number());
            self.bytes -= oldest.size();
            self.frames.pop_front();

            if number == 1 || offset != self.gone.0 + 1 {
                self.runs.push_back(TrimmedRun { offset, number });
            }
            (self.gone, self.trimmed) = (Offset(offset), number);
            let is_forgotten = |run: &TrimmedRun| run.number + MAX_REMEMBERED <= number;
            if self.runs.get(1).is_some_and(is_forgotten) {
                self.runs.pop_front();
            }
        }
    }

    /// Returns the number of messages up to `offset`, trimmed ones included; `None` if it is unknown.
    pub(super) fn count_until(&self, offset: Offset) -> Option<u64> {
        if offset >= self.gone {
            let kept = self
                .frames
                .partition_point(|(frame, _)| frame.offset() <= offset);
            return Some(self.trimmed + kept as u64);
        }
        if offset < self.base {
            return None;
        }

        let next = self.runs.partition_point(|run| run.offset <= offset.0);
        let run = next.checked_sub(1).map(|index| self.runs[index]);
        let next = self.runs.get(next).map(|run| run.number);
        trimmed_run::count_until(offset.0, run, next, self.trimmed)
    }

    /// Returns the number of messages after `after` up to `until`; `None` if it is unknown.
    pub(super) fn count_between(&self, after: Offset, until: Offset) -> Option<u64> {
        let (before, all) = (self.count_until(after)?, self.count_until(until)?);
        Some(all.saturating_sub(before))
    }

    /// Returns the oldest offset kept; 0 if nothing is kept.
    pub(super) fn first(&self) -> Offset {
        self.frames
            .front()
            .map_or(Offset(0), |(frame, _)| frame.offset())
    }

    pub(super) fn page(&self, span: Span, limit: Limit) -> Page {
        let place = |offset: Offset| {
            self.frames
                .partition_point(|(frame, _)| frame.offset() <= offset)
        };
        let (start, end) = match span {
            Span::After(after) => (place(after), self.frames.len()),
            Span::Before(before) => (0, place(Offset(before.0.saturating_sub(1)))),
            Span::Newest => (0, self.frames.len()),
        };
        let due = self.frames.range(start..end).map(|(frame, _)| frame);
        let page = if matches!(span, Span::After(_)) {
            Page::oldest(due, limit)
        } else {
            Page::newest(due.rev(), limit)
        };

        Page {
            gone: Some(self.gone),
            ..page
        }
    }
}
