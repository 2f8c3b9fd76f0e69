//! The open rooms of this node.
//!
//! # Invariants
//!
//! - If the consumer does not receive some numbers of the stream, because those messages were removed first, the next
//!   message of each room that was open shows the gap: its `prev` is the newest number that may be missing. The life of
//!   each open room is read again, because one of these messages may have closed or deleted it. So are the saved lives of
//!   the other rooms that a watched pattern matches: readers of the pattern must get the end of each, some perhaps twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::codec::{PublishId, Record};
use super::connection::{NatsError, REQUEST_TIMEOUT};
use super::opening::Opening;
use super::recent_messages::CacheQuota;
use super::room_life::LoggedLife;
use super::room_state::NatsRoomState;
use super::streams::Streams;
use super::subjects::{StreamSubject, room_of, token};
use super::trim_schedule::TrimSchedule;
use super::watched::WatchedPatterns;
use crate::protocol::{Offset, RoomName, RoomPattern};
use crate::server::room::Frame;
use crate::server::store::changes::{ChangeSender, LogChange};
use crate::server::store::room_limits::RoomLimitTable;
use crate::server::store::{Bounds, Lifecycle, now_millis};

/// The time between two saves of the life of a room, unless it must be saved at once.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);

/// The open rooms. See the [module docs](self).
#[derive(Debug)]
pub(super) struct NatsRooms {
    pub(super) streams: Arc<Streams>,
    /// The limits of all rooms.
    pub(super) limits: Arc<RoomLimitTable>,
    pub(super) changes: Arc<ChangeSender>,
    inner: Mutex<OpenRooms>,
    /// The last processed number of the stream, for tasks that wait for one.
    reached: watch::Sender<u64>,
    /// The newest number that the consumer did not receive, for tasks that wait for a message.
    missed: watch::Sender<u64>,
    /// The rooms whose lives must be saved.
    unsaved: Mutex<HashSet<RoomName>>,
    /// A notification that is sent when a room is added to `unsaved`.
    unsaved_added: Notify,
    /// A notification that is sent when the consumer has not received some numbers of the stream.
    events_missed: Notify,
}

#[derive(Debug)]
struct OpenRooms {
    /// The open rooms by subject token.
    open: HashMap<String, NatsRoomState>,
    watched: WatchedPatterns,
    /// The last number of the stream that the consumer has processed.
    position: u64,
    /// The newest number that the consumer did not receive.
    newest_missed: u64,
    /// The number of the stream after which the consumer has missed events that were not read yet; `None` if there are none.
    missed_after: Option<u64>,
    /// The rooms that expire, by subject token, each with a time before which it does not: in milliseconds since 1970 UTC.
    expiring: HashMap<String, u64>,
    /// The rooms that this node trims; `None` while another node does.
    trim_schedule: Option<TrimSchedule>,
}

impl OpenRooms {
    /// Removes the room with `token` if it is neither kept nor being opened.
    fn remove_if_unused(&mut self, token: &str) {
        let is_unused = |room: &NatsRoomState| room.openings == 0 && !room.is_kept;
        if self.open.get(token).is_some_and(is_unused) {
            self.open.remove(token);
        }
    }
}

impl NatsRooms {
    /// Creates an empty set of rooms, each with its `limits`. What was missed is sent to `changes`.
    pub(super) fn new(
        streams: Arc<Streams>,
        limits: Arc<RoomLimitTable>,
        changes: Arc<ChangeSender>,
    ) -> Self {
        let position = streams.opened_at();
        let inner = OpenRooms {
            open: HashMap::new(),
            watched: WatchedPatterns::default(),
            position,
            newest_missed: 0,
            missed_after: None,
            expiring: HashMap::new(),
            trim_schedule: None,
        };

        Self {
            streams,
            limits,
            changes,
            inner: Mutex::new(inner),
            reached: watch::Sender::new(position),
            missed: watch::Sender::new(0),
            unsaved: Mutex::default(),
            unsaved_added: Notify::new(),
            events_missed: Notify::new(),
        }
    }

