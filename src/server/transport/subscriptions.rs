//! The subscriptions of a connection, each with its position in the feed of a room or pattern, and the order in which
//! their messages are written: by offset, over all of them.
//!
//! A connection with one subscription shares the chunks of the fan-out pass with the other readers. A connection with
//! several merges the feeds: each pass that reaches it writes the pending messages of all its subscriptions, lowest offset
//! first. It reads up to [`Rooms::applied`](crate::server::hub::Rooms::applied): all messages up to that offset are in the
//! rings, so none can follow that should have been written before.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::protocol::{GapReason, Offset, RoomName};
use crate::server::hub::{Membership, Room, Source};
use crate::server::memory::Memory;
use crate::server::room::{
    Chunk, Dialect, ExcludedRooms, Format, MAX_CHUNK_BYTES, SignalChunk, Tick,
};
use crate::server::session::{Behind, CatchUpPage, LogCursor, LogReader, SendBuffer};

/// A connection's subscription to one room or pattern.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Subscription {
    pub(super) cursor: LogCursor,
    pub(super) source: Source,
    /// The number of the newest signal of the feed that was written, or that the client does not get.
    signal: u64,
    /// The number of closed rooms of the feed that the client knows of.
    closed_seen: u64,
    /// In a place of its own: each pass reads everything else of all subscriptions of a connection.
    membership: Box<Membership>,
}

/// The subscriptions of a connection, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
    /// The offset up to which the messages of all subscriptions were written, as far as a merged reader knows.
    written: Option<Offset>,
    /// The rooms whose messages are not delivered, although patterns match them: the client is banned there.
    excluded: ExcludedRooms,
}

/// A reader of all subscriptions of a connection, in the order of offsets.
pub(super) struct MergedReader<'a> {
    subscriptions: &'a mut [Subscription],
    excluded: &'a ExcludedRooms,
    /// The offset up to which messages are read.
    applied: Offset,
    /// See [`Subscriptions::written`].
    written: &'a mut Option<Offset>,
    chunk: Option<Chunk>,
    /// True if the chunk has all pending messages.
    is_chunk_complete: bool,
    /// The position in each subscription after the chunk.
    positions: Vec<Offset>,
}

impl Subscription {
    /// Creates a subscription that reads `source` from `cursor`, and the signals from now on.
    pub(super) fn new(source: Source, cursor: LogCursor, membership: Membership) -> Self {
        // The reader of a room learns that it is closed even if that was before.
        let closed_seen = match &source {
            Source::Room(room) => room.feed().forgotten_closed(),
            Source::Pattern(pattern) => pattern.feed().closed_count(),
        };

        Self {
            cursor,
            signal: source.feed().newest_signal(),
            source,
            closed_seen,
            membership: Box::new(membership),
        }
    }

    /// Ends the subscription of a client that leaves the room for good.
    pub(super) fn leave(self) {
        self.membership.leave();
    }

    /// Returns true if rooms were closed of which the client does not know.
    fn has_closed(&self) -> bool {
        self.source.feed().closed_count() > self.closed_seen
    }

    /// Returns the closed rooms of which the client does not know and all of whose messages are written, each with its last
    /// offset.
    fn take_closed(&mut self) -> Vec<(RoomName, Offset)> {
        if !self.has_closed() || self.cursor.is_behind() {
            return Vec::new();
        }

        let feed = self.source.feed();
        let closed = feed.closed_since(self.closed_seen, self.cursor.offset());
        self.closed_seen = self.closed_seen.max(feed.forgotten_closed()) + closed.len() as u64;
        closed
    }

    /// Returns the offset of the next message after `after`, at most `applied`, that is not of an `excluded` room, and
    /// false. If the ring has dropped it, returns the lowest offset that it can have, and true.
    fn next_offset(
        &self,
        after: Offset,
        applied: Offset,
        excluded: &ExcludedRooms,
    ) -> Option<(Offset, bool)> {
        let lowest = self.cursor.next().max(Offset(after.0 + 1));
        if self.cursor.is_behind() {
            return Some((lowest, true));
        }

        match self.source.feed().next_offset(after, excluded) {
            Ok(next) => Some((next.filter(|next| *next <= applied)?, false)),
            Err(_lagged) => Some((lowest, true)),
        }
    }
}

