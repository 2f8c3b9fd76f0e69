//! The delivery of signals to the readers of this node.

use std::sync::Arc;

use crate::protocol::Signal;
use crate::server::hub::Rooms;
use crate::server::hub::fanout::{Fanout, sources_of};
use crate::server::hub::pattern_feed::PatternFeeds;
use crate::server::run_clock::RunClock;

/// The delivery of signals. They are not stored: those of a room without readers go nowhere.
pub(super) struct SignalDelivery {
    pub(super) rooms: Arc<Rooms>,
    pub(super) patterns: Arc<PatternFeeds>,
    pub(super) fanout: Arc<Fanout>,
    pub(super) clock: RunClock,
}

impl SignalDelivery {
    /// Sends `signal` to the readers of its room and of the patterns that match it.
    pub(super) fn deliver(&self, signal: Signal) {
        let now = self.clock.now();
        let signal = Arc::new(signal);

        for source in sources_of(&signal.room, &self.rooms, &self.patterns) {
            if source.feed().push_signal(&signal, now) {
                self.fanout.queue(source);
            }
        }
    }
}
