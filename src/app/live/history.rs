//! Reading of the log by the HTTP API: search, permalinks, and the first message of a day.

use std::cmp::Reverse;

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::date_search::DateSearch;
use super::message_list::MessageList;
use super::room_state::{RoomState, ScrollTarget};
use crate::app::snapshot::HistoryPage;
use crate::browser::http;
use crate::protocol::{Body, Offset, Publication, UserId};

/// The number of messages around a permalink, and of those that a skipped part is filled with at once.
const PAGE: usize = 100;

/// The number of matches in one page of a search.
const MATCHES: usize = 20;

/// The status of a server that does not search.
const NO_SEARCH: u16 = 501;

/// A message that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundMessage {
    /// The offset of the message.
    pub offset: Offset,
    /// The sender.
    pub from: UserId,
    /// The time in milliseconds since 1970 UTC.
    pub at: u64,
    /// The text, or the JSON text.
    pub text: String,
}

/// The messages that a search found, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundMessages {
    /// The messages.
    pub messages: Vec<FoundMessage>,
    /// True if there are older ones.
    pub more: bool,
    /// True if the server does not search, so these are the matches among the loaded messages.
    pub is_of_loaded: bool,
}

impl RoomState {
    /// Searches the messages that the server keeps for `words`; with `before`, only those before it.
    ///
    /// # Errors
    /// The status of the response.
    pub(in crate::app) async fn search(
        self,
        words: &str,
        before: Option<Offset>,
    ) -> Result<FoundMessages, u16> {
        let before = before.map(|before| before.to_string()).unwrap_or_default();
        let query = [
            ("q", words),
            ("limit", &MATCHES.to_string()),
            ("before", &before),
        ];

        match self.read_log(&query).await {
            Ok(page) => Ok(FoundMessages {
                messages: page.messages.into_iter().filter_map(found).collect(),
                more: page.more,
                is_of_loaded: false,
            }),
            Err(NO_SEARCH) => {
                let messages = self.messages.with_untracked(|list| list.find(words));
                Ok(FoundMessages {
                    messages,
                    more: false,
                    is_of_loaded: true,
                })
            }
            Err(status) => Err(status),
        }
    }

    /// Shows the message at `offset`. It is loaded first if it is not in the list.
    pub(in crate::app) fn jump(self, offset: Offset) {
        if self.show_message(offset) {
            return;
        }

        spawn_local(async move {
            let query = [("around", offset.to_string()), ("limit", PAGE.to_string())];
            let query = query
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            // Without an answer, the log stays as it is. The status badge shows the state of the connection.
            if let Ok(page) = self.read_log(&query).await {
                self.change(|list| list.insert_page(page.messages, offset));
                self.show_message(offset);
            }
        });
    }

    /// Shows the first message at `time` or later, in milliseconds since 1970 UTC. Returns false if there is none.
    ///
    /// # Errors
    /// The status of the response.
    pub(in crate::app) async fn jump_to_time(self, time: u64) -> Result<bool, u16> {
        let head = self.read_log(&[("limit", "1")]).await?.head;
        let mut search = DateSearch::new(time, head);
        while let Some(after) = search.next() {
            let query = [("after", &*after.to_string()), ("limit", "1")];
            let page = self.read_log(&query).await?;
            let first = page.messages.first();
            search.on_message(after, first.map(|message| (message.offset, message.at)));
        }

        if let Some(offset) = search.found() {
            self.jump(offset);
        }
        Ok(search.found().is_some())
    }

    /// Fills the gap of the row `id`, which begins after `after`, from its start.
    pub(super) fn fill(self, id: u64, after: Offset, before: Option<Offset>) {
        spawn_local(async move {
            let before = before.map(|before| before.to_string()).unwrap_or_default();
            let query = [
                ("after", &*after.to_string()),
                ("before", &before),
                ("limit", &PAGE.to_string()),
            ];
            match self.read_log(&query).await {
                Ok(page) => self.change(|list| list.fill_gap(id, page.messages, page.more)),
                Err(_) => self.messages.update(|list| list.reopen_gap(id)),
            }
        });
    }

    /// Reads a part of the log.
    async fn read_log(self, query: &[(&str, &str)]) -> Result<HistoryPage, u16> {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
        let room: String =
            form_urlencoded::byte_serialize(self.name().as_str().as_bytes()).collect();
        let path = format!("/api/v1/rooms/{room}/messages?{}", encoded.finish());

        let token = self.page.sign_in.token();
        let json = http::get(&self.page.url(&path), token.as_ref()).await?;
        serde_json::from_str(&json).map_err(|_| http::NO_RESPONSE)
    }

    /// Scrolls to the message at `offset`. Returns false if it is not in the list.
    fn show_message(self, offset: Offset) -> bool {
        let is_shown = self
            .messages
            .try_update(|list| list.show_message(offset))
            .unwrap_or_default();
        if is_shown {
            self.scroll_to.set(Some(ScrollTarget::Found));
        }
        is_shown
    }
}

impl MessageList {
    /// Returns the loaded messages that contain `words`, newest first.
    pub(super) fn find(&self, words: &str) -> Vec<FoundMessage> {
        let found = |id| {
            let message = self.message(id)?;
            Some(FoundMessage {
                offset: self.offset(id)?,
                from: message.from.clone(),
                at: message.at,
                text: message.text()?.to_owned(),
            })
        };

        let mut messages: Vec<FoundMessage> =
            self.search(words).into_iter().filter_map(found).collect();
        messages.sort_by_key(|message| Reverse(message.offset));
        messages
    }
}

/// Returns the result for a message of a search; `None` for a message without text.
fn found(publication: Publication) -> Option<FoundMessage> {
    let text = match publication.body {
        Body::Text(text) => text,
        Body::Json(json) => json.into_boxed_str().into(),
        Body::Data(_) | Body::Deleted(_) => return None,
    };
    Some(FoundMessage {
        // An edit is shown in the place of the message that it replaces.
        offset: publication.fields.edits.unwrap_or(publication.offset),
        from: publication.from,
        at: publication.at,
        text,
    })
}
