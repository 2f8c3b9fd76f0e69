//! A record of stored messages that cannot be read. Each is counted and logged once. Failed reads are logged at a
//! limited rate.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, warn};

use crate::protocol::RoomName;
use crate::server::metrics;
use crate::server::store::Damage;
use crate::server::store::sqlite::scan::Unreadable;

/// The largest number of damaged messages that are remembered, so that each is counted and logged once.
const MAX_KNOWN: usize = 100_000;
/// Time between two log lines about failed reads. Each reader that resumes would cause another.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The unreadable messages found so far. See the [module docs](self).
#[derive(Debug, Default)]
pub(super) struct DamageLog(Mutex<DamageState>);

#[derive(Debug, Default)]
struct DamageState {
    /// The known damaged messages, by room and number.
    known: HashSet<(i64, u64)>,
    first: Option<Damage>,
    failed_at: Option<Instant>,
}

impl DamageLog {
    /// Records the `unreadable` messages of `room`. `id` is the room's id in the file.
    pub(super) fn record(&self, room: &RoomName, id: i64, unreadable: &Unreadable) {
        let Unreadable {
            numbers,
            from,
            problem,
        } = unreadable;
        if numbers.is_empty() {
            return;
        }

        let mut inner = self.0.lock();
        let before = inner.known.len();
        let space = MAX_KNOWN - before;
        let found = numbers.iter().cloned().flatten();
        inner
            .known
            .extend(found.map(|number| (id, number)).take(space));
        let new = inner.known.len() - before;
        if new == 0 {
            return;
        }

        metrics::count_damaged_messages(new);
        let problem = problem.as_deref().unwrap_or_default();
        error!(
            %room,
            %from,
            messages = new,
            problem,
            "messages cannot be read: the database is damaged; readers are sent a gap. Restore a backup to get them back"
        );
        let total = inner.known.len();
        let newest = inner.first.get_or_insert_with(|| Damage {
            messages: 0,
            room: room.clone(),
            offset: *from,
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