impl Subscriptions {
    /// Returns the number of subscriptions.
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the subscription, if there is exactly one.
    pub(super) const fn only(&self) -> Option<&Subscription> {
        match self.list.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns the subscription, if there is exactly one and the client gets all its messages: it may share the chunks of
    /// a fan-out pass.
    pub(super) const fn only_complete(&mut self) -> Option<&mut Subscription> {
        match self.list.as_mut_slice() {
            [only] if self.excluded.is_empty() => Some(only),
            _ => None,
        }
    }

    /// Returns the room, if there is exactly one subscription to a room by name. Patterns do not count.
    pub(super) fn only_room(&self) -> Option<&Arc<Room>> {
        let mut rooms = self.iter().filter_map(|one| one.source.room());
        match (rooms.next(), rooms.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// Returns an iterator over all subscriptions.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list.iter()
    }

    /// Returns the subscription to the room or pattern `name`.
    pub(super) fn find(&self, name: &str) -> Option<&Subscription> {
        self.iter()
            .find(|subscription| subscription.source.as_str() == name)
    }

    /// Returns the room `name`, if there is a subscription to it by name.
    pub(super) fn room(&self, name: &RoomName) -> Option<&Arc<Room>> {
        self.find(name.as_str())?.source.room()
    }

    /// Returns the index of the first subscription that delivers the messages of the room `name`, by name or by a pattern.
    pub(super) fn first_match(&self, name: &RoomName) -> Option<usize> {
        if self.excluded.contains(name) {
            return None;
        }
        self.iter()
            .position(|subscription| subscription.source.matches(name))
    }

    /// Returns true if signals wait to be written.
    pub(super) fn has_signals(&self) -> bool {
        self.iter()
            .any(|one| one.signal < one.source.feed().newest_signal())
    }

    /// Returns the next signals, and the index of their subscription; `None` if there are none.
    pub(super) fn next_signals(
        &mut self,
        dialect: Dialect,
        now: Tick,
    ) -> Option<(usize, SignalChunk)> {
        for index in 0..self.len() {
            let Subscription { source, signal, .. } = &self.list[index];
            if source.feed().newest_signal() <= *signal {
                continue;
            }

            // A room and a pattern that matches it have the same signal.
            let is_complete = self.len() == 1 && self.excluded.is_empty();
            let is_wanted = |room: &RoomName| is_complete || self.first_match(room) == Some(index);
            let chunk = source.feed().read_signals(*signal, dialect, now, is_wanted);
            if !chunk.bytes.is_empty() {
                return Some((index, chunk));
            }
            self.advance_signals(index, &chunk);
        }
        None
    }

    /// Moves the subscription with this index past `chunk`.
    pub(super) fn advance_signals(&mut self, index: usize, chunk: &SignalChunk) {
        let subscription = &mut self.list[index];
        subscription.signal = chunk.until;
        let feed = subscription.source.feed();
        feed.count_signals(chunk.signals, chunk.dropped);
    }

    /// Returns true if one of them is to a pattern.
    pub(super) fn has_patterns(&self) -> bool {
        self.iter().any(|one| one.source.room().is_none())
    }

    /// Returns the rooms whose messages are not delivered.
    pub(super) const fn excluded(&self) -> &ExcludedRooms {
        &self.excluded
    }

    /// Sets the rooms whose messages are not delivered. Returns those that are excluded from now on.
    pub(super) fn exclude(&mut self, excluded: ExcludedRooms) -> Vec<RoomName> {
        let before = std::mem::replace(&mut self.excluded, excluded);
        let added = self.excluded.iter().filter(|room| !before.contains(room));
        added.cloned().collect()
    }

    /// Adds `subscription`.
    pub(super) fn push(&mut self, subscription: Subscription) {
        self.written = None;
        // Most connections have one subscription.
        self.list.reserve_exact(1);
        self.list.push(subscription);
    }

    /// Removes the subscription to the room or pattern `name`. The membership ends when it is dropped.
    pub(super) fn remove(&mut self, name: &str) -> Option<Subscription> {
        let at = self
            .iter()
            .position(|subscription| subscription.source.as_str() == name)?;
        let removed = self.list.remove(at);
        self.list.shrink_to_fit();
        Some(removed)
    }

    /// Removes all subscriptions.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Returns the sources whose rings have dropped the next message, each with the position in it.
    pub(super) fn behind(&self) -> Vec<(Source, LogCursor)> {
        self.iter()
            .filter(|subscription| subscription.cursor.is_behind())
            .map(|subscription| (subscription.source.clone(), subscription.cursor))
            .collect()
    }

    /// Queues the messages of `pages` in `send_buffer`, in the order of their offsets over all rooms. Returns the reason
    /// of each gap in them. Messages that cannot be queued in that order yet are read again later.
    pub(super) fn on_caught_up(
        &mut self,
        send_buffer: &mut SendBuffer,
        pages: Vec<CatchUpPage>,
        applied: Offset,
    ) -> Vec<GapReason> {
        // A page is of no use if the subscription has ended or restarted since it was read.
        let index = |page: &CatchUpPage| {
            self.iter().position(|one| {
                one.source.as_str() == page.room.as_str()
                    && one.cursor.is_behind()
                    && one.cursor.offset() == page.after
            })
        };
        let pages: Vec<(usize, CatchUpPage)> = pages
            .into_iter()
            .filter_map(|page| Some((index(&page)?, page)))
            .collect();
        let until = self.watermark(&pages, applied);

        let mut gaps = Vec::new();
        let mut next: BinaryHeap<Reverse<(Offset, usize)>> = BinaryHeap::new();
        for (at, (index, page)) in pages.iter().enumerate() {
            let cursor = &mut self.list[*index].cursor;
            // Before any later message of the other rooms: a client that has one of them has the gap too.
            gaps.extend(send_buffer.begin_page(cursor, page));
            let first = page.frames.first();
            let start = first.map_or(page.upper_bound, |first| first.offset());
            cursor.expect(start);
            next.push(Reverse((start, at)));
        }

        while let Some(Reverse((offset, at))) = next.pop()
            && offset <= until
            && send_buffer.queued_bytes() < MAX_CHUNK_BYTES
        {
            let other = next.peek().map(|Reverse((next, _))| Offset(next.0 - 1));
            let end = other.map_or(until, |other| other.min(until)).max(offset);
            let (index, page) = &pages[at];
            let cursor = &mut self.list[*index].cursor;
            let before = cursor.offset();
            gaps.extend(send_buffer.continue_page(cursor, page, end));
            let after = cursor.offset();
            self.pass(*index, page, before, after);

            // Without progress, the rest of the page is read again later, or the connection closes.
            let mut offsets = page.frames.iter().map(|frame| frame.offset());
            let following = offsets.find(|offset| *offset > after);
            if let Some(following) = following.filter(|_| after >= offset) {
                self.list[*index].cursor.expect(following);
                next.push(Reverse((following, at)));
            }
        }

        // A pattern without pending messages is not read again until the others are there.
        for (index, page) in &pages {
            let cursor = &mut self.list[*index].cursor;
            if page.is_finished(cursor.offset()) {
                cursor.advance(page.upper_bound.max(cursor.offset()));
            }
        }
        gaps
    }

    /// Moves the other subscriptions past the messages of `page` after `before` up to `until`, which the subscription
    /// `index` has written: a room and a pattern that matches it have the same messages.
    fn pass(&mut self, index: usize, page: &CatchUpPage, before: Offset, until: Offset) {
        if !may_overlap(&self.list) {
            return;
        }

        let written = page
            .frames
            .iter()
            .filter(|frame| before < frame.offset() && frame.offset() <= until);
        for frame in written {
            let others = self.list.iter_mut().enumerate();
            for (_, other) in others.filter(|(of, _)| *of != index) {
                if other.source.matches(frame.room()) && other.cursor.offset() < frame.offset() {
                    other.cursor.advance(frame.offset());
                }
            }
        }
    }

    /// Returns the watermark: the offset up to which `pages`, each with the index of its subscription, and the rings have
    /// all messages of all rooms.
    fn watermark(&self, pages: &[(usize, CatchUpPage)], applied: Offset) -> Offset {
        // The messages of a single subscription are in order already.
        if self.len() == 1 {
            return Offset(u64::MAX);
        }

        let ends = self.iter().enumerate().map(|(index, subscription)| {
            let page = pages.iter().find(|(of, _)| *of == index);
            // An earlier page may have shown that there are no messages up to here.
            let expected = Offset(subscription.cursor.next().0 - 1);
            let read = match page.map(|(_, page)| page) {
                Some(page) if page.more => return Some(page.end()),
                Some(page) => page.end(),
                None if subscription.cursor.is_behind() => return Some(expected),
                None => subscription.cursor.offset(),
            };
            let feed = subscription.source.feed();
            match feed.next_offset(read, &self.excluded) {
                Ok(next) => next.map(|next| Offset(next.0 - 1)),
                Err(_lagged) => Some(read.max(expected)),
            }
        });
        ends.flatten().fold(applied, Offset::min)
    }

    /// Returns the newest offset that was written, at least in part.
    pub(super) fn newest_written(&self) -> Offset {
        let offsets = self.iter().map(|subscription| subscription.cursor.offset());
        offsets.max().unwrap_or_default()
    }

    /// Returns true if rooms were closed of which the client does not know.
    pub(super) fn have_closed(&self) -> bool {
        self.iter().any(Subscription::has_closed)
    }

    /// Returns the closed rooms of which the client does not know and all of whose messages are written, each with its last
    /// offset.
    pub(super) fn take_closed(&mut self) -> Vec<(RoomName, Offset)> {
        let closed = self.list.iter_mut().flat_map(Subscription::take_closed);
        closed
            .filter(|(room, _)| !self.excluded.contains(room))
            .collect()
    }

    /// Returns true if there will be no more messages: all subscriptions are to closed rooms, and the client knows that.
    pub(super) fn are_at_end(&self) -> bool {
        self.iter().all(|one| {
            let is_closed = one.source.room().is_some_and(|room| room.is_closed());
            is_closed && !one.has_closed()
        })
    }

    /// Returns a reader of all subscriptions up to `applied`.
    pub(super) fn merged(&mut self, applied: Offset) -> MergedReader<'_> {
        MergedReader {
            subscriptions: &mut self.list,
            excluded: &self.excluded,
            applied,
            written: &mut self.written,
            chunk: None,
            is_chunk_complete: false,
            positions: Vec::new(),
        }
    }
}

impl MergedReader<'_> {
    /// Records that all subscriptions whose rings have dropped the next message must be read from the store. They are read
    /// together, because the messages of one are only written up to the next message of every other one.
    fn fall_behind(&mut self) {
        for subscription in &mut *self.subscriptions {
            let after = subscription.cursor.offset();
            let next = subscription.next_offset(after, self.applied, self.excluded);
            if next.is_some_and(|(_, is_lost)| is_lost) {
                subscription.cursor.fall_behind();
            }
        }
    }

