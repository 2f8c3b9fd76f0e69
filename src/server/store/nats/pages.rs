//! Reads of messages that are not cached: single-message requests to the leader of the stream, in parallel lanes.
//!
//! NATS cannot return the last hundred messages of a subject. A reader therefore chooses a range of the stream that is
//! likely to hold enough messages, and adapts the width of the next range to the number of messages found. Requests go
//! only to the leader, because another replica may not have the newest messages yet and would report that there are
//! none. No consumer is created for a read: it costs a cluster more than many requests (nats-server issue 6046).

use std::sync::Arc;

use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures::future::try_join_all;
use tokio::sync::Semaphore;
use tracing::warn;

use super::NatsError;
use super::entry::StreamEntry;
use super::graves::{FirstMessage, Tombstones};
use super::record::Record;
use super::rooms::{Oldest, RoomStates};
use super::stream::Streams;
use super::tail::Snapshot;
use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Frame;
use crate::server::store::{Limit, Page, Span};

/// The maximum number of concurrent requests of one reader.
const LANES: u64 = 16;
/// The maximum number of concurrent readers; further ones wait.
const READERS: usize = 8;
/// The maximum factor by which a range may be wider than the previous one.
const GROWTH: u64 = 16;

/// See the [module docs](self).
pub(super) struct HistoryReader {
    rolls: Arc<Streams>,
    rooms: Arc<RoomStates>,
    readers: Semaphore,
}

/// The result of a read.
struct Found {
    /// The records in order.
    records: Vec<Record>,
    /// The offset before the first record; `None` if the first one is the oldest that is kept.
    before: Option<u64>,
    /// True if there is no entry between the last record and the floor of the cache.
    is_to_the_floor: bool,
    /// The position of the reader, if the message there is kept, which proves that no later one was removed.
    kept: Option<u64>,
}

impl HistoryReader {
    pub(super) fn new(rolls: Arc<Streams>, rooms: Arc<RoomStates>) -> Self {
        Self {
            rolls,
            rooms,
            readers: Semaphore::new(READERS),
        }
    }

