//! Every phrase that the page can say, as one struct: a language that lacks one does not compile.
//!
//! Phrases with something in them are functions, because the order of words is the language's affair.
//! Buttons say the verb; no exclamation marks; nothing is claimed that the page does not know.

use crate::app::live::Day;
use crate::app::live::{Reason, Refusal};
use crate::protocol::RoomName;

/// The phrases of one language.
#[derive(Debug)]
pub struct Text {
    /// The language itself, as its readers call it.
    pub language: &'static str,
    /// What the page is, for search engines and link previews.
    pub description: &'static str,
    /// Where JavaScript is off: what is different.
    pub unscripted: &'static str,

    /// The side of the page, and the button that opens it where there is no room for it.
    pub menu: &'static str,
    /// Above the rooms.
    pub rooms: &'static str,
    /// The name of a room that is not in the list.
    pub other_room: &'static str,
    /// What a room may be called.
    pub room_rule: &'static str,
    /// The button that goes there.
    pub go: &'static str,
    /// Above the people.
    pub members: &'static str,
    /// How many are in the room.
    pub here: fn(usize) -> String,
    /// Behind the reader's own name.
    pub you: &'static str,
    /// The reader's own name.
    pub your_name: &'static str,
    /// The button that changes it.
    pub change: &'static str,
    /// It is changed.
    pub renamed: &'static str,
    /// It is none.
    pub bad_name: &'static str,
    /// What a name here is worth.
    pub unverified: &'static str,
    /// It cannot be changed now.
    pub rename_waits: &'static str,
    /// The colours: which.
    pub theme: &'static str,
    /// As the system has them.
    pub theme_system: &'static str,
    /// Dark on light.
    pub theme_light: &'static str,
    /// Light on dark.
    pub theme_dark: &'static str,

    /// The search, and the button that opens it.
    pub search: &'static str,
    /// Where it searches.
    pub search_in: &'static str,
    /// To the match before.
    pub older: &'static str,
    /// To the match behind.
    pub newer: &'static str,
    /// There is none.
    pub no_match: &'static str,
    /// Which of how many.
    pub matches: fn(usize, usize) -> String,

    /// How others come here, and the button that shows it.
    pub share: &'static str,
    /// The room's address.
    pub address: &'static str,
    /// The address as a picture.
    pub qr: &'static str,
    /// The button that copies something.
    pub copy: &'static str,
    /// It did.
    pub copied: &'static str,

    /// How the connection does, and the button that shows it.
    pub connection: &'static str,
    /// How long an answer takes.
    pub round_trip: &'static str,
    /// Where the page stands in the log.
    pub position: &'static str,
    /// How often a connection came back.
    pub resumes: &'static str,
    /// How many messages wait.
    pub unsent: &'static str,
    /// Not known.
    pub unknown: &'static str,
    /// The button that asks the server.
    pub measure: &'static str,
    /// The button that breaks the connection.
    pub break_off: &'static str,

    /// The log's name, for a screen reader.
    pub messages: &'static str,
    /// What the keys do in it.
    pub log_keys: &'static str,
    /// In place of the first message.
    pub empty: &'static str,
    /// Below it: what to expect.
    pub empty_promise: fn(&RoomName) -> String,
    /// Above the first message of a day.
    pub day: fn(Day) -> String,
    /// Above what nobody has seen.
    pub unread_line: &'static str,
    /// The button that goes to the end of the log, where so many have come.
    pub to_end: fn(usize) -> String,
    /// A message that is not text, by its size in bytes.
    pub binary: fn(usize) -> String,
    /// In the place of what an operator deleted.
    pub deleted: &'static str,
    /// Where so many messages are missing.
    pub missing: fn(u64) -> String,
    /// Where messages are missing, and nobody knows how many.
    pub missing_some: &'static str,
    /// Where nobody knows whether any are missing.
    pub missing_perhaps: &'static str,
    /// The button that gets them.
    pub load: &'static str,
    /// It does.
    pub loading: &'static str,
    /// Where so many are missing for good.
    pub gone: fn(u64) -> String,
    /// Where messages are missing for good, and nobody knows how many.
    pub gone_some: &'static str,
    /// Beside a message of this page that waits for those before it.
    pub queued: &'static str,
    /// The same, while there is no connection.
    pub waiting: &'static str,
    /// The same, when it is on its way.
    pub sending: &'static str,
    /// What the tick means: the room has it.
    pub sent: &'static str,
    /// Below a message of this page that was refused: that, and why.
    pub not_sent: fn(Reason) -> &'static str,
    /// The button that tries it again.
    pub retry: &'static str,
    /// The button that puts its text back into the input.
    pub take_back: &'static str,

    /// The input's name and placeholder.
    pub message_to: fn(&RoomName) -> String,
    /// The button.
    pub send: &'static str,
    /// What the keys do.
    pub keys: &'static str,
    /// Send was asked for where no connection will come by itself.
    pub kept_refused: &'static str,

    /// The badge: a connection is being made.
    pub connecting: &'static str,
    /// The badge: connected.
    pub live: &'static str,
    /// The badge, for a screen reader: waiting for the next try.
    pub reconnecting: &'static str,
    /// The badge: the next try comes in this many seconds.
    pub reconnecting_in: fn(u32) -> String,
    /// The button beside it.
    pub retry_now: &'static str,
    /// The badge: the browser knows of no network.
    pub offline: &'static str,
    /// The badge while the server cannot reach where messages are kept.
    pub stalled: &'static str,
    /// The badge: the server said not to come back, and why.
    pub refused: fn(Refusal) -> &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Locale;

    #[test]
    fn no_language_leaves_out_what_a_phrase_is_about() {
        let room = RoomName::parse("class-7b").expect("a room");
        for text in Locale::ALL.map(Locale::text) {
            assert!((text.message_to)(&room).contains("class-7b"));
            assert!((text.empty_promise)(&room).contains("class-7b"));
            assert!((text.reconnecting_in)(4).contains('4'));
            assert!((text.binary)(12).contains("12"));
            assert!((text.missing)(12).contains("12"));
            assert!((text.gone)(12).contains("12"));
            assert!((text.here)(12).contains("12"));
            assert!((text.to_end)(12).contains("12"));
            assert!(
                (text.day)(Day {
                    weekday: 3,
                    month: 10,
                    date: 25
                })
                .contains("25")
            );
            let place = (text.matches)(3, 17);
            assert!(place.contains('3') && place.contains("17"));
        }
    }

    #[test]
    fn the_button_says_what_the_contract_promises() {
        assert_eq!(
            Locale::ALL.map(|locale| locale.text().send),
            ["Send", "发送"]
        );
    }
}
