//! Reads over all rooms that a pattern matches.
//!
//! NATS matches whole tokens of a subject, not prefixes, so a pattern is applied here. A page is filled in two steps, as
//! with SQLite: first the messages of all rooms are read in the order of the stream, up to a number of requests. If few
//! of them match, the matching rooms are requested one by one, so a page costs at least one request for each of them.
//!
//! The stream does not count removed messages. They are detected by the first number of the stream, and by messages
//! that name an entry of their room that is missing.

use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, RangeInclusive};

use async_nats::jetstream::message::StreamMessage;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::codec::Record;
use super::connection::NatsError;
use super::history::{HistoryReader, LANES, next_width};
use super::streams::LoadedLife;
use super::subjects::{StreamSubject, room_of};
use crate::protocol::{Offset, RoomName, RoomSelector};
use crate::server::room::Frame;
use crate::server::store::matching::{
    MatchingPage, MatchingRange, Oldest, StoredRoom, is_selected,
};
use crate::server::store::{Bounds, Limit, now_millis};

/// The number of requests for messages of all rooms before the matching rooms are requested one by one.
const MAX_SCANNED: usize = 1024;
/// The number of messages that one round of requests should find.
const ROUND: usize = 256;

/// The messages of a page while it is read.
struct PageRecords {
    oldest: Oldest<(RoomName, Record)>,
    /// The marks among them, each with the newest offset of its room when it was stored.
    marks: Vec<(u64, Offset)>,
}

impl PageRecords {
    const fn new(limit: Limit) -> Self {
        Self {
            oldest: Oldest::new(limit),
            marks: Vec::new(),
        }
    }

    /// Adds `record` of `room`. Breaks if no later record fits.
    fn add(&mut self, room: RoomName, record: Record) -> ControlFlow<()> {
        if record.entry.is_mark() {
            let head = record.entry.seen.unwrap_or_default();
            self.marks.push((record.offset, head));
            return ControlFlow::Continue(());
        }
        let size = size_of::<Frame>() + record.payload.len();
        self.oldest.add(record.offset, size, (room, record))
    }

    /// Returns the records, and their page without frames, up to `newest`. `first` is the first number that the stream has.
    /// Removed messages up to `known` are not missing.
    fn into_page(
        self,
        newest: u64,
        first: u64,
        known: Offset,
    ) -> (Vec<(RoomName, Record)>, MatchingPage) {
        let (records, mut page) = self.oldest.into_page(newest);
        page.add_dropped(removed(first, &records), known);

        for (offset, head) in self.marks {
            let has_head = records
                .binary_search_by_key(&head.0, |(_, record)| record.offset)
                .is_ok();
            if offset <= page.until.0 && !has_head {
                page.add_dropped(head.0, known);
            }
        }
        (records, page)
    }
}

impl HistoryReader {
    /// Reads the oldest messages in `range` of all rooms that one of `rooms` matches. Removed messages up to the known
    /// offset are ignored.
    pub(super) async fn matching(
        &self,
        rooms: &[RoomSelector],
        range: MatchingRange,
        limit: Limit,
    ) -> Result<MatchingPage, NatsError> {
        let _reader = self.pattern_readers.acquire().await;
        let MatchingRange {
            after,
            known,
            until,
        } = range;
        // Later messages are sent as changes.
        let newest = self.rooms.position().min(until.0).max(after.0);
        let range = after.0 + 1..=newest;
        let oldest = Mutex::new(PageRecords::new(limit));

        let scanned = self.scan_stream(rooms, range.clone(), &oldest).await?;
        if scanned < newest {
            self.scan_rooms(rooms, scanned + 1..=newest, &oldest)
                .await?;
        }
        // Read last: a message that was not found because it was deleted meanwhile has its tombstone then.
        let first = self.add_tombstones(rooms, range, &oldest).await?;

        let (records, mut page) = oldest.into_inner().into_page(newest, first, known);
        self.add_frames(&mut page, records, after, known);
        Ok(page)
    }

    /// Adds the messages of `range` in the order of the stream. Returns the number up to which this is complete.
    async fn scan_stream(
        &self,
        selected: &[RoomSelector],
        range: RangeInclusive<u64>,
        oldest: &Mutex<PageRecords>,
    ) -> Result<u64, NatsError> {
        let (mut start, end) = range.into_inner();
        let (mut width, mut scanned) = (ROUND as u64, 0);

        while start <= end && scanned < MAX_SCANNED {
            let last = end.min(start.saturating_add(width - 1));
            let messages = self.read_lanes(start, last).await?;
            scanned += messages.len() + LANES as usize;
            width = next_width(width, messages.len(), ROUND);

            let mut oldest = oldest.lock();
            for message in &messages {
                if let Some(room) = self
                    .room_of(message)
                    .filter(|room| is_selected(selected, room))
                    && oldest.add(room, Record::parse(message)).is_break()
                {
                    return Ok(end);
                }
            }
            start = last + 1;
        }
        Ok(start - 1)
    }

