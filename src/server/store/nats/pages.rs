//! Reading what the tail does not hold: one message after the other by the leader of the stream, several lanes at
//! once.
//!
//! NATS has no question like "the last hundred of this subject". So a stretch of the stream is chosen that ought to
//! hold as many, and made longer or shorter by what was found. Only the leader is asked: another replica may not
//! have the newest yet, and would say that there is nothing. No consumer is made for it: they cost a cluster more
//! than many questions (nats-server issue 6046).

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

/// Questions that one reader has on their way at once.
const LANES: u64 = 16;
/// Readers that ask at once; others wait.
const READERS: usize = 8;
/// How much longer a stretch may be than the one before it.
const GROWTH: u64 = 16;

/// See the [module docs](self).
pub(super) struct HistoryReader {
    rolls: Arc<Streams>,
    rooms: Arc<RoomStates>,
    readers: Semaphore,
}

/// What was read, in order.
struct Found {
    records: Vec<Record>,
    /// The one before the first of them; `None` if the first is the oldest that is kept.
    before: Option<u64>,
    /// Whether there is nothing between the last of them and the floor of the tail.
    is_to_the_floor: bool,
    /// The position of the reader, if the message there is kept: so no later one was trimmed.
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

    /// The page of `span` of `room`, which is open.
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
        // One at a time in a room: the next one finds what this one has read.
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

    /// The oldest entry of `room`, whose newest offset is `head`, if any is kept.
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

    /// At most `most` after `after`, the oldest of them.
    async fn after(
        &self,
        room: &RoomName,
        after: u64,
        excerpt: &Snapshot,
        most: usize,
    ) -> Result<Found, NatsError> {
        // That one too: if it is there, it is the one before the first.
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

    /// At most `most` up to `until`, the newest of them.
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

    /// The oldest messages from `from` to `until`, at least `most` if there are as many.
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

    /// The newest messages from `first` to `until`, `most` if there are as many.
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

    /// All that stands from `from` to `end`, and from where there may be more, if there is any.
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

    /// `said` with `graves` in their places. What still is where a grave is, because whoever deleted it did not come
    /// so far, is taken out now.
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

/// Returns `records` as frames, the first behind `floor`. Where a later record has seen an entry that is not among
/// them, the one behind that place has it as its `prev`: somebody has removed it, and readers get a gap.
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

/// How wide the next stretch should be to hold `wanted`, when one of `width` held `found`.
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

    /// Returns the `prev` of each record, given its offset and the newest offset that its node knew.
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