    /// Returns the page of `span` of `room`, which must be open.
    pub(super) async fn page(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> Result<Page, NatsError> {
        let excerpt = || self.rooms.excerpt(room).ok_or(NatsError::NotOpen);
        if let Some(page) = excerpt()?.page(span, limit) {
            return Ok(page);
        }

        // One read at a time per room, because the next reader can use the result of this one.
        let opening = self.rooms.begin(room);
        let _turn = opening.turn.lock().await;

        let excerpt = excerpt()?;
        if let Some(page) = excerpt.page(span, limit) {
            return Ok(page);
        }

        let _reader = self.readers.acquire().await;
        let most = limit.messages;

        let found = match span {
            Span::After(after) => self.after(room, after.0, &excerpt, most).await?,
            Span::Before(before) => {
                self.until(
                    room,
                    before.0.saturating_sub(1).min(excerpt.floor),
                    &excerpt,
                    most,
                )
                .await?
            }
            Span::Newest => self.until(room, excerpt.floor, &excerpt, most).await?,
        };

        Ok(self.page_of(room, span, limit, excerpt, found))
    }

    /// Returns the oldest kept entry of `room`, whose newest offset is `head`; `None` if no entry is kept.
    pub(super) async fn oldest(
        &self,
        room: &RoomName,
        head: u64,
    ) -> Result<Option<Oldest>, NatsError> {
        let oldest = self.rolls.next(room, 1).await?.map(Record::Said);
        let eldest = oldest.as_ref().map(|oldest| FirstMessage {
            sequence: oldest.offset(),
            prev: oldest.read().0.prev.map(|prev| prev.0),
        });

        // The count costs a request, so it is made only if there are tombstones to keep.
        if self.rooms.edge(room, eldest, head, 0).is_some()
            && let Some(edge) = self
                .rooms
                .edge(room, eldest, head, self.rolls.count(room).await?)
        {
            return Ok(Some(edge));
        }

        Ok(oldest.map(|oldest| Oldest {
            first: oldest.offset(),
            gone: oldest.before(),
        }))
    }

    fn page_of(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
        excerpt: Snapshot,
        found: Found,
    ) -> Page {
        let Found {
            records,
            before,
            is_to_the_floor,
            kept,
        } = found;

        let has_older = before.is_some();
        let floor = before
            .or(records.first().map(Record::before))
            .unwrap_or_default();

        let mut frames = frames(&self.rolls.epoch, records, floor);
        if is_to_the_floor {
            self.rooms.extend(room, &excerpt, &frames, floor);
            frames.extend(excerpt.frames);
        }

        let end = match span {
            Span::After(_) => {
                let page = Page::oldest(frames.iter(), limit);
                return Page {
                    more: page.more || !is_to_the_floor,
                    gone: kept.map(Offset),
                    ..page
                };
            }
            Span::Before(before) => frames.partition_point(|frame| frame.offset() < before),
            Span::Newest => frames.len(),
        };

        let page = Page::newest(frames[..end].iter().rev(), limit);
        Page {
            more: page.more || has_older,
            ..page
        }
    }

    /// Reads the oldest entries after `after`, at most `most`.
    async fn after(
        &self,
        room: &RoomName,
        after: u64,
        excerpt: &Snapshot,
        most: usize,
    ) -> Result<Found, NatsError> {
        // The entry at `after` is read too: if it exists, it precedes the first result.
        let mut records = self
            .forward(room, after.max(1), excerpt.floor, most + 2)
            .await?;

        let first = records.first().map(Record::offset);
        let kept = first.filter(|first| after > 0 && *first == after);

        let before = if kept.is_some() {
            records.remove(0);
            kept
        } else if first.is_none_or(|first| first <= excerpt.first) {
            None
        } else {
            let until = first.unwrap_or_default() - 1;
            self.backward(room, excerpt.first, until, 1)
                .await?
                .first()
                .map(Record::offset)
        };

        let is_to_the_floor = records.len() <= most;
        records.truncate(most);

        let before = before.or_else(|| records.is_empty().then_some(after));
        Ok(Found {
            records,
            before,
            is_to_the_floor,
            kept,
        })
    }

    /// Reads the newest entries up to `until`, at most `most`.
    async fn until(
        &self,
        room: &RoomName,
        until: u64,
        excerpt: &Snapshot,
        most: usize,
    ) -> Result<Found, NatsError> {
        let mut records = self.backward(room, excerpt.first, until, most + 1).await?;
        let before = (records.len() > most).then(|| records.remove(0).offset());
        Ok(Found {
            records,
            before,
            is_to_the_floor: until == excerpt.floor,
            kept: None,
        })
    }

    /// Reads the oldest entries from `from` to `until`, at most `most`.
    async fn forward(
        &self,
        room: &RoomName,
        mut from: u64,
        until: u64,
        most: usize,
    ) -> Result<Vec<Record>, NatsError> {
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

    /// Reads the newest entries from `first` to `until`, at most `most`.
    async fn backward(
        &self,
        room: &RoomName,
        first: u64,
        until: u64,
        most: usize,
    ) -> Result<Vec<Record>, NatsError> {
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

    /// Reads all entries from `from` to `end`. Also returns the offset from which there may be more, `None` if there
    /// are no more.
    async fn stretch(
        &self,
        room: &RoomName,
        from: u64,
        end: u64,
    ) -> Result<(Vec<Record>, Option<u64>), NatsError> {
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

        let look = |graves: &Tombstones| (graves.among(from..=end), graves.next(end + 1));
        let (graves, next_grave) = self.rooms.graves(room, look);
        let next = next.into_iter().chain(next_grave).min();
        Ok((self.bury(found, graves).await, next))
    }

    /// Merges the tombstones into the messages, in order of offset. A message that has a tombstone but is still in the
    /// stream, because its deletion was interrupted, is removed from the stream.
    async fn bury(&self, said: Vec<StreamMessage>, graves: Vec<(u64, StreamEntry)>) -> Vec<Record> {
        if graves.is_empty() {
            return said.into_iter().map(Record::Said).collect();
        }

        let mut records: Vec<Record> = Vec::with_capacity(said.len() + graves.len());
        for message in said {
            if graves
                .binary_search_by_key(&message.sequence, |(offset, _)| *offset)
                .is_err()
            {
                records.push(Record::Said(message));
            } else if let Err(error) = self.rolls.erase(message.sequence).await {
                warn!(%error, "what was deleted is still in the stream; it is tried again with the next reader");
            }
        }

        records.extend(
            graves
                .into_iter()
                .map(|(offset, tombstone)| Record::Gone(offset, tombstone)),
        );
        records.sort_unstable_by_key(Record::offset);
        records
    }

    /// Reads all messages from `from` to `end`, with one request at a time. Also returns the offset from which there
    /// may be more, `None` if there are no more.
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
                Some(message) if message.sequence > end => {
                    return Ok((found, Some(message.sequence)));
                }
                Some(message) => {
                    from = message.sequence + 1;
                    found.push(message);
                }
            }
        }

        Ok((found, Some(from)))
    }
}

