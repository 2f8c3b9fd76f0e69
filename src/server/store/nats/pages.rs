//! Reading what the tail does not hold: one message after the other by the leader of the stream, several lanes at
//! once.
//!
//! NATS has no question like "the last hundred of this subject". So a stretch of the stream is chosen that ought to
//! hold as many, and made longer or shorter by what was found. Only the leader is asked: another replica may not
//! have the newest yet, and would say that there is nothing. No consumer is made for it: they cost a cluster more
//! than many questions (nats-server issue 6046).

use std::sync::Arc;

use async_nats::jetstream::message::StreamMessage;
use futures::future::try_join_all;
use tokio::sync::Semaphore;

use super::NatsError;
use super::entry::Entry;
use super::rooms::{Oldest, Rooms};
use super::stream::Rolls;
use super::tail::Excerpt;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Frame;
use crate::server::store::{Limit, Page, Span};

/// Questions that one reader has on their way at once.
const LANES: u64 = 16;
/// Readers that ask at once; others wait.
const READERS: usize = 8;
/// How much longer a stretch may be than the one before it.
const GROWTH: u64 = 16;

/// See the [module docs](self).
pub(super) struct Pages {
    rolls: Arc<Rolls>,
    rooms: Arc<Rooms>,
    readers: Semaphore,
}

/// What was read, in order.
struct Found {
    messages: Vec<StreamMessage>,
    /// The one before the first of them; `None` if the first is the oldest that is kept.
    before: Option<u64>,
    /// Whether there is nothing between the last of them and the floor of the tail.
    is_to_the_floor: bool,
}

impl Pages {
    pub(super) fn new(rolls: Arc<Rolls>, rooms: Arc<Rooms>) -> Self {
        Self { rolls, rooms, readers: Semaphore::new(READERS) }
    }

    /// The page of `span` of `room`, which is open.
    pub(super) async fn page(&self, room: &RoomName, span: Span, limit: Limit) -> Result<Page, NatsError> {
        let excerpt = || self.rooms.excerpt(room).ok_or(NatsError::NotOpen);
        if let Some(page) = excerpt()?.page(span, limit) {
            return Ok(page);
        }
        // One at a time in a room: the next one finds what this one has read.
        let turn = self.rooms.begin(room).turn;
        let _turn = turn.lock().await;
        let excerpt = excerpt()?;
        if let Some(page) = excerpt.page(span, limit) {
            return Ok(page);
        }
        let _reader = self.readers.acquire().await;
        let most = limit.messages;
        let found = match span {
            Span::After(after) => self.after(room, after.0, &excerpt, most).await?,
            Span::Before(before) => {
                self.until(room, before.0.saturating_sub(1).min(excerpt.floor), &excerpt, most).await?
            }
            Span::Newest => self.until(room, excerpt.floor, &excerpt, most).await?,
        };
        Ok(self.page_of(room, span, limit, excerpt, found))
    }

    /// The oldest message of `room`, if any is kept.
    pub(super) async fn oldest(&self, room: &RoomName) -> Result<Option<Oldest>, NatsError> {
        let oldest = self.rolls.next(room, 1).await?;
        Ok(oldest.map(|oldest| Oldest { first: oldest.sequence, gone: before_oldest(&oldest) }))
    }

    fn page_of(&self, room: &RoomName, span: Span, limit: Limit, excerpt: Excerpt, found: Found) -> Page {
        let Found { messages, before, is_to_the_floor } = found;
        let has_older = before.is_some();
        let floor = before.or(messages.first().map(before_oldest)).unwrap_or_default();
        let mut prev = floor;
        let mut frames = Vec::with_capacity(messages.len());
        for message in messages {
            let sequence = message.sequence;
            frames.push(Arc::new(self.frame(message, prev)));
            prev = sequence;
        }
        if is_to_the_floor {
            self.rooms.extend(room, &excerpt, &frames, floor);
            frames.extend(excerpt.frames);
        }
        let end = match span {
            Span::After(_) => {
                let page = Page::oldest(frames.iter(), limit);
                return Page { more: page.more || !is_to_the_floor, ..page };
            }
            Span::Before(before) => frames.partition_point(|frame| frame.offset() < before),
            Span::Newest => frames.len(),
        };
        let page = Page::newest(frames[..end].iter().rev(), limit);
        Page { more: page.more || has_older, ..page }
    }

    fn frame(&self, message: StreamMessage, prev: u64) -> Frame {
        let time = (message.time.unix_timestamp_nanos() / 1_000_000) as u64;
        let entry = Entry::read(Some(&message.headers), &message.payload, time);
        entry.into_frame(&message.payload, self.rolls.epoch.clone(), Offset(message.sequence), Offset(prev))
    }

