//! Every phrase that the page can say, as one struct: a language that lacks one does not compile.
//!
//! Phrases with something in them are functions, because the order of words is the language's affair.
//! Buttons say the verb; no exclamation marks; nothing is claimed that the page does not know.

use crate::app::live::Reason;
use crate::protocol::RoomName;

/// The phrases of one language.
#[derive(Debug)]
pub struct Text {
    /// What the page is, for search engines and link previews.
    pub description: &'static str,
    /// Where JavaScript is off.
    pub unscripted: &'static str,

    /// The log's name, for a screen reader.
    pub messages: &'static str,
    /// In place of the first message.
    pub empty: &'static str,
    /// Below it: what to expect.
    pub empty_promise: fn(&RoomName) -> String,
    /// A message that is not text, by its size in bytes.
    pub binary: fn(usize) -> String,
    /// Where so many messages are missing.
    pub missing: fn(u64) -> String,
    /// Where messages are missing, and nobody knows how many.
    pub missing_some: &'static str,
    /// Where nobody knows whether any are missing.
    pub missing_perhaps: &'static str,
    /// Beside a message of this page that is on its way.
    pub sending: &'static str,
    /// The same, while there is no connection.
    pub waiting: &'static str,
    /// Below a message of this page that was refused: that, and why.
    pub not_sent: fn(Reason) -> &'static str,
    /// The button beside it.
    pub retry: &'static str,

    /// The input's name and placeholder.
    pub message_to: fn(&RoomName) -> String,
    /// The button.
    pub send: &'static str,
    /// What the keys do.
    pub keys: &'static str,
    /// Send was asked for where no connection will come by itself.
    pub kept_refused: &'static str,

    /// How many are in the room.
    pub here: fn(usize) -> String,

    /// The badge: a connection is being made.
    pub connecting: &'static str,
    /// The badge: connected.
    pub live: &'static str,
    /// The badge, for a screen reader: waiting for the next try.
    pub reconnecting: &'static str,
    /// The badge: the next try comes in this many seconds.
    pub reconnecting_in: fn(u32) -> String,
    /// The badge: the browser knows of no network.
    pub offline: &'static str,
    /// The badge: the server said not to come back.
    pub refused: &'static str,
}

#[cfg(test)]
mod tests {
    use crate::app::Locale;
    use crate::protocol::RoomName;

    #[test]
    fn no_language_leaves_out_what_a_phrase_is_about() {
        let room = RoomName::parse("class-7b").expect("a room");
        for text in Locale::ALL.map(Locale::text) {
            assert!((text.message_to)(&room).contains("class-7b"));
            assert!((text.empty_promise)(&room).contains("class-7b"));
            assert!((text.reconnecting_in)(4).contains('4'));
            assert!((text.binary)(12).contains("12"));
            assert!((text.missing)(12).contains("12"));
            assert!((text.here)(12).contains("12"));
        }
    }

    #[test]
    fn the_button_says_what_the_contract_promises() {
        assert_eq!(Locale::ALL.map(|locale| locale.text().send), ["Send", "发送"]);
    }
}