    /// Returns the number of rooms that this node tracks.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.lock().open.len()
    }

    /// Returns the result of `access` on the state of `room`; `None` if the room is not open.
    pub(super) fn with<T>(
        &self,
        room: &RoomName,
        access: impl FnOnce(&mut NatsRoomState) -> T,
    ) -> Option<T> {
        self.inner.lock().open.get_mut(&token(room)).map(access)
    }

    /// Returns the bounds of `room`.
    pub(super) fn bounds(&self, room: &RoomName) -> Result<Bounds, NatsError> {
        let epoch = self.streams.epoch.clone();
        let position = self.position();
        self.with(room, |room| room.bounds(epoch, position))
            .flatten()
            .ok_or(NatsError::NotOpen)
    }

    /// Starts to track `room` in the consumer.
    pub(super) fn begin(self: &Arc<Self>, room: &RoomName) -> Opening {
        let mut inner = self.inner.lock();
        let position = inner.position;
        let state = inner
            .open
            .entry(token(room))
            .or_insert_with(|| NatsRoomState::new(room.clone(), self.limits.clone(), position));
        state.openings += 1;

        Opening {
            turn: state.turn.clone(),
            rooms: self.clone(),
            room: room.clone(),
        }
    }

    /// Ends one [`NatsRooms::begin`] of `room`.
    pub(super) fn end_opening(&self, room: &RoomName) {
        self.with(room, |room| room.openings -= 1);
        self.inner.lock().remove_if_unused(&token(room));
    }

    /// Removes `room`, at the latest when its last [`Opening`] is dropped.
    pub(super) fn release(&self, room: &RoomName) {
        self.with(room, |room| room.is_kept = false);
        self.inner.lock().remove_if_unused(&token(room));
    }

    /// Requests the oldest kept entry of `room`, whose newest offset is `head`; `None` if no entry is kept.
    pub(super) async fn oldest(
        &self,
        room: &RoomName,
        head: u64,
    ) -> Result<Option<Record>, NatsError> {
        let bounds = |room: &mut NatsRoomState| (room.life.base + 1, room.life.lifecycle.is_closed);
        let (first, is_closed) = self.with(room, bounds).unwrap_or((1, false));
        let message = self.first_message(room, first).await?;
        // Messages after the end are not of the room.
        let message = message.filter(|message| !is_closed || message.offset <= head);
        let tombstone = |messages: usize| {
            let oldest = |room: &mut NatsRoomState| {
                let places = room.kept().saturating_sub(messages);
                let tombstone = room.tombstones.oldest(message.as_ref(), head, places);
                tombstone.cloned()
            };
            self.with(room, oldest).flatten()
        };

        // The count costs a request, so it is made only if there are tombstones to keep.
        if tombstone(0).is_some()
            && let Some(tombstone) = tombstone(self.streams.count(room).await?)
        {
            return Ok(Some(tombstone));
        }
        Ok(message)
    }

    /// Requests the first message of `room` at or after `sequence`.
    pub(super) async fn first_message(
        &self,
        room: &RoomName,
        mut sequence: u64,
    ) -> Result<Option<Record>, NatsError> {
        while let Some(message) = self.streams.next(room, sequence).await? {
            let record = Record::parse(&message);
            if !record.entry.is_mark() {
                return Ok(Some(record));
            }
            sequence = record.offset + 1;
        }
        Ok(None)
    }

    /// Caches `frames`: all entries of `room` after `floor`, up to `until`, if that is still the floor of the cache.
    pub(super) fn prepend(&self, room: &RoomName, frames: &[Arc<Frame>], floor: u64, until: u64) {
        let mut inner = self.inner.lock();
        let open = inner.open.len();
        if let Some(room) = inner.open.get_mut(&token(room)) {
            let quota = CacheQuota::of(room.kept(), open);
            room.prepend(frames, floor, until, quota);
        }
    }

    /// Starts to report the messages of all rooms that `pattern` matches. Returns the offset after which this is
    /// complete.
    pub(super) fn watch(&self, pattern: &RoomPattern) -> u64 {
        let mut inner = self.inner.lock();
        inner.watched.add(pattern);
        inner.position
    }

    /// Ends one [`NatsRooms::watch`] of `pattern`.
    pub(super) fn unwatch(&self, pattern: &RoomPattern) {
        self.inner.lock().watched.remove(pattern);
    }

    /// Returns the life and the newest offset of `room`, which must be open. It may have expired.
    pub(super) fn life(&self, room: &RoomName) -> Result<(LoggedLife, Offset), NatsError> {
        let life = self.with(room, |room| Some((room.life.clone(), Offset(room.head?))));
        life.flatten().ok_or(NatsError::NotOpen)
    }

    /// Returns true if the consumer has received everything after `position` of the stream.
    pub(super) fn has_all_since(&self, position: u64) -> bool {
        self.inner.lock().newest_missed <= position
    }

    /// Saves the life of `room`, which must be open.
    pub(super) async fn save(&self, room: &RoomName) -> Result<(), NatsError> {
        let (mut life, head) = self.life(room)?;
        life.head = head.0;
        self.streams.heads.save_life(room, &life).await
    }

    /// Saves the life of `room` soon. If the node stops before, the next one that opens the room derives it from the messages.
    pub(super) fn save_later(&self, room: &RoomName) {
        self.unsaved.lock().insert(room.clone());
        self.unsaved_added.notify_one();
    }

    /// Waits until a room is added to those whose lives must be saved, and takes all of them a [`SAVE_INTERVAL`] later.
    pub(super) async fn take_unsaved(&self) -> HashSet<RoomName> {
        self.unsaved_added.notified().await;
        sleep(SAVE_INTERVAL).await;
        std::mem::take(&mut *self.unsaved.lock())
    }

    /// Waits until the consumer has missed events. Returns the number of the stream after which it did.
    pub(super) async fn next_missed_events(&self) -> u64 {
        loop {
            self.events_missed.notified().await;
            if let Some(after) = self.inner.lock().missed_after.take() {
                return after;
            }
        }
    }

    /// Returns the rooms that are kept open.
    pub(super) fn kept(&self) -> Vec<RoomName> {
        let inner = self.inner.lock();
        let kept = inner.open.values().filter(|room| room.is_kept);
        kept.map(|room| room.name().clone()).collect()
    }

    /// Returns true if a pattern is watched.
    pub(super) fn has_watchers(&self) -> bool {
        !self.inner.lock().watched.is_empty()
    }

    /// Returns those of `rooms` that a watched pattern matches and that are not kept open.
    pub(super) fn only_watched(&self, mut rooms: Vec<RoomName>) -> Vec<RoomName> {
        let inner = self.inner.lock();
        let is_kept = |room: &RoomName| {
            let open = inner.open.get(&token(room));
            open.is_some_and(|room| room.is_kept)
        };
        rooms.retain(|room| inner.watched.is_watched(room) && !is_kept(room));
        rooms
    }

    /// Returns the time without use, in milliseconds, after which a rule deletes the room with `token`.
    pub(super) fn rule_expiry(&self, token: &str) -> Option<u64> {
        let room = room_of(token)?;
        self.limits.of(&room, &Lifecycle::default()).idle
    }

    /// Sets the schedule of the rooms that this node trims; `None` ends the trimming.
    pub(super) fn set_trimming(&self, schedule: Option<TrimSchedule>) {
        self.inner.lock().trim_schedule = schedule;
    }

    /// Returns true if this node trims the rooms of all nodes.
    pub(super) fn is_trimming(&self) -> bool {
        self.inner.lock().trim_schedule.is_some()
    }

    /// Returns the result of `access` to the schedule of the rooms that this node trims; `None` if another node trims them.
    pub(super) fn with_trim_schedule<T>(
        &self,
        access: impl FnOnce(&mut TrimSchedule) -> T,
    ) -> Option<T> {
        self.inner.lock().trim_schedule.as_mut().map(access)
    }

    /// Records that `room` does not expire before `at`, in milliseconds since 1970 UTC; `None` if it does not expire.
    pub(super) fn set_expiry(&self, room: &RoomName, at: Option<u64>) {
        let mut inner = self.inner.lock();
        match at {
            Some(at) => inner.expiring.insert(token(room), at),
            None => inner.expiring.remove(&token(room)),
        };
    }

    /// Records that the room with `token` does not expire before `at`, unless a time is known already.
    pub(super) fn add_expiry(&self, token: &str, at: u64) {
        let mut inner = self.inner.lock();
        inner.expiring.entry(token.to_owned()).or_insert(at);
    }

    /// Removes and returns the rooms that may have expired at `now`, in milliseconds since 1970 UTC.
    pub(super) fn take_expiring(&self, now: u64) -> Vec<RoomName> {
        let mut inner = self.inner.lock();
        let due = inner.expiring.extract_if(|_, at| *at <= now);
        due.filter_map(|(token, _)| room_of(&token)).collect()
    }

    /// Processes `message` of the stream, which has this `subject`. Returns the id of its publish if the room is open,
    /// and adds to `changes`.
    pub(super) fn process(
        &self,
        message: &StreamMessage,
        subject: Option<StreamSubject<'_>>,
        changes: &mut Vec<LogChange>,
    ) -> Option<PublishId> {
        let sequence = message.sequence;
        let mut inner = self.inner.lock();
        let inner = &mut *inner;

        if sequence > inner.position + 1 {
            inner.newest_missed = sequence - 1;
            inner.missed_after.get_or_insert(inner.position);
            self.events_missed.notify_one();
            if !inner.watched.is_empty() {
                inner.watched.forget_heads();
                changes.push(LogChange::Missed(Offset(inner.newest_missed)));
            }
        }
        inner.position = inner.position.max(sequence);

        let newest_missed = inner.newest_missed;
        let open = inner.open.len();
        let (token, deleted) = match subject {
            Some(StreamSubject::Message(token)) => (token, None),
            Some(StreamSubject::Tombstone(token, offset)) => (token, Some(offset)),
            Some(StreamSubject::Use(token)) => {
                if let Some(room) = inner.open.get_mut(token) {
                    room.life.touch(Record::parse(message).entry.at);
                }
                return None;
            }
            Some(StreamSubject::Command) | None => return None,
        };
        let parse = || match deleted {
            Some(offset) => Record::tombstone(message, offset),
            None => Some(Record::parse(message)),
        };
        let epoch = || self.streams.epoch.clone();

        if deleted.is_none() {
            self.record_message(inner, token, message.payload.len());
        }

        if let Some(room) = inner.open.get_mut(token) {
            let record = parse()?;
            let by = record.entry.by;
            if room.is_new(&record) {
                let quota = CacheQuota::of(room.kept(), open);
                let applied = room.apply(record, newest_missed, epoch(), quota);
                for change in &applied {
                    if let LogChange::Appended(_, frames) = change {
                        let head = frames.last().map_or(sequence, |frame| frame.offset().0);
                        inner.watched.set_head(token, head);
                    }
                }
                if let Some(at) = room.expires_at() {
                    let known = inner.expiring.entry(token.to_owned()).or_insert(at);
                    *known = at.min(*known);
                }
                changes.extend(applied);
                if room.head.is_some() {
                    return by;
                }
            }
        }

        // The room is not open, or is being opened and its bounds include the message.
        if !inner.watched.is_empty() {
            changes.extend(inner.watched.apply(token, parse()?, epoch()));
        }
        None
    }

    /// Records that the room with `token` has a new message of `bytes` bytes. It may have to be trimmed, and expire by a rule.
    fn record_message(&self, inner: &mut OpenRooms, token: &str, bytes: usize) {
        if let Some(schedule) = &mut inner.trim_schedule {
            schedule.record_message(token, bytes, &self.limits);
        }
        if self.limits.has_expiry_rules()
            && !inner.expiring.contains_key(token)
            && let Some(idle) = self.rule_expiry(token)
        {
            let at = now_millis().saturating_add(idle);
            inner.expiring.insert(token.to_owned(), at);
        }
    }

    /// Returns the last number that the consumer has processed.
    pub(super) fn position(&self) -> u64 {
        self.inner.lock().position
    }

    /// Waits until the changes up to the last number that the consumer has processed are sent to the hub.
    pub(super) async fn wait_until_sent(&self) {
        let position = self.position();
        let mut reached = self.reached.subscribe();
        // The sender cannot be dropped while `self` exists.
        let _ = reached.wait_for(|reached| *reached >= position).await;
    }

    /// Notifies tasks that wait for a number of the stream. The changes up to [`NatsRooms::position`] are sent to the hub.
    pub(super) fn notify_position(&self) {
        let (position, missed) = {
            let inner = self.inner.lock();
            (inner.position, inner.newest_missed)
        };
        self.missed
            .send_if_modified(|known| std::mem::replace(known, missed) != missed);
        self.reached.send_replace(position);
    }

    /// Waits until the consumer has missed number `sequence` of the stream, or a later one.
    pub(super) async fn wait_for_missed(&self, sequence: u64) {
        let mut missed = self.missed.subscribe();
        // The sender cannot be dropped while `self` exists.
        let _ = missed.wait_for(|missed| *missed >= sequence).await;
    }

    /// Waits until the consumer has processed everything up to `sequence`. Returns immediately if the stream ends
    /// before that.
    pub(super) async fn wait_for(&self, sequence: u64) -> Result<(), NatsError> {
        if self.position() >= sequence {
            return Ok(());
        }

        self.streams.health.check_readable()?;
        if self.streams.last_sequence().await? < sequence {
            return Ok(());
        }

        let mut reached = self.reached.subscribe();
        let reached = reached.wait_for(|position| *position >= sequence);
        match timeout(REQUEST_TIMEOUT, reached).await {
            Ok(_) => Ok(()),
            Err(_elapsed) => {
                let reason = "this node has not received the newest messages yet; try again";
                Err(NatsError::Rejected(reason.to_owned()))
            }
        }
    }
}
