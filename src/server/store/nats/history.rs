//! Reads of messages that are not cached: single-message requests to the leader of the stream, in parallel lanes.
//!
//! NATS cannot return the last hundred messages of a subject. A reader therefore chooses a range of the stream that is
//! likely to hold enough messages, and adapts the width of the next range to the number of messages found. Requests go
//! only to the leader, because another replica may not have the newest messages yet and would report that there are
//! none. No consumer is created for a read: it costs a cluster more than many requests (nats-server issue 6046).

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_nats::jetstream::message::StreamMessage;
use futures::future::{try_join, try_join_all};
use tokio::sync::Semaphore;
use tracing::warn;

use super::codec::Record;
use super::connection::NatsError;
use super::recent_messages::page;
use super::rooms::NatsRooms;
use crate::protocol::{Epoch, Offset, RoomName};
use crate::server::room::Frame;
use crate::server::store::{Limit, Page, Span};

/// The maximum number of concurrent requests of one reader.
pub(super) const LANES: u64 = 16;
/// The maximum number of concurrent readers of rooms; further ones wait.
const READERS: usize = 8;
/// The maximum number of concurrent readers of patterns; further ones wait.
const PATTERN_READERS: usize = 4;
/// The maximum number of lists of rooms that are made at the same time; further ones wait.
const LISTS: usize = 2;
/// The maximum factor by which a range may be wider than the previous one.
const GROWTH: u64 = 16;

/// The reader of messages that are not cached. See the [module docs](self).
#[derive(Debug)]
pub(super) struct HistoryReader {
    pub(super) rooms: Arc<NatsRooms>,
    readers: Semaphore,
    /// The places of readers of patterns. A page may take many requests, so they do not share the places of others.
    pub(super) pattern_readers: Semaphore,
    /// The places of lists of rooms.
    pub(super) lists: Semaphore,
}

/// The end of a range at which a read starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadFrom {
    Oldest,
    Newest,
}

impl HistoryReader {
    pub(super) fn new(rooms: Arc<NatsRooms>) -> Self {
        Self {
            rooms,
            readers: Semaphore::new(READERS),
            pattern_readers: Semaphore::new(PATTERN_READERS),
            lists: Semaphore::new(LISTS),
        }
    }

