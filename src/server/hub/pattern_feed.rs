//! The feeds of patterns. Each has the newest messages of all matching rooms, present and future, and is shared by the
//! readers of the pattern.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::protocol::{Offset, RoomName, RoomPattern};
use crate::server::hub::feed::DeletionMark;
use crate::server::hub::{Feed, Refusal, Rooms};
use crate::server::metrics;
use crate::server::room::{Frame, PatternMap, Tick};
use crate::server::session::CatchUpPage;
use crate::server::store::{Limit, MatchingPage, MatchingRange, Store, StoreError};

/// The newest messages of all rooms that match a pattern, and the readers of the pattern.
#[derive(Debug)]
pub struct PatternFeed {
    pattern: RoomPattern,
    store: Arc<dyn Store>,
    feed: Feed,
}

/// The feeds of all patterns that have readers.
#[derive(Debug)]
pub(super) struct PatternFeeds {
    max: usize,
    feeds: Mutex<PatternMap<Arc<PatternFeed>>>,
}

impl PatternFeed {
    /// Returns the pattern.
    pub const fn pattern(&self) -> &RoomPattern {
        &self.pattern
    }

    /// Returns the newest messages, and the readers.
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Reads a page of at most `limit` messages after `after`, for a reader whose next message is no longer in the
    /// ring. Trimmed messages up to `known` are not reported.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub(super) async fn catch_up(
        &self,
        after: Offset,
        known: Offset,
        limit: Limit,
    ) -> Result<(CatchUpPage, DeletionMark), StoreError> {
        metrics::count_catch_up();
        let mark = self.feed.deletion_mark();
        let rooms = [self.pattern.clone().into()];
        let page = self
            .store
            .read_matching(&rooms, MatchingRange::after(after, known), limit)
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
    /// Creates an empty set for at most `max` patterns.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            feeds: Mutex::default(),
        }
    }

    /// Returns the feed of `pattern`. A new one begins after the messages that are already applied to the rings of their
    /// rooms; earlier ones are read from the store.
    ///
    /// # Errors
    /// [`Refusal::TooManyPatterns`].
    pub(super) fn open(
        &self,
        pattern: &RoomPattern,
        store: &Arc<dyn Store>,
        rooms: &Rooms,
    ) -> Result<Arc<PatternFeed>, Refusal> {
        let mut feeds = self.feeds.lock();
        if let Some(feed) = feeds.get(pattern) {
            return Ok(feed.clone());
        }

        if feeds.len() >= self.max {
            remove_unused(&mut feeds, &**store);
        }
        if feeds.len() >= self.max {
            return Err(Refusal::TooManyPatterns);
        }

        let complete_from = store.watch(pattern);
        let head = rooms
            .applied()
            .max(Offset(complete_from.0.saturating_sub(1)));
        let feed = PatternFeed {
            pattern: pattern.clone(),
            store: store.clone(),
            feed: rooms.new_feed(head),
        };
        Ok(feeds.get_or_insert(pattern, Arc::new(feed)).clone())
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
        let feeds = self.feeds.lock();
        let matching: Vec<_> = feeds.matching(room).cloned().collect();
        for feed in &matching {
            feed.feed.append_unlinked(frames.clone());
        }
        rooms.set_applied(newest);
        matching
    }

    /// Returns the feeds that match `room`.
    pub(super) fn matching(&self, room: &RoomName) -> Vec<Arc<PatternFeed>> {
        self.feeds.lock().matching(room).cloned().collect()
    }

    /// Returns all feeds.
    pub(super) fn all(&self) -> Vec<Arc<PatternFeed>> {
        self.feeds.lock().values().cloned().collect()
    }

    /// Restarts all feeds after `offset`, because messages up to there are missing in them: readers that are not there yet
    /// read from the store. Then records in `rooms` that nothing up to `offset` is still to be applied. Returns the feeds.
    pub(super) fn restart_at(&self, offset: Offset, rooms: &Rooms) -> Vec<Arc<PatternFeed>> {
        // Under the lock, as in `append`.
        let feeds = self.feeds.lock();
        let all: Vec<_> = feeds.values().cloned().collect();
        for feed in &all {
            feed.feed.restart_at(offset);
        }
        rooms.set_applied(offset);
        all
    }

    /// Drops the signals of all feeds that have waited too long for slow readers.
    pub(super) fn expire_signals(&self, now: Tick) {
        for feed in self.feeds.lock().values() {
            feed.feed.expire_signals(now);
        }
    }

    /// Removes the feeds that have no readers.
    pub(super) fn remove_unused(&self, store: &dyn Store) {
        remove_unused(&mut self.feeds.lock(), store);
    }
}

/// Removes the feeds that have no readers. References to a feed are only obtained under the lock of `feeds`, so a feed with
/// a single one is not being opened.
fn remove_unused(feeds: &mut PatternMap<Arc<PatternFeed>>, store: &dyn Store) {
    feeds.retain(|feed| {
        let is_used = Arc::strong_count(feed) > 1;
        if !is_used {
            store.unwatch(&feed.pattern);
        }
        is_used
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{UserId, samples};
    use crate::server::hub::Hub;
    use crate::server::room::{Draft, ExcludedRooms, Lagged};
    use crate::server::run_clock::RunClock;

    fn pattern(text: &str) -> RoomPattern {
        RoomPattern::parse(text).expect("a pattern")
    }

    fn frame(room: &RoomName, offset: u64) -> Arc<Frame> {
        let draft = Draft::text(UserId::guest(1), None, "x");
        Arc::new(Frame::of_test(room, draft, offset))
    }

    #[test]
    fn after_a_hole_readers_of_patterns_read_from_the_store_what_precedes_it() {
        let hub = Hub::in_memory(10, RunClock::new());
        let (rooms, store) = (&hub.0.rooms, &hub.0.store);
        let room = samples::room("b-1");
        let feeds = PatternFeeds::new(1);
        let feed = feeds.open(&pattern("b-*"), store, rooms).expect("opened");

        feeds.append(&room, [frame(&room, 3)].iter(), rooms);
        assert_eq!(feeds.restart_at(Offset(5), rooms).len(), 1);
        assert_eq!(rooms.applied(), Offset(5));
        feeds.append(&room, [frame(&room, 6)].iter(), rooms);

        let feed = feed.feed();
        let lagged = Lagged { dropped: Offset(5) };
        let next = |after| feed.next_offset(Offset(after), &ExcludedRooms::NONE);
        assert_eq!(next(3), Err(lagged));
        assert_eq!(next(5), Ok(Some(Offset(6))));
        assert_eq!(rooms.applied(), Offset(6));
    }

    #[test]
    fn a_pattern_takes_the_place_of_one_without_readers() {
        let hub = Hub::in_memory(10, RunClock::new());
        let (rooms, store) = (&hub.0.rooms, &hub.0.store);
        let feeds = PatternFeeds::new(1);
        let first = feeds.open(&pattern("a*"), store, rooms).expect("opened");

        assert!(feeds.open(&pattern("a*"), store, rooms).is_ok());
        let refused = feeds.open(&pattern("b*"), store, rooms);
        assert_eq!(refused.err(), Some(Refusal::TooManyPatterns));
        drop(first);
        assert!(feeds.open(&pattern("b*"), store, rooms).is_ok());
    }
}
