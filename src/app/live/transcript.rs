//! What this page has seen of its room: a window of rows, and what it said that has not come back.
//!
//! In the plain dialect the room's echo is the only receipt there is. So each text that goes out is held
//! until it is heard again, and if the connection breaks first, a row says so instead of nothing.
//! Pure: no clock, no browser. Keys are local to the page, never reused, and rows never change.

use std::collections::VecDeque;
use std::sync::Arc;

/// Each change walks all rows of the list, so the window is small; older messages are not lost, only not here.
const MOST_ROWS: usize = 300;

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its identity in this page.
    pub key: u64,
    /// What it shows.
    pub body: Body,
}

/// What a row shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A text, as it was sent.
    Text(Arc<str>),
    /// A message that is not text.
    Binary {
        /// Its size.
        bytes: usize,
    },
    /// A text of this page that may or may not have reached the room.
    Unconfirmed(Arc<str>),
}

/// The rows, and what is still to be heard.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    rows: VecDeque<Row>,
    next_key: u64,
    unheard: VecDeque<String>,
}

impl Transcript {
    /// Oldest first.
    pub fn rows(&self) -> &VecDeque<Row> {
        &self.rows
    }

    /// This page sent `text`.
    pub fn said(&mut self, text: &str) {
        self.unheard.push_back(text.to_owned());
    }

    /// The room sent `text`: from someone, or this page's own coming back.
    pub fn heard_text(&mut self, text: String) {
        // Someone else's equal text would confirm ours too early; the room then did hear these very words.
        if let Some(at) = self.unheard.iter().position(|unheard| *unheard == text) {
            self.unheard.remove(at);
        }
        self.push(Body::Text(text.into()));
    }

    /// The room sent a message of `bytes` bytes that is not text.
    pub fn heard_binary(&mut self, bytes: usize) {
        self.push(Body::Binary { bytes });
    }

    /// The connection broke: what was not heard by now will not be.
    pub fn cut_off(&mut self) {
        for text in std::mem::take(&mut self.unheard) {
            self.push(Body::Unconfirmed(text.into()));
        }
    }

    fn push(&mut self, body: Body) {
        self.rows.push_back(Row { key: self.next_key, body });
        self.next_key += 1;
        if self.rows.len() > MOST_ROWS {
            self.rows.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(transcript: &Transcript) -> Vec<Body> {
        transcript.rows().iter().map(|row| row.body.clone()).collect()
    }

    #[test]
    fn what_the_room_says_is_one_row_each_in_order_equal_texts_too() {
        let mut transcript = Transcript::default();
        transcript.heard_text("a".into());
        transcript.heard_binary(3);
        transcript.heard_text("a".into());
        assert_eq!(
            bodies(&transcript),
            [Body::Text("a".into()), Body::Binary { bytes: 3 }, Body::Text("a".into())]
        );
    }

    #[test]
    fn the_window_keeps_the_newest_rows_and_never_reuses_a_key() {
        let mut transcript = Transcript::default();
        for number in 0..MOST_ROWS + 5 {
            transcript.heard_text(number.to_string());
        }
        let keys: Vec<u64> = transcript.rows().iter().map(|row| row.key).collect();
        assert_eq!(keys, (5..MOST_ROWS as u64 + 5).collect::<Vec<_>>());
    }

    #[test]
    fn a_text_that_came_back_is_not_reported_when_the_connection_breaks() {
        let mut transcript = Transcript::default();
        transcript.said("hello");
        transcript.heard_text("hello".into());
        transcript.cut_off();
        assert_eq!(bodies(&transcript), [Body::Text("hello".into())]);
    }

    #[test]
    fn a_text_that_did_not_come_back_is_reported_once() {
        let mut transcript = Transcript::default();
        transcript.said("twice");
        transcript.said("twice");
        transcript.heard_text("twice".into());
        transcript.cut_off();
        transcript.cut_off();
        assert_eq!(bodies(&transcript), [Body::Text("twice".into()), Body::Unconfirmed("twice".into())]);
    }
}