    /// Reads the messages of all rooms from `start` to `end`, in order.
    async fn read_lanes(&self, start: u64, end: u64) -> Result<Vec<StreamMessage>, NatsError> {
        let width = (end - start) / LANES + 1;
        let lanes = (0..LANES)
            .map(|lane| start.saturating_add(lane * width))
            .take_while(|start| *start <= end)
            .map(|start| async move {
                let (mut next, end) = (start, end.min(start.saturating_add(width - 1)));
                let mut found = Vec::new();
                while next <= end
                    && let Some(message) = self.rooms.streams.next_of_all(next).await?
                    && message.sequence <= end
                {
                    next = message.sequence + 1;
                    found.push(message);
                }
                Ok::<_, NatsError>(found)
            });

        Ok(try_join_all(lanes).await?.into_iter().flatten().collect())
    }

    /// Adds the messages of `range` of each matching room.
    async fn scan_rooms(
        &self,
        selected: &[RoomSelector],
        range: RangeInclusive<u64>,
        oldest: &Mutex<PageRecords>,
    ) -> Result<(), NatsError> {
        let mut subjects = self.rooms.streams.room_subjects().await?;
        let mut rooms = Vec::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(NatsError::request)? {
            let room = self.room_of_subject(&subject);
            rooms.extend(room.filter(|room| is_selected(selected, room)));
        }

        let scans = rooms.into_iter().map(|room| {
            let (mut next, end) = range.clone().into_inner();
            async move {
                while next <= end && !oldest.lock().oldest.is_past(next) {
                    let message = self.rooms.streams.next(&room, next).await?;
                    let Some(message) = message.filter(|message| message.sequence <= end) else {
                        break;
                    };
                    next = message.sequence + 1;
                    let added = oldest.lock().add(room.clone(), Record::parse(&message));
                    if added.is_break() {
                        break;
                    }
                }
                Ok::<_, NatsError>(())
            }
        });
        let mut scans = stream::iter(scans).buffer_unordered(LANES as usize);
        while let Some(scanned) = scans.next().await {
            scanned?;
        }
        Ok(())
    }

    /// Adds the tombstones of the matching rooms in `range`, in place of their messages. Returns the first number that
    /// the stream has.
    async fn add_tombstones(
        &self,
        selected: &[RoomSelector],
        range: RangeInclusive<u64>,
        oldest: &Mutex<PageRecords>,
    ) -> Result<u64, NatsError> {
        let streams = &self.rooms.streams;
        let mut subjects = streams.tombstone_subjects().await?;
        let first = subjects.info.state.first_sequence;
        let mut deleted = Vec::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(NatsError::request)? {
            if let Some(StreamSubject::Tombstone(token, offset)) = streams.subjects.parse(&subject)
                && range.contains(&offset)
                && !oldest.lock().oldest.is_past(offset)
            {
                let room = room_of(token).filter(|room| is_selected(selected, room));
                deleted.extend(room.map(|room| (room, offset)));
            }
        }

        let requests = deleted.into_iter().map(|(room, offset)| async move {
            let found = streams.tombstone(&room, offset).await?;
            let tombstone = found.and_then(|message| Record::tombstone(&message, offset));
            if let Some(tombstone) = tombstone {
                // The page records that more messages follow.
                let _ = oldest.lock().add(room, tombstone);
            }
            Ok::<_, NatsError>(())
        });
        let mut requests = stream::iter(requests).buffer_unordered(LANES as usize);
        while let Some(added) = requests.next().await {
            added?;
        }
        Ok(first)
    }

    /// Converts `records`, which follow `after`, into the frames of `page`. Records name earlier entries of their rooms;
    /// those after `known` that are missing are gone.
    fn add_frames(
        &self,
        page: &mut MatchingPage,
        records: Vec<(RoomName, Record)>,
        after: Offset,
        known: Offset,
    ) {
        let mut heads: HashMap<RoomName, u64> = HashMap::new();
        for (room, record) in records {
            let named = record.named_before();
            let last = heads.insert(room.clone(), record.offset);
            let read = last.unwrap_or(after.0);
            if let Some(named) = named.filter(|named| *named > read.max(known.0)) {
                page.gone = page.gone.max(Offset(named));
                page.trimmed = None;
            }

            let prev = last.max(named).unwrap_or_else(|| record.known_before());
            let frame = record.into_frame(room, self.rooms.streams.epoch.clone(), prev);
            page.frames.push(frame.into());
        }
    }

