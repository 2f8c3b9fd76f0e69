//! The way from the store to the readers: the changes of the store are applied to the rooms in memory, and the
//! messages are then sent in passes that never wait for a client.
//!
//! A pass visits all readers of a room or pattern once and writes all pending messages to each in one system call.
//! Messages that are published meanwhile are sent by the next pass, so the batch grows with the load.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::protocol::{Push, RoomName};
use crate::server::hub::pattern_feed::PatternFeeds;
use crate::server::hub::room_events::{RoomEvent, RoomEvents};
use crate::server::hub::subscriber::notify_all;
use crate::server::hub::{Feed, Notice, PatternFeed, Room, Rooms, Source};
use crate::server::metrics;
use crate::server::store::{Changes, LogChange, Stored};

/// The largest number of commits that are applied before a pass is queued.
const COMMITS_AT_ONCE: usize = 64;

/// The number of writes before yielding to other tasks on the same thread, which take a few milliseconds. A smaller
/// number would be slower: each yield wakes another thread to look for work, which costs as much as many writes.
pub(super) const WRITES_PER_TURN: usize = 1024;

/// The rooms and patterns whose readers have pending messages. Each belongs to one shard, so there is one pass over it at
/// a time. Passes of different shards may reach the same connection; the lock of its state orders them.
pub(super) struct Fanout {
    shards: Box<[FanoutShard]>,
    started: Instant,
    /// The receivers of closed rooms that are no connections.
    events: RoomEvents,
}

/// A queue of rooms and patterns for one task.
#[derive(Default)]
struct FanoutShard {
    due: Mutex<Vec<Source>>,
    wake: Notify,
}

impl Fanout {
    /// Creates `shards` shards. Closed rooms are sent to `events`.
    pub(super) fn new(shards: u16, events: RoomEvents) -> Self {
        Self {
            shards: (0..shards).map(|_| FanoutShard::default()).collect(),
            started: Instant::now(),
            events,
        }
    }

    /// Returns the number of shards.
    pub(super) const fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Applies `changes` to `rooms` and `patterns` in order, until the store is dropped. A message is appended to the rings
    /// first, and then passes are queued.
    pub(super) async fn apply_all(
        &self,
        mut changes: Changes,
        rooms: &Rooms,
        patterns: &PatternFeeds,
    ) {
        let mut commits = Vec::new();
        while changes.recv_many(&mut commits, COMMITS_AT_ONCE).await > 0 {
            let changes = commits.drain(..).flatten();
            let published: Vec<Arc<Room>> = changes
                .filter_map(|change| self.apply(change, rooms, patterns))
                .collect();
            if published.is_empty() {
                continue;
            }

            // Yielding lets publishers continue with their next messages, so that one pass sends both.
            yield_now().await;
            for room in published {
                if room.publish_finished() {
                    self.queue(Source::Room(room));
                }
            }
        }
    }

