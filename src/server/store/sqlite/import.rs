//! Adding messages from elsewhere to a room of a file that no server has open.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::executor::block_on;
use serde::Deserialize;

use crate::protocol::Body;
use crate::protocol::Key;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::room::Draft;
use crate::server::store::sqlite::{OpenError, SqliteSettings, SqliteStore};
use crate::server::store::{Store, StoreError, Stored};

/// Messages that wait for the writer at once.
const AHEAD: usize = 1024;
/// Latest time of a message, in milliseconds since 1970 UTC: SQLite's integers have a sign.
const MAX_AT: u64 = i64::MAX as u64;

/// A message as [`export`](super::export()) writes it, or a part of one: where it stood is not asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImportLine {
    /// Who said it; `anonymous` without it.
    pub from: Option<UserId>,
    /// What was said: `text`, or `data` in base64.
    #[serde(flatten)]
    pub body: Body,
    /// The sender's key.
    pub key: Option<Key>,
    /// When it was said, in milliseconds since 1970 UTC; now without it.
    pub at: Option<u64>,
}

/// What became of the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// New in the room.
    pub stored: usize,
    /// Stored before, by their id and key.
    pub duplicates: usize,
}

/// Why entries could not be added.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The `data` of an entry is not base64 (RFC 4648 section 4).
    #[error("line {line}: `data` is not base64 (RFC 4648 section 4); nothing was stored")]
    Data {
        /// From 1.
        line: usize,
    },
    /// The `at` of an entry is not a number that the database can hold.
    #[error(
        "line {line}: `at` is {at}; the limit is {limit}, in milliseconds since 1970 UTC; nothing was stored",
        limit = MAX_AT
    )]
    Time {
        /// From 1.
        line: usize,
        /// The value.
        at: u64,
    },
    /// Storing failed on the way; what came before is stored.
    #[error("importing failed after {stored} messages")]
    Store {
        /// How many are in the room.
        stored: usize,
        /// Why.
        source: StoreError,
    },
}

impl ImportLine {
    /// Returns the message to store and its time, `now` if it has none; `None` for a deleted message. `line` is where
    /// the entry was read.
    fn draft(self, line: usize, now: u64) -> Result<Option<(u64, Draft)>, ImportError> {
        let at = self.at.unwrap_or(now);
        if at > MAX_AT {
            return Err(ImportError::Time { line, at });
        }

        let from = self.from.unwrap_or_else(UserId::anonymous);
        let draft = match self.body {
            Body::Text(text) => Draft::text(from, self.key, &text),
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

/// Adds `entries`, each with the number of its line, to `room`, behind what is there, with offsets of its own. `now` is
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