    /// Returns the bounds of the stream, which are also bounds of any rooms together.
    pub(super) async fn stream_bounds(&self) -> Result<Bounds, NatsError> {
        let streams = &self.rooms.streams;
        let state = streams.state().await?;
        let first = if state.messages == 0 {
            0
        } else {
            state.first_sequence
        };
        // Later messages are sent as changes.
        let newest = Offset(self.rooms.position());

        Ok(Bounds {
            epoch: streams.epoch.clone(),
            first: Offset(first),
            head: newest,
            gone: Offset(state.first_sequence.saturating_sub(1)),
            newest,
            is_known: state.messages > 0,
        })
    }

    /// Returns the rooms with messages in the stream that `filter` selects, by name, at most `limit`.
    pub(super) async fn list_rooms(
        &self,
        filter: impl Fn(&RoomName) -> bool,
        limit: usize,
    ) -> Result<Vec<StoredRoom>, NatsError> {
        let _list = self.lists.acquire().await;
        let mut found = Vec::new();
        let mut after: Option<RoomName> = None;
        loop {
            let is_next = |room: &RoomName| Some(room) > after.as_ref() && filter(room);
            let wanted = limit - found.len();
            let rooms = self.first_rooms(is_next, wanted).await?;
            let is_last = rooms.len() < wanted;
            after = rooms.keys().next_back().cloned();

            let summaries = rooms
                .into_iter()
                .map(|(room, count)| self.summary(room, count));
            let summaries = stream::iter(summaries).buffered(LANES as usize);
            let summaries: Vec<_> = summaries.try_collect().await?;
            // Rooms that were deleted may still have a message in the stream.
            found.extend(summaries.into_iter().flatten());
            if is_last || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// Returns the first `limit` rooms by name that `filter` selects, each with the number of its messages in the stream.
    async fn first_rooms(
        &self,
        filter: impl Fn(&RoomName) -> bool,
        limit: usize,
    ) -> Result<BTreeMap<RoomName, usize>, NatsError> {
        let mut subjects = self.rooms.streams.room_subjects().await?;
        let mut rooms = BTreeMap::new();
        while let Some((subject, count)) = subjects.try_next().await.map_err(NatsError::request)? {
            if let Some(room) = self.room_of_subject(&subject).filter(&filter) {
                rooms.insert(room, count);
                if rooms.len() > limit {
                    rooms.pop_last();
                }
            }
        }
        Ok(rooms)
    }

    /// Returns the summary of `room`, which has `count` messages in the stream; `None` if it was deleted or has expired.
    async fn summary(&self, room: RoomName, count: usize) -> Result<Option<StoredRoom>, NatsError> {
        let LoadedLife { life, head, .. } = self.rooms.streams.life(&room).await?;
        let is_known = head > life.base || life.is_known();
        let expires_at = life.expires_at(&self.rooms.limits.of(&room, &life.lifecycle));
        if !is_known || expires_at.is_some_and(|at| now_millis() >= at) {
            return Ok(None);
        }

        let first = self.rooms.first_message(&room, life.base + 1).await?;
        Ok(Some(StoredRoom {
            first: Offset(first.map_or(0, |first| first.offset)),
            head: Offset(head),
            count: Some(count as u64),
            lifecycle: life.lifecycle,
            expires_at,
            room,
        }))
    }

    fn room_of(&self, message: &StreamMessage) -> Option<RoomName> {
        self.room_of_subject(&message.subject)
    }

    /// Returns the room whose messages have `subject`.
    fn room_of_subject(&self, subject: &str) -> Option<RoomName> {
        match self.rooms.streams.subjects.parse(subject)? {
            StreamSubject::Message(token) => room_of(token),
            StreamSubject::Tombstone(..) | StreamSubject::Use(_) | StreamSubject::Command => None,
        }
    }
}

/// Returns the newest number before `first`, the first one of the stream, whose message was removed without a tombstone
/// in `records`.
fn removed(first: u64, records: &[(RoomName, Record)]) -> u64 {
    let mut removed = first.saturating_sub(1);
    for (_, record) in records.iter().rev() {
        if record.offset == removed && record.entry.deleted.is_some() {
            removed -= 1;
        }
    }
    removed
}
