//! Import of messages into a room of a database file that no server has open. The messages get new offsets after the
//! existing ones. Deleted messages are skipped, and messages with a known id and key are counted as duplicates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::executor::block_on;
use serde::Deserialize;

use crate::protocol::{Body, Key, RoomName, UserId};
use crate::server::room::Draft;
use crate::server::store::sqlite::{OpenError, SqliteSettings, SqliteStore};
use crate::server::store::{Store, StoreError, Stored};

/// The largest number of messages that wait for the writer.
const AHEAD: usize = 1024;
/// Latest time of a message, in milliseconds since 1970 UTC: SQLite's integers are signed.
const MAX_AT: u64 = i64::MAX as u64;

/// A message as [`export`](super::export()) writes it. Only the payload is required, and the original offset is
/// ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImportLine {
    /// The sender; `anonymous` if missing.
    pub from: Option<UserId>,
    /// The payload: `text`, or `data` in base64.
    #[serde(flatten)]
    pub body: Body,
    /// The sender's key.
    pub key: Option<Key>,
    /// The time at which it was sent, in milliseconds since 1970 UTC; the current time if missing.
    pub at: Option<u64>,
}

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The number of new messages.
    pub stored: usize,
    /// The number of messages that were already stored, by sender id and key.
    pub duplicates: usize,
}

/// The reason why an import failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The `data` of an entry is not base64 (RFC 4648 section 4).
    #[error("line {line}: `data` is not base64 (RFC 4648 section 4); nothing was stored")]
    Data {
        /// The line number, from 1.
        line: usize,
    },
    /// The `at` of an entry is too large for the database.
    #[error(
        "line {line}: `at` is {at}; the limit is {limit}, in milliseconds since 1970 UTC; nothing was stored",
        limit = MAX_AT
    )]
    Time {
        /// The line number, from 1.
        line: usize,
        /// The value.
        at: u64,
    },
    /// A write failed during the import. Earlier messages are stored.
    #[error("importing failed after {stored} messages")]
    Store {
        /// The number of messages stored before the failure.
        stored: usize,
        /// The error of the store.
        source: StoreError,
    },
}

impl ImportLine {
    /// Returns the message to store and its time, `now` if it has none; `None` for a deleted message. `line` is the
    /// line number of the entry.
    fn draft(self, line: usize, now: u64) -> Result<Option<(u64, Draft)>, ImportError> {
        let at = self.at.unwrap_or(now);
        if at > MAX_AT {
            return Err(ImportError::Time { line, at });
        }

        let from = self.from.unwrap_or_else(UserId::anonymous);
        let draft = match self.body {
            Body::Text(text) => Draft::text(from, self.key, text),
            Body::Deleted(_) => return Ok(None),
            Body::Data(data) => {
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|_| ImportError::Data { line })?;
                Draft::binary(from, &bytes)
            }
        };
        Ok(Some((at, draft)))
    }
}

/// Appends `entries`, each with its line number, to `room`, with new offsets. `now` is the current time in
/// milliseconds since 1970 UTC.
///
/// # Errors
/// If a server has the file open, or an entry cannot be stored.
pub fn import(
    settings: &SqliteSettings,
    room: &RoomName,
    entries: Vec<(usize, ImportLine)>,
    now: u64,
) -> Result<Imported, ImportError> {
    let drafts = entries
        .into_iter()
        .filter_map(|(line, entry)| entry.draft(line, now).transpose())
        .collect::<Result<Vec<_>, ImportError>>()?;

    let store = SqliteStore::open(settings)?;
    let mut imported = Imported::default();
    let mut drafts = drafts.into_iter().peekable();

    while drafts.peek().is_some() {
        let some = drafts.by_ref().take(AHEAD);
        let appends: Vec<_> = some
            .map(|(at, draft)| store.append(room, vec![draft], at))
            .collect();
        for append in appends {
            let stored = block_on(append).map_err(|source| ImportError::Store {
                stored: imported.stored,
                source,
            })?;
            match stored.first() {
                Some(Stored::New(_)) => imported.stored += 1,
                _ => imported.duplicates += 1,
            }
        }
    }
    store.close();
    Ok(imported)
}