    /// Moves past the messages of excluded rooms, after which there are no others.
    fn skip_excluded(&mut self) {
        if self.excluded.is_empty() {
            return;
        }
        for Subscription { cursor, source, .. } in &mut *self.subscriptions {
            let head = source.feed().head().min(self.applied);
            cursor.advance(head.max(cursor.offset()));
        }
    }
}

impl LogReader for MergedReader<'_> {
    fn next(&mut self, format: Format) -> Result<Option<&Chunk>, Behind> {
        // Most calls come after the one that has written everything.
        if *self.written == Some(self.applied) {
            return Ok(None);
        }

        // The next message of each subscription that has one, lowest offset first, and those in a ring first.
        let mut pending = BinaryHeap::new();
        for (index, subscription) in self.subscriptions.iter().enumerate() {
            let after = subscription.cursor.offset();
            let next = subscription.next_offset(after, self.applied, self.excluded);
            if let Some((next, is_lost)) = next {
                pending.push(Reverse((next, is_lost, index)));
            }
        }
        if pending.is_empty() {
            self.skip_excluded();
            *self.written = Some(self.applied);
            return Ok(None);
        }

        let cursors = self.subscriptions.iter().map(|one| one.cursor.offset());
        self.positions = cursors.collect();
        let mut parts: Vec<Chunk> = Vec::new();
        let mut bytes = 0;

        while bytes < MAX_CHUNK_BYTES {
            let Some(Reverse((next, is_lost, index))) = pending.pop() else {
                self.is_chunk_complete = true;
                break;
            };

            let after = self.positions[index];
            if next > after {
                if is_lost {
                    // What precedes it is written first.
                    if parts.is_empty() {
                        self.fall_behind();
                        return Err(Behind);
                    }
                    break;
                }

                let other = pending.peek().map(|Reverse((next, ..))| Offset(next.0 - 1));
                let until = other.unwrap_or(self.applied).max(next);
                let feed = self.subscriptions[index].source.feed();
                let read =
                    feed.read_with_room(after, until, format, MAX_CHUNK_BYTES, self.excluded);
                let Ok(Some((chunk, room))) = read else {
                    // The ring has dropped it since.
                    break;
                };
                bytes += chunk.bytes.len();
                self.pass(index, chunk.until, &room);
                parts.push(chunk);
            }

            let subscription = &self.subscriptions[index];
            let after = self.positions[index];
            let next = subscription.next_offset(after, self.applied, self.excluded);
            if let Some((next, is_lost)) = next {
                pending.push(Reverse((next, is_lost, index)));
            }
        }

        self.chunk = concat(parts);
        Ok(self.chunk.as_ref())
    }

    fn advance(&mut self, _until: Offset, messages: usize, bytes: usize) {
        for (subscription, position) in self.subscriptions.iter_mut().zip(&self.positions) {
            subscription.cursor.advance(*position);
        }
        if self.is_chunk_complete {
            *self.written = Some(self.applied);
        }
        // All feeds share the same counters.
        if let Some(first) = self.subscriptions.first() {
            first.source.feed().count_delivery(messages, bytes);
        }
    }
}

