//! The feeds of patterns. Each has the newest messages of all matching rooms, present and future, and is shared by the
//! readers of the pattern.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::protocol::{Offset, RoomName, RoomPattern};
use crate::server::hub::feed::DeletionMark;
use crate::server::hub::room::PAGE_BYTES;
use crate::server::hub::{Feed, Rooms};
use crate::server::metrics;
use crate::server::room::{Frame, Tick};
use crate::server::session::CatchUpPage;
use crate::server::store::{Limit, MatchingPage, Store, StoreError};

/// The newest messages of all rooms that match a pattern, and the readers of the pattern.
#[derive(Debug)]
pub struct PatternFeed {
    pattern: RoomPattern,
    store: Arc<dyn Store>,
    feed: Feed,
}

/// The feeds of all patterns that have readers.
#[derive(Debug, Default)]
pub(super) struct PatternFeeds(Mutex<HashMap<RoomPattern, Arc<PatternFeed>>>);

impl PatternFeed {
    /// Returns the pattern.
    pub const fn pattern(&self) -> &RoomPattern {
        &self.pattern
    }

    /// Returns the newest messages, and the readers.
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Reads a page of at most `messages` messages after `after`, for a reader whose next message is no longer in the
    /// ring. Trimmed messages up to `known` are not reported.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub(super) async fn catch_up(
        &self,
        after: Offset,
        known: Offset,
        messages: usize,
    ) -> Result<(CatchUpPage, DeletionMark), StoreError> {
        metrics::count_catch_up();
        let mark = self.feed.deletion_mark();
        let limit = Limit {
            messages,
            bytes: PAGE_BYTES,
        };

        let page = self
            .store
            .read_matching(&self.pattern, after, known, limit)
            .await?;
        let MatchingPage {
            frames,
            more,
            until,
            gone,
            trimmed,
            damaged,
        } = page;
        let page = CatchUpPage {
            room: self.pattern.clone().into(),
            after,
            frames,
            more,
            upper_bound: until,
            gone,
            trimmed,
            damaged: Some(damaged),
            is_linked: false,
        };
        Ok((page, mark))
    }
}

impl PatternFeeds {
    /// Returns the feed of `pattern`. A new one begins after the messages that are already applied to the rings of their
    /// rooms; earlier ones are read from the store.
    pub(super) fn open(
        &self,
        pattern: &RoomPattern,
        store: &Arc<dyn Store>,
        rooms: &Rooms,
    ) -> Arc<PatternFeed> {
        let mut feeds = self.0.lock();
        if let Some(feed) = feeds.get(pattern) {
            return feed.clone();
        }

        let complete_from = store.watch(pattern);
        let head = rooms
            .applied()
            .max(Offset(complete_from.0.saturating_sub(1)));
        let feed = Arc::new(PatternFeed {
            pattern: pattern.clone(),
            store: store.clone(),
            feed: rooms.new_feed(head),
        });
        feeds.insert(pattern.clone(), feed.clone());
        feed
    }

    /// Appends `frames` of `room`, which are in the room's ring, to the feeds that match. Then records in `rooms` that
    /// they are in all rings. Returns those feeds.
    pub(super) fn append<'a>(
        &self,
        room: &RoomName,
        frames: impl Iterator<Item = &'a Arc<Frame>> + Clone,
        rooms: &Rooms,
    ) -> Vec<Arc<PatternFeed>> {
        let newest = frames.clone().last().map(|frame| frame.offset());
        let Some(newest) = newest else {
            return Vec::new();
        };

        // Under the lock, so that a feed that is opened meanwhile begins either before or after all of them.
        let feeds = self.0.lock();
        let matching = feeds.values().filter(|feed| feed.pattern.matches(room));
        let matching: Vec<_> = matching.cloned().collect();
        for feed in &matching {
            feed.feed.append_unlinked(frames.clone());
        }
        rooms.set_applied(newest);
        matching
    }

    /// Returns the feeds that match `room`.
    pub(super) fn matching(&self, room: &RoomName) -> Vec<Arc<PatternFeed>> {
        let feeds = self.0.lock();
        let matching = feeds.values().filter(|feed| feed.pattern.matches(room));
        matching.cloned().collect()
    }

    /// Drops the signals of all feeds that have waited too long for slow readers.
    pub(super) fn expire_signals(&self, now: Tick) {
        for feed in self.0.lock().values() {
            feed.feed.expire_signals(now);
        }
    }

    /// Removes the feeds that have no readers.
    pub(super) fn remove_unused(&self, store: &dyn Store) {
        self.0.lock().retain(|pattern, feed| {
            let is_used = Arc::strong_count(feed) > 1;
            if !is_used {
                store.unwatch(pattern);
            }
            is_used
        });
    }
}