/// Converts `records` into frames; `floor` is the `prev` of the first. If a later record names an entry that is not
/// among the records, that entry was removed. It becomes the `prev` of the next frame, so readers detect the gap.
fn frames(epoch: &Epoch, records: Vec<Record>, floor: u64) -> Vec<Arc<Frame>> {
    let entries: Vec<(u64, StreamEntry, Bytes)> = records
        .into_iter()
        .map(|record| {
            let (entry, payload) = record.read();
            (record.offset(), entry, payload)
        })
        .collect();
    let mut seen: Vec<u64> = entries
        .iter()
        .filter_map(|(_, entry, _)| Some(entry.seen?.0))
        .collect();
    seen.sort_unstable();

    let mut prev = floor;
    let mut frames = Vec::with_capacity(entries.len());
    for (offset, entry, payload) in entries {
        let newest_seen = seen[..seen.partition_point(|seen| *seen < offset)].last();
        let before = prev.max(newest_seen.copied().unwrap_or_default());
        let frame = entry.into_frame(&payload, epoch.clone(), Offset(offset), Offset(before));
        frames.push(Arc::new(frame));
        prev = offset;
    }
    frames
}

/// Returns the width of the next range, which should hold `wanted` messages, after a range of `width` held `found`.
fn wider(width: u64, found: usize, wanted: usize) -> u64 {
    let longest = width.saturating_mul(GROWTH);
    let fitting = (wanted as u64)
        .saturating_mul(width)
        .checked_div(found as u64)
        .unwrap_or(longest);
    fitting.clamp(LANES, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the `prev` of each record, given its offset and the newest offset that its node had seen.
    fn prevs(records: &[(u64, Option<u64>)], floor: u64) -> Vec<u64> {
        let records = records
            .iter()
            .map(|(offset, seen)| {
                let mut entry = StreamEntry::read(None, b"", 7);
                entry.seen = seen.map(Offset);
                Record::Gone(*offset, entry)
            })
            .collect();
        let frames = frames(&Epoch::new(1), records, floor);
        frames.iter().map(|frame| frame.prev().0).collect()
    }

    #[test]
    fn an_entry_that_was_removed_from_the_stream_is_still_the_one_before_the_next() {
        let whole = [(4, None), (5, Some(4)), (6, Some(5)), (9, Some(6))];
        assert_eq!(prevs(&whole, 2), [2, 4, 5, 6]);

        let holey = [(4, None), (6, Some(5)), (9, Some(6))];
        assert_eq!(prevs(&holey, 2), [2, 5, 6]);

        let seen_later = [(4, None), (6, Some(4)), (9, Some(5))];
        assert_eq!(prevs(&seen_later, 2), [2, 5, 6], "any later entry tells");

        let first_gone = [(4, Some(3)), (5, None)];
        assert_eq!(prevs(&first_gone, 2), [3, 4]);
    }
}