    /// At most `most` after `after`, the oldest of them.
    async fn after(
        &self,
        room: &RoomName,
        after: u64,
        excerpt: &Excerpt,
        most: usize,
    ) -> Result<Found, NatsError> {
        // That one too: if it is there, it is the one before the first.
        let mut messages = self.forward(room, after.max(1), excerpt.floor, most + 2).await?;
        let first = messages.first().map(|message| message.sequence);
        let before = if after > 0 && first == Some(after) {
            messages.remove(0);
            Some(after)
        } else if first.is_none_or(|first| first <= excerpt.first) {
            None
        } else {
            let until = first.unwrap_or_default() - 1;
            self.backward(room, excerpt.first, until, 1).await?.first().map(|message| message.sequence)
        };
        let is_to_the_floor = messages.len() <= most;
        messages.truncate(most);
        let before = before.or_else(|| messages.is_empty().then_some(after));
        Ok(Found { messages, before, is_to_the_floor })
    }

    /// At most `most` up to `until`, the newest of them.
    async fn until(
        &self,
        room: &RoomName,
        until: u64,
        excerpt: &Excerpt,
        most: usize,
    ) -> Result<Found, NatsError> {
        let mut messages = self.backward(room, excerpt.first, until, most + 1).await?;
        let before = (messages.len() > most).then(|| messages.remove(0).sequence);
        Ok(Found { messages, before, is_to_the_floor: until == excerpt.floor })
    }

    /// The oldest messages from `from` to `until`, at least `most` if there are as many.
    async fn forward(
        &self,
        room: &RoomName,
        mut from: u64,
        until: u64,
        most: usize,
    ) -> Result<Vec<StreamMessage>, NatsError> {
        let (mut found, mut width) = (Vec::new(), most as u64);
        while from <= until && found.len() < most {
            let end = until.min(from.saturating_add(width - 1));
            let (some, next) = self.stretch(room, from, end).await?;
            width = wider(width, some.len(), most - found.len());
            found.extend(some);
            let Some(next) = next else { break };
            from = next;
        }
        found.truncate(most);
        Ok(found)
    }

    /// The newest messages from `first` to `until`, `most` if there are as many.
    async fn backward(
        &self,
        room: &RoomName,
        first: u64,
        until: u64,
        most: usize,
    ) -> Result<Vec<StreamMessage>, NatsError> {
        let (mut found, mut width, mut end) = (Vec::new(), most as u64, until);
        while end >= first.max(1) && found.len() < most {
            let start = first.max(1).max((end + 1).saturating_sub(width));
            let (mut some, _) = self.stretch(room, start, end).await?;
            width = wider(width, some.len(), most - found.len());
            some.append(&mut found);
            found = some;
            end = start - 1;
        }
        let surplus = found.len().saturating_sub(most);
        found.drain(..surplus);
        Ok(found)
    }

    /// All messages from `from` to `end`, and from where there may be more, if there are any.
    async fn stretch(
        &self,
        room: &RoomName,
        from: u64,
        end: u64,
    ) -> Result<(Vec<StreamMessage>, Option<u64>), NatsError> {
        let each = (end - from) / LANES + 1;
        let lanes = (0..LANES)
            .map(|lane| from.saturating_add(lane * each))
            .take_while(|start| *start <= end)
            .map(|start| self.lane(room, start, end.min(start.saturating_add(each - 1))));
        let mut found = Vec::new();
        let mut next = None;
        for (some, after) in try_join_all(lanes).await? {
            found.extend(some);
            next = after;
        }
        Ok((found, next))
    }

    async fn lane(
        &self,
        room: &RoomName,
        mut from: u64,
        end: u64,
    ) -> Result<(Vec<StreamMessage>, Option<u64>), NatsError> {
        let mut found = Vec::new();
        while from <= end {
            match self.rolls.next(room, from).await? {
                None => return Ok((found, None)),
                Some(message) if message.sequence > end => return Ok((found, Some(message.sequence))),
                Some(message) => {
                    from = message.sequence + 1;
                    found.push(message);
                }
            }
        }
        Ok((found, Some(from)))
    }
}

/// The last offset that may be gone before `oldest`, the oldest message that is kept of its room: what it says
/// itself, if it began the room, else the number before it.
fn before_oldest(oldest: &StreamMessage) -> u64 {
    let said = Entry::read(Some(&oldest.headers), &oldest.payload, 0).prev;
    said.map_or(oldest.sequence - 1, |prev| prev.0)
}

/// How wide the next stretch should be to hold `wanted`, when one of `width` held `found`.
fn wider(width: u64, found: usize, wanted: usize) -> u64 {
    let longest = width.saturating_mul(GROWTH);
    let fitting = (wanted as u64).saturating_mul(width).checked_div(found as u64).unwrap_or(longest);
    fitting.clamp(LANES, longest)
}
