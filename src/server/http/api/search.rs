//! The search for words in the messages that a room keeps: a scan from the newest message to the oldest, in pages. Rooms
//! are bounded, so no index is needed.

use std::collections::HashSet;
use std::panic::resume_unwind;
use std::sync::Arc;

use unicase::UniCase;

use crate::protocol::{Body, Kind, Offset, Publication};
use crate::server::http::error::ApiError;
use crate::server::hub::Room;
use crate::server::room::Frame;
use crate::server::store::Span;

/// The most searches that run at the same time: each may read all messages of a room.
pub(in crate::server::http) const MAX_SEARCHES: usize = 4;

/// The longest query, in characters.
const MAX_QUERY_CHARS: usize = 200;

/// The messages that are read from the store at once.
const PAGE_MESSAGES: usize = 1000;

/// The words that a message must contain, all of them, in any order and in any case.
#[derive(Clone, Debug)]
pub(super) struct SearchWords(Arc<[String]>);

/// The messages that were found.
#[derive(Debug, Default)]
pub(super) struct SearchResult {
    /// The messages, newest first.
    pub(super) messages: Vec<Publication>,
    /// True if there are older ones.
    pub(super) more: bool,
}

impl SearchWords {
    /// Parses words separated by spaces.
    ///
    /// # Errors
    /// If there are none, or they are too long.
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let words: Arc<[String]> = query.split_whitespace().map(fold).collect();
        if words.is_empty() || query.chars().count() > MAX_QUERY_CHARS {
            return Err(ApiError::Parameter {
                name: "q",
                allowed: "words, with at most 200 characters in all",
            });
        }

        Ok(Self(words))
    }

    /// Searches the messages of `room` between `after` and `before`, newest first, until `limit` are found; with a `kind`,
    /// only those of that kind. A message whose content was replaced by an edit is left out, and the edit is searched.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub(super) async fn search(
        &self,
        room: &Room,
        after: Option<Offset>,
        before: Option<Offset>,
        kind: Option<&Kind>,
        limit: usize,
    ) -> Result<SearchResult, ApiError> {
        let mut result = SearchResult::default();
        // Edits may be after `before`, so the scan always begins at the newest message.
        let mut span = Span::Newest;
        let mut replaced = HashSet::new();

        loop {
            let page = room.history(span, PAGE_MESSAGES).await?;
            let Some(oldest) = page.frames.first().map(|frame| frame.offset()) else {
                return Ok(result);
            };
            let frames = page.frames.into_iter().rev();
            let is_last = !page.more || after.is_some_and(|after| oldest <= after);

            let in_range: Vec<_> = frames
                .take_while(|frame| after.is_none_or(|after| frame.offset() > after))
                .filter(|frame| is_current(frame, &mut replaced))
                .filter(|frame| before.is_none_or(|before| frame.offset() < before))
                .filter(|frame| kind.is_none() || frame.fields().kind.as_ref() == kind)
                .collect();
            for message in self.matches_among(in_range).await {
                if result.messages.len() == limit {
                    result.more = true;
                    return Ok(result);
                }
                result.messages.push(message);
            }

            if is_last {
                return Ok(result);
            }
            span = Span::Before(oldest);
        }
    }

    /// Returns the messages among `frames` that contain all words. A page can have a megabyte of text, so it is searched
    /// on a thread for blocking work.
    async fn matches_among(&self, frames: Vec<Arc<Frame>>) -> Vec<Publication> {
        let words = self.clone();
        let search = move || {
            let messages = frames.iter().map(|frame| frame.publication());
            messages
                .filter(|message| words.match_message(message))
                .collect()
        };

        match tokio::task::spawn_blocking(search).await {
            Ok(messages) => messages,
            // An empty result would hide the fault. The task is cancelled only when the runtime ends.
            Err(error) => error
                .try_into_panic()
                .map_or_else(|_| Vec::new(), |panic| resume_unwind(panic)),
        }
    }

    fn match_message(&self, message: &Publication) -> bool {
        let text = match &message.body {
            Body::Text(text) => text,
            Body::Json(json) => json.as_str(),
            Body::Data(_) | Body::Deleted(_) => return false,
        };

        let text = fold(text);
        self.0.iter().all(|word| text.contains(word))
    }
}

/// Returns true unless a newer message replaces the content of `frame`. All newer messages must have been passed before;
/// `replaced` has the offsets of those that they replace.
fn is_current(frame: &Frame, replaced: &mut HashSet<Offset>) -> bool {
    match frame.fields().edits {
        Some(original) => replaced.insert(original),
        None => !replaced.contains(&frame.offset()),
    }
}

/// Returns `text` without differences of case (Unicode case folding).
fn fold(text: &str) -> String {
    UniCase::unicode(text).to_folded_case()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::samples;

    fn message(body: Body) -> Publication {
        Publication {
            body,
            ..samples::publication(1, "")
        }
    }

    #[test]
    fn a_message_matches_if_it_contains_all_words_in_any_case() {
        for (query, text, expected) in [
            ("build", "Build 7 failed", true),
            ("FAILED build", "Build 7 failed", true),
            ("build passed", "Build 7 failed", false),
            ("strasse", "Große Straße 7", true),
            ("ΣΊΣΥΦΟΣ", "σίσυφος", true),
            ("东京", "我在东京塔下", true),
            ("ild 7", "Build 7 failed", true),
        ] {
            let words = SearchWords::parse(query).expect("words");

            let is_match = words.match_message(&message(Body::Text(text.to_owned())));

            assert_eq!(is_match, expected, "{query} in {text}");
        }
    }

    #[test]
    fn deleted_and_binary_messages_match_nothing() {
        let words = SearchWords::parse("a").expect("words");

        assert!(!words.match_message(&message(Body::Deleted(true))));
        assert!(!words.match_message(&message(Body::Data("aaaa".to_owned()))));
    }

    #[test]
    fn a_query_has_words_and_at_most_200_characters() {
        assert!(SearchWords::parse("").is_err());
        assert!(SearchWords::parse(" \t ").is_err());
        assert!(SearchWords::parse(&"x".repeat(200)).is_ok());
        assert!(SearchWords::parse(&"x".repeat(201)).is_err());
    }
}