    /// Returns the page of `span` of `room`, which must be open.
    pub(super) async fn page(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> Result<Page, NatsError> {
        let cached = || {
            let page = self.rooms.with(room, |room| {
                room.head.is_some().then(|| room.page(span, limit))
            });
            page.flatten().ok_or(NatsError::NotOpen)
        };
        if let Some(page) = cached()? {
            return Ok(page);
        }

        // One read at a time per room, because the next reader can use the result of this one.
        let opening = self.rooms.begin(room);
        let _turn = opening.turn.lock().await;
        if let Some(page) = cached()? {
            return Ok(page);
        }

        let _reader = self.readers.acquire().await;
        self.read_page(room, span, limit).await
    }

    /// Reads the page of `span` from the stream, and caches the messages if no gap separates them from the cache.
    async fn read_page(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> Result<Page, NatsError> {
        let snapshot = self.rooms.with(room, |room| {
            (
                room.first.max(1),
                room.recent.floor,
                room.recent.frames.clone(),
            )
        });
        let (first, floor, cached) = snapshot.ok_or(NatsError::NotOpen)?;
        let most = limit.messages;

        let until = match span {
            Span::Before(Offset(before)) => floor.min(before.saturating_sub(1)),
            Span::After(_) | Span::Newest => floor,
        };

        // `records` start after the entry `before`, which is `None` if the first record is the oldest that is kept.
        let (mut records, before) = if let Span::After(Offset(after)) = span {
            let next = first.max(after.saturating_add(1))..=until;
            let (records, before) = try_join(
                self.read(room, next, most + 1, ReadFrom::Oldest),
                self.read(room, first..=after, 1, ReadFrom::Newest),
            )
            .await?;
            (records, before.first().map(|before| before.offset))
        } else {
            let range = first..=until;
            let mut records = self.read(room, range, most + 1, ReadFrom::Newest).await?;
            let before = (records.len() > most).then(|| records.remove(0).offset);
            (records, before)
        };

        let reaches_cache = until == floor && records.len() <= most;
        let has_more = match span {
            Span::After(_) => !reaches_cache,
            Span::Before(_) | Span::Newest => before.is_some(),
        };
        records.truncate(most);

        let start = match (before, records.first(), span) {
            (Some(before), _, _) => before,
            (None, Some(oldest), _) => oldest.before(),
            (None, None, Span::After(after)) => after.0,
            (None, None, _) => 0,
        };
        let mut frames = frames(room, &self.rooms.streams.epoch, records, start);
        if reaches_cache {
            self.rooms
                .prepend(room, frames.make_contiguous(), start, floor);
            frames.extend(cached);
        }

        // The entry at the start of the span is not among the frames.
        let gone = before.map(Offset).filter(|gone| span == Span::After(*gone));
        let page = page(&frames, span, limit);
        Ok(Page {
            more: page.more || has_more,
            gone,
            ..page
        })
    }

    /// Reads at most `most` entries of `range`, starting from its oldest or its newest; returns them in order.
    async fn read(
        &self,
        room: &RoomName,
        range: RangeInclusive<u64>,
        most: usize,
        from: ReadFrom,
    ) -> Result<Vec<Record>, NatsError> {
        let (mut start, mut end) = range.into_inner();
        let (mut found, mut width) = (Vec::new(), most as u64);

        while start <= end && found.len() < most {
            let next = match from {
                ReadFrom::Oldest => start..=end.min(start.saturating_add(width - 1)),
                ReadFrom::Newest => start.max((end + 1).saturating_sub(width))..=end,
            };
            let mut some = self.read_all(room, next.clone()).await?;
            width = next_width(width, some.len(), most - found.len());

            match from {
                ReadFrom::Oldest => {
                    start = next.end() + 1;
                    found.append(&mut some);
                }
                ReadFrom::Newest => {
                    end = next.start() - 1;
                    some.append(&mut found);
                    found = some;
                }
            }
        }

        let surplus = found.len().saturating_sub(most);
        match from {
            ReadFrom::Oldest => found.truncate(most),
            ReadFrom::Newest => drop(found.drain(..surplus)),
        }
        Ok(found)
    }

    /// Reads all entries of `range`, in order of offset. A message that has a tombstone but is still in the stream,
    /// because its deletion was interrupted, is removed from the stream.
    async fn read_all(
        &self,
        room: &RoomName,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<Record>, NatsError> {
        let (start, end) = range.clone().into_inner();
        let width = (end - start) / LANES + 1;
        let lanes = (0..LANES)
            .map(|lane| start.saturating_add(lane * width))
            .take_while(|start| *start <= end)
            .map(|start| self.read_lane(room, start, end.min(start.saturating_add(width - 1))));
        let messages = try_join_all(lanes).await?.into_iter().flatten();

        let tombstones = self.rooms.with(room, |room| room.tombstones.range(range));
        let mut records = tombstones.unwrap_or_default();
        let deleted: Vec<u64> = records.iter().map(|tombstone| tombstone.offset).collect();

        for message in messages {
            let sequence = message.sequence;
            if deleted.binary_search(&sequence).is_err() {
                let record = Record::parse(&message);
                records.extend((!record.entry.is_mark()).then_some(record));
            } else if let Err(error) = self.rooms.streams.erase(sequence).await {
                warn!(%room, sequence, %error, "could not remove a deleted message from the stream; the next reader tries again");
            }
        }
        records.sort_unstable_by_key(|record| record.offset);
        Ok(records)
    }

    /// Reads all messages from `start` to `end`, with one request at a time.
    async fn read_lane(
        &self,
        room: &RoomName,
        mut start: u64,
        end: u64,
    ) -> Result<Vec<StreamMessage>, NatsError> {
        let mut found = Vec::new();
        while start <= end
            && let Some(message) = self.rooms.streams.next(room, start).await?
            && message.sequence <= end
        {
            start = message.sequence + 1;
            found.push(message);
        }
        Ok(found)
    }
}

/// Converts `records` of `room` into frames; `start` is the `prev` of the first. If a later record names an entry that is not
/// among the records, that entry was removed. It becomes the `prev` of the next frame, so readers detect the gap.
fn frames(
    room: &RoomName,
    epoch: &Epoch,
    records: Vec<Record>,
    start: u64,
) -> VecDeque<Arc<Frame>> {
    let seen = records.iter().filter_map(|record| record.entry.seen);
    let mut seen: Vec<u64> = seen.map(|seen| seen.0).collect();
    seen.sort_unstable();

    let mut prev = start;
    let frames = records.into_iter().map(|record| {
        let offset = record.offset;
        let newest_seen = seen[..seen.partition_point(|seen| *seen < offset)].last();
        let before = prev.max(newest_seen.copied().unwrap_or_default());
        prev = offset;
        Arc::new(record.into_frame(room.clone(), epoch.clone(), before))
    });
    frames.collect()
}

/// Returns the width of the next range, which should hold `wanted` messages, after a range of `width` held `found`.
pub(super) fn next_width(width: u64, found: usize, wanted: usize) -> u64 {
    let longest = width.saturating_mul(GROWTH);
    let fitting = (wanted as u64).saturating_mul(width);
    let fitting = fitting.checked_div(found as u64).unwrap_or(longest);
    fitting.clamp(LANES, longest)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::UserId;
    use crate::server::room::Draft;
    use crate::server::store::nats::codec::{PublishId, StreamEntry};

    /// Returns the `prev` of each record, given its offset and the newest offset that its node had seen.
    fn prevs(records: &[(u64, Option<u64>)], start: u64) -> Vec<u64> {
        let record = |(offset, seen): &(u64, Option<u64>)| {
            let draft = Draft::text(UserId::guest(0), None, "");
            let mut entry = StreamEntry::new(&draft, 7, PublishId { node: 1, number: 1 });
            entry.seen = seen.map(Offset);

            Record {
                offset: *offset,
                entry,
                payload: Bytes::new(),
                stored_at: 7,
            }
        };

        let frames = frames(
            &RoomName::lobby(),
            &Epoch::new(1),
            records.iter().map(record).collect(),
            start,
        );

        frames.iter().map(|frame| frame.prev().0).collect()
    }

    #[test]
    fn an_entry_that_was_removed_from_the_stream_stays_the_predecessor_of_the_next() {
        let whole = [(4, None), (5, Some(4)), (6, Some(5)), (9, Some(6))];
        assert_eq!(prevs(&whole, 2), [2, 4, 5, 6]);

        let with_gaps = [(4, None), (6, Some(5)), (9, Some(6))];
        assert_eq!(prevs(&with_gaps, 2), [2, 5, 6]);

        let seen_later = [(4, None), (6, Some(4)), (9, Some(5))];
        assert_eq!(prevs(&seen_later, 2), [2, 5, 6], "a later entry names 5");

        let first_gone = [(4, Some(3)), (5, None)];
        assert_eq!(prevs(&first_gone, 2), [3, 4]);
    }
}