    /// Applies `change` or delivers the result. Returns the room if a publish of this node is finished.
    fn apply(
        &self,
        change: LogChange,
        rooms: &Rooms,
        patterns: &PatternFeeds,
    ) -> Option<Arc<Room>> {
        match change {
            LogChange::Appended(room, frames) => {
                let open = rooms.get(&room);
                if let Some(open) = &open {
                    open.feed().append(frames.iter());
                }
                self.queue_patterns(patterns.append(&room, frames.iter(), rooms));
                self.queue(Source::Room(open?));
            }

            LogChange::Deleted(room, offset, at) => {
                let mut sources = sources_of(&room, rooms, patterns);
                sources.retain(|source| source.feed().redact(offset, at));
                if !sources.is_empty() {
                    // It takes a while to notify many readers, so a separate task does it.
                    tokio::spawn(async move {
                        let readers = sources.iter().map(|source| source.feed().readers());
                        let readers: Vec<_> = readers.collect();
                        let notice = Notice::new(Push::Deleted { room, offset, at });
                        notify_all(&readers, &notice).await;
                    });
                }
            }

            LogChange::AppendFinished(call, result) => {
                let room = rooms.get(&call.room);
                let frames = result.iter().flatten().filter_map(Stored::frame);
                if let Some(room) = &room {
                    room.feed().append(frames.clone());
                }
                self.queue_patterns(patterns.append(&call.room, frames, rooms));
                call.deliver(result);
                return room;
            }
            LogChange::DeleteFinished(call, result) => call.deliver(result),
            LogChange::Missed(until) => self.queue_patterns(patterns.restart_at(until, rooms)),
            // Dropped after everything before it is applied.
            LogChange::Barrier(_) => {}

            LogChange::Closed(room, offset) => {
                self.events.send(|| RoomEvent::Closed {
                    room: room.clone(),
                    offset,
                });
                let open = rooms.get(&room).map(Source::Room);
                let patterns = patterns.matching(&room).into_iter().map(Source::Pattern);
                for source in open.into_iter().chain(patterns) {
                    source.feed().close(&room, offset);
                    self.queue(source);
                }
            }
            LogChange::RoomDeleted(room, offset) => {
                // Their rings have messages of the room.
                for pattern in patterns.matching(&room) {
                    pattern.feed().truncate(0);
                    self.queue(Source::Pattern(pattern));
                }
                let open = rooms.get(&room)?;
                open.feed().clear(offset);
                let readers = open.feed().readers();
                // It takes a while to notify many readers, so a separate task does it.
                tokio::spawn(async move { readers.unsubscribe(&room).await });
            }
            LogChange::Finished(delivery) => delivery.deliver(),
        }

        None
    }

    /// Queues a pass over the readers of each of `patterns`.
    fn queue_patterns(&self, patterns: Vec<Arc<PatternFeed>>) {
        for pattern in patterns {
            self.queue(Source::Pattern(pattern));
        }
    }

    /// Queues a pass over the readers of `source`, unless it has none or a pass is already queued. A reader that is added
    /// later reads what is in the ring then.
    pub(super) fn queue(&self, source: Source) {
        let feed = source.feed();
        if feed.readers().len() == 0 || feed.is_fanout_queued.swap(true, Ordering::AcqRel) {
            return;
        }

        feed.fanout_queued_at
            .store(self.micros(), Ordering::Relaxed);
        let shard = &self.shards[usize::from(feed.shard)];
        shard.due.lock().push(source);
        shard.wake.notify_one();
    }

    /// Runs the passes of one shard, until dropped.
    pub(super) async fn run(&self, shard: usize) {
        let shard = &self.shards[shard];
        let mut due = Vec::new();
        let mut writes = 0;
        loop {
            std::mem::swap(&mut due, &mut *shard.due.lock());
            if due.is_empty() {
                shard.wake.notified().await;
                // The wait has let other tasks run.
                writes = 0;
            }

            for source in due.drain(..) {
                let since = source.feed().fanout_queued_at.load(Ordering::Relaxed);
                pass(source.feed(), &mut writes).await;
                let took = self.micros().saturating_sub(since);
                metrics::record_fanout_latency(Duration::from_micros(took));
            }
        }
    }

    /// Returns the time since the start of the fan-out, in microseconds.
    fn micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

/// Returns the sources of the messages of `room`: the room if it is in memory, and the patterns that match it.
pub(super) fn sources_of(room: &RoomName, rooms: &Rooms, patterns: &PatternFeeds) -> Vec<Source> {
    let open = rooms.get(room).map(Source::Room);
    let patterns = patterns.matching(room).into_iter().map(Source::Pattern);
    open.into_iter().chain(patterns).collect()
}

/// Runs one pass over the readers of `feed`. `writes` counts the writes since the last yield, including those of earlier
/// passes.
async fn pass(feed: &Feed, writes: &mut usize) {
    // Cleared before the head is read: messages that are appended later queue the feed again.
    feed.is_fanout_queued.store(false, Ordering::Release);

    let mut batch = feed.fanout_batch();
    for reader in feed.readers().iter() {
        if *writes == WRITES_PER_TURN {
            *writes = 0;
            yield_now().await;
        }
        *writes += 1;
        reader.flush(&mut batch);
    }
}
