//! A record of stored messages that cannot be read. Each is counted and logged once. Failed reads are logged at a
//! limited rate.

use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, warn};

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::metrics;
use crate::server::store::Damage;

/// The largest number of damaged messages that are remembered, so that each is counted and logged once.
const MAX_KNOWN: usize = 100_000;
/// Time between two log lines about failed reads. Each reader that resumes would cause another.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The unreadable messages found so far. See the [module docs](self).
#[derive(Debug, Default)]
pub(super) struct DamageLog(Mutex<DamageState>);

#[derive(Debug, Default)]
struct DamageState {
    /// The known damaged messages, by room and offset.
    known: HashSet<(i64, u64)>,
    first: Option<Damage>,
    failed_at: Option<Instant>,
}

impl DamageLog {
    /// Records that the messages of `room` at `offsets` cannot be read. `id` is the room's id in the file.
    pub(super) fn record(&self, room: &RoomName, id: i64, offsets: &[Range<u64>], problem: &str) {
        let mut inner = self.0.lock();
        let before = inner.known.len();
        let space = MAX_KNOWN - before;
        let found = offsets.iter().cloned().flatten();
        inner
            .known
            .extend(found.map(|offset| (id, offset)).take(space));
        let new = inner.known.len() - before;
        if new == 0 {
            return;
        }

        metrics::count_damaged_messages(new);
        let first = offsets.iter().map(|range| range.start).min();
        let last = offsets.iter().map(|range| range.end - 1).max();
        error!(
            %room,
            first,
            last,
            messages = new,
            problem,
            "messages cannot be read: the database is damaged; readers are sent a gap. Restore a backup to get them back"
        );
        let total = inner.known.len();
        let newest = inner.first.get_or_insert_with(|| Damage {
            messages: 0,
            room: room.clone(),
            offset: Offset(first.unwrap_or_default()),
            problem: problem.to_owned(),
        });
        newest.messages = total;
    }

    /// Records that a read failed completely, with the reason `problem`.
    pub(super) fn record_failure(&self, problem: &str) {
        metrics::count_store_read_failure();

        let mut inner = self.0.lock();
        let is_quiet = inner
            .failed_at
            .is_some_and(|failed_at| failed_at.elapsed() < LOG_EVERY);

        if !is_quiet {
            inner.failed_at = Some(Instant::now());
            warn!(problem, "could not read from the database");
        }
    }

    /// Returns a summary of the known damage, if any.
    pub(super) fn summary(&self) -> Option<Damage> {
        self.0.lock().first.clone()
    }
}