impl MergedReader<'_> {
    /// Moves the subscription `index` to `written`, the newest message of its chunk, which is of `room`, and also those that
    /// have this message too: a room and a pattern that matches it. Earlier messages of the chunk precede those of all others.
    fn pass(&mut self, index: usize, written: Offset, room: &RoomName) {
        self.positions[index] = written;
        if !may_overlap(self.subscriptions) {
            return;
        }

        for (other, position) in self.subscriptions.iter().zip(&mut self.positions) {
            if *position < written && other.source.matches(room) {
                *position = written;
            }
        }
    }
}

/// Returns true if two of `subscriptions` may have the same messages.
fn may_overlap(subscriptions: &[Subscription]) -> bool {
    subscriptions.len() > 1 && subscriptions.iter().any(|one| one.source.room().is_none())
}

/// Concatenates `parts`.
fn concat(mut parts: Vec<Chunk>) -> Option<Chunk> {
    if parts.len() < 2 {
        return parts.pop();
    }

    let last = parts.last()?;
    let until = last.until;
    let messages = parts.iter().map(|part| part.messages).sum();
    let mut bytes = BytesMut::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
    for part in &parts {
        bytes.extend_from_slice(&part.bytes);
    }

    let bytes: Bytes = Memory::of_process().track(bytes.freeze(), 0);
    Some(Chunk {
        until,
        messages,
        bytes,
    })
}
