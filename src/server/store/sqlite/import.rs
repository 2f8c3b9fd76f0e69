//! Import of messages into a room of a database file that no server has open. The messages get new offsets after the
//! existing ones, and references between them are adapted. Deleted messages are skipped, and messages with a known id
//! and key are counted as duplicates.

use std::collections::HashMap;

use futures::executor::block_on;
use serde::Deserialize;

use crate::protocol::{Body, BodyError, Json, MessageFields, Offset, RoomName, UserId};
use crate::server::room::{Content, ContentError, Draft};
use crate::server::store::sqlite::{OpenError, SqliteSettings, SqliteStore};
use crate::server::store::{Store, StoreError, StoreFuture, Stored};

/// The largest number of messages that wait for the writer.
const AHEAD: usize = 1024;
/// Latest time of a message, in milliseconds since 1970 UTC: SQLite's integers are signed.
const MAX_AT: u64 = i64::MAX as u64;

/// A message as [`export`](super::export()) writes it. Only the content is required.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ImportFields")]
pub struct ImportLine {
    /// The original offset, to which other lines may refer.
    pub offset: Option<Offset>,
    /// The sender; `anonymous` if missing.
    pub from: Option<UserId>,
    /// The content.
    pub body: Body,
    /// The optional fields.
    pub fields: MessageFields,
    /// The time at which it was sent, in milliseconds since 1970 UTC; the current time if missing.
    pub at: Option<u64>,
}

/// The fields of an [`ImportLine`] in JSON.
#[derive(Deserialize)]
struct ImportFields {
    offset: Option<Offset>,
    from: Option<UserId>,
    text: Option<String>,
    #[serde(default, deserialize_with = "Json::deserialize_exact_option")]
    json: Option<Json>,
    data: Option<String>,
    #[serde(default)]
    deleted: bool,
    #[serde(flatten)]
    fields: MessageFields,
    at: Option<u64>,
}

impl TryFrom<ImportFields> for ImportLine {
    type Error = BodyError;
    fn try_from(line: ImportFields) -> Result<Self, BodyError> {
        let body = if line.deleted {
            Body::Deleted(true)
        } else {
            Body::from_fields(line.text, line.json, line.data)?
        };

        Ok(Self {
            offset: line.offset,
            from: line.from,
            body,
            fields: line.fields,
            at: line.at,
        })
    }
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
    /// The content of an entry is invalid.
    #[error("line {line}: {reason}; nothing was stored")]
    Content {
        /// The line number, from 1.
        line: usize,
        /// The reason.
        reason: ContentError,
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

/// A valid entry.
struct ImportMessage {
    offset: Option<Offset>,
    at: u64,
    from: UserId,
    content: Content,
    fields: MessageFields,
}

impl ImportLine {
    /// Returns the message to store, with the time `now` if it has none; `None` for a deleted message. `line` is the
    /// line number of the entry.
    fn check(self, line: usize, now: u64) -> Result<Option<ImportMessage>, ImportError> {
        let at = self.at.unwrap_or(now);
        if at > MAX_AT {
            return Err(ImportError::Time { line, at });
        }
        if matches!(self.body, Body::Deleted(_)) {
            return Ok(None);
        }

        let content =
            Content::try_from(self.body).map_err(|reason| ImportError::Content { line, reason })?;
        Ok(Some(ImportMessage {
            offset: self.offset,
            at,
            from: self.from.unwrap_or_else(UserId::anonymous),
            content,
            fields: self.fields,
        }))
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
    let messages = entries
        .into_iter()
        .filter_map(|(line, entry)| entry.check(line, now).transpose())
        .collect::<Result<Vec<_>, ImportError>>()?;

    let store = SqliteStore::open(settings)?;
    let mut appends = Appends::default();
    for message in messages {
        appends.append(&store, room, message)?;
    }
    appends.finish()?;

    store.close();
    Ok(appends.imported)
}

/// The appends of an import.
#[derive(Default)]
struct Appends {
    /// The appends that the store may not have finished, each with the original offset.
    pending: Vec<(Option<Offset>, StoreFuture<Vec<Stored>>)>,
    /// The new offset of each original one.
    offsets: HashMap<Offset, Offset>,
    imported: Imported,
}

impl Appends {
    /// Starts to append `message` to `room`.
    fn append(
        &mut self,
        store: &SqliteStore,
        room: &RoomName,
        message: ImportMessage,
    ) -> Result<(), ImportError> {
        let mut fields = message.fields;
        fields.reply_to = self.new_offset(fields.reply_to)?;
        fields.edits = self.new_offset(fields.edits)?;

        let draft = Draft::new(message.from, message.content, fields);
        let append = store.append(room, vec![draft], message.at);
        self.pending.push((message.offset, append));
        if self.pending.len() == AHEAD {
            self.finish()?;
        }
        Ok(())
    }

    /// Returns the new offset of the message that had the offset `original`; `None` if it was not imported.
    fn new_offset(&mut self, original: Option<Offset>) -> Result<Option<Offset>, ImportError> {
        let is_original = |(offset, _): &(Option<Offset>, _)| *offset == original;
        if original.is_some() && self.pending.iter().any(is_original) {
            self.finish()?;
        }

        Ok(original.and_then(|original| self.offsets.get(&original).copied()))
    }

    /// Waits for the pending appends.
    fn finish(&mut self) -> Result<(), ImportError> {
        for (original, append) in self.pending.drain(..) {
            let stored = block_on(append).map_err(|source| ImportError::Store {
                stored: self.imported.stored,
                source,
            })?;

            match stored.first() {
                Some(Stored::New(_)) => self.imported.stored += 1,
                _ => self.imported.duplicates += 1,
            }
            if let (Some(original), Some(stored)) = (original, stored.first()) {
                self.offsets.insert(original, stored.offset());
            }
        }
        Ok(())
    }
}
