//! The row of a room in the table `rooms`.

use rusqlite::{Connection, Row};

use crate::protocol::Offset;
use crate::server::store::Lifecycle;
use crate::server::store::room_limits::RoomLimits;

/// The state of one room: its row in `rooms`, and a value that avoids reading its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoomRow {
    /// The room's id in the file.
    pub(super) id: i64,
    /// The offset after which the room's offsets begin: an earlier room of the same name may have used those up to it.
    pub(super) base: u64,
    /// The newest trimmed offset; `base` if there is none.
    pub(super) gone: u64,
    /// The oldest offset kept; 0 if nothing is kept.
    pub(super) first: u64,
    /// The newest offset; `base` if there is none.
    pub(super) head: u64,
    /// The number of trimmed messages.
    pub(super) trimmed: u64,
    /// The number of all messages, trimmed ones included.
    pub(super) count: u64,
    /// The total size of the kept bodies in bytes.
    pub(super) bytes: u64,
    /// The time at which the newest message was stored, by the store's clock.
    pub(super) clock: u64,
    /// A lower bound of the time at which the kept messages were stored, by the store's clock.
    pub(super) oldest: u64,
    /// The newest offset when the row was last saved.
    pub(super) saved: u64,
    /// True if the room was created, or has an expiry of its own.
    pub(super) has_settings: bool,
    /// True if the room accepts no more messages.
    pub(super) is_closed: bool,
    /// The limits of its messages and of its life.
    pub(super) limits: RoomLimits,
}

/// The columns of a [`RoomRow`] in the table `rooms`, for [`RoomRow::of`].
pub(super) const COLUMNS: &str = "id, base, gone, first, head, trimmed, count, bytes, clock";

impl RoomRow {
    /// Creates the state of a new room without messages, whose offsets begin after `base`.
    pub(super) const fn new(id: i64, base: u64, limits: RoomLimits) -> Self {
        Self {
            id,
            base,
            gone: base,
            first: 0,
            head: base,
            trimmed: 0,
            count: 0,
            bytes: 0,
            clock: 0,
            oldest: 0,
            saved: base,
            has_settings: false,
            is_closed: false,
            limits,
        }
    }

    /// Returns the offset of the newest message; 0 if there was none.
    pub(super) const fn newest(&self) -> Offset {
        Offset(if self.count == 0 { 0 } else { self.head })
    }

    /// Returns the number of kept messages.
    pub(super) const fn kept(&self) -> u64 {
        self.count - self.trimmed
    }

    /// Returns true if the room has, or had, messages, or was created.
    pub(super) const fn is_known(&self) -> bool {
        self.count > 0 || self.has_settings
    }

    /// Returns true if the room may be dropped: it keeps no messages and no state besides them.
    pub(super) const fn is_empty(&self) -> bool {
        self.kept() == 0 && !self.has_settings && !self.is_closed
    }

    /// Sets the values that follow from `lifecycle`, with which the room has `limits`.
    pub(super) const fn set_lifecycle(&mut self, lifecycle: &Lifecycle, limits: RoomLimits) {
        self.has_settings = lifecycle.settings.is_some();
        self.is_closed = lifecycle.is_closed;
        self.limits = limits;
    }

    /// Returns true if messages in the room may be past the limits. `now` is the current time by the store's clock.
    pub(super) const fn is_due(&self, now: u64) -> bool {
        self.limits
            .is_exceeded(self.kept(), self.bytes, self.oldest, now)
    }

    /// Adds a message of `bytes` bytes at `offset`, stored at `clock`.
    pub(super) const fn add(&mut self, offset: u64, bytes: u64, clock: u64) {
        if self.kept() == 0 {
            self.first = offset;
            self.oldest = clock;
        }
        self.head = offset;
        self.count += 1;
        self.bytes += bytes;
        self.clock = clock;
    }

    /// Reads the state from a row of [`COLUMNS`], without the flags of its lifecycle.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let head = row.get(4)?;
        Ok(Self {
            id: row.get(0)?,
            base: row.get(1)?,
            gone: row.get(2)?,
            first: row.get(3)?,
            head,
            trimmed: row.get(5)?,
            count: row.get(6)?,
            bytes: row.get(7)?,
            clock: row.get(8)?,
            oldest: 0,
            saved: head,
            has_settings: false,
            is_closed: false,
            limits: RoomLimits::NONE,
        })
    }

    /// Writes the state to the file.
    pub(super) fn save(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let update = "UPDATE rooms SET gone = ?2, first = ?3, head = ?4, trimmed = ?5, count = ?6, bytes = ?7,
            clock = ?8 WHERE id = ?1";
        connection.prepare_cached(update)?.execute((
            self.id,
            self.gone,
            self.first,
            self.head,
            self.trimmed,
            self.count,
            self.bytes,
            self.clock,
        ))?;
        self.saved = self.head;
        Ok(())
    }

    /// Returns true if the row lacks messages in the file.
    pub(super) const fn is_unsaved(&self) -> bool {
        self.saved < self.head
    }
}
