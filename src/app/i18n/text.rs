//! The texts of the page, as one struct: a language that lacks a text does not compile.
//!
//! Texts with values in them are functions, because the order of words differs between languages. Buttons are labelled
//! with a verb. No text claims anything that the page does not know.

use crate::app::live::{Day, Reason, Refusal, UnreadCount};
use crate::protocol::RoomName;

/// The texts of one language.
#[derive(Debug)]
pub struct Text {
    /// The name of the language, in that language.
    pub language: &'static str,
    /// The description of the page for search engines and link previews.
    pub description: &'static str,
    /// The note for browsers without JavaScript.
    pub unscripted: &'static str,

    /// The side panel, and the button that opens it on small screens.
    pub menu: &'static str,
    /// The heading of the list of rooms.
    pub rooms: &'static str,
    /// The label of the field for another room's name.
    pub other_room: &'static str,
    /// The rule for room names.
    pub room_rule: &'static str,
    /// The button that opens that room.
    pub go: &'static str,
    /// The button that removes a room from the list.
    pub leave: fn(&RoomName) -> String,
    /// The number of unread messages beside the name of a room, for screen readers.
    pub unread_in_room: fn(UnreadCount) -> String,
    /// The heading of the list of users.
    pub members: &'static str,
    /// The number of users in the room.
    pub here: fn(usize) -> String,
    /// The mark after the user's own name.
    pub you: &'static str,
    /// The text before the verified name of the user.
    pub you_are: &'static str,
    /// The note that the user is not signed in, where names are verified.
    pub not_signed_in: &'static str,
    /// The link to the page at which users sign in.
    pub sign_in: &'static str,
    /// The note that the session of the user at a proxy has ended.
    pub session_ended: &'static str,
    /// The button that loads the page again, where the proxy lets the user sign in.
    pub sign_in_again: &'static str,
    /// The label of the user's own name.
    pub your_name: &'static str,
    /// The button that changes the name.
    pub change: &'static str,
    /// The confirmation that the name was changed.
    pub renamed: &'static str,
    /// The error for an invalid name.
    pub bad_name: &'static str,
    /// The note that names are not verified.
    pub unverified: &'static str,
    /// The note that the name cannot be changed now.
    pub rename_waits: &'static str,
    /// The switch for notifications of mentions.
    pub notify: &'static str,
    /// The note that the browser shows no notifications.
    pub notify_blocked: &'static str,
    /// The switch for a sound at mentions.
    pub sound: &'static str,
    /// The state of a switch that is on.
    pub on: &'static str,
    /// The state of a switch that is off.
    pub off: &'static str,
    /// The button that closes a panel.
    pub close: &'static str,
    /// The label of the choice of colours.
    pub theme: &'static str,
    /// The colours of the system.
    pub theme_system: &'static str,
    /// The light theme.
    pub theme_light: &'static str,
    /// The dark theme.
    pub theme_dark: &'static str,

    /// The search panel, and the button that opens it.
    pub search: &'static str,
    /// The label of the field for the words, with the room that is searched.
    pub search_in: fn(&RoomName) -> String,
    /// The label of the field for a day to go to.
    pub date: &'static str,
    /// The state of a search without a result yet.
    pub searching: &'static str,
    /// The number of matches on the server, and true if there are older ones.
    pub found: fn(usize, bool) -> String,
    /// The number of matches in the loaded messages, of a server that does not search.
    pub found_in_loaded: fn(usize) -> String,
    /// The state of a search that failed.
    pub search_failed: &'static str,
    /// The result for a day after the newest message.
    pub none_since: &'static str,
    /// The button that loads older matches.
    pub older: &'static str,

    /// The panel for inviting others, and the button that opens it.
    pub share: &'static str,
    /// The button in an empty room that opens the panel.
    pub invite: &'static str,
    /// The note that the URL is not enough to join.
    pub share_needs_token: &'static str,
    /// The label of the room's URL.
    pub address: &'static str,
    /// The description of the QR code.
    pub qr: &'static str,
    /// The button that copies the URL.
    pub copy: &'static str,
    /// The confirmation that it was copied.
    pub copied: &'static str,

    /// The panel on the connection, and the button that opens it.
    pub connection: &'static str,
    /// The label of the round-trip time.
    pub round_trip: &'static str,
    /// The label of the page's position in the log.
    pub position: &'static str,
    /// The label of the number of reconnects.
    pub resumes: &'static str,
    /// The label of the number of unsent messages.
    pub unsent: &'static str,
    /// The value of a figure that is not known yet.
    pub unknown: &'static str,
    /// The button that measures the round-trip time.
    pub measure: &'static str,
    /// The button that drops the connection.
    pub break_off: &'static str,

    /// The name of the message log for screen readers.
    pub messages: &'static str,
    /// The keys that work in the log.
    pub log_keys: &'static str,
    /// The text of an empty log.
    pub empty: &'static str,
    /// The text of an empty log that will stay empty.
    pub empty_ended: &'static str,
    /// The text below it, which explains what will appear.
    pub empty_promise: fn(&RoomName) -> String,
    /// The note in an empty room on who may read and write, on a server without tokens.
    pub open_to_all: &'static str,
    /// The note in an empty room on who may read and write, on a server with tokens.
    pub open_to_tokens: &'static str,
    /// The heading above the first message of a day.
    pub day: fn(Day) -> String,
    /// The line above the unread messages.
    pub unread_line: &'static str,
    /// The button that scrolls to the first of the messages that arrived while the user was away.
    pub to_unread: fn(UnreadCount) -> String,
    /// The button that scrolls to the end of the log, with the number of new messages.
    pub to_end: fn(usize) -> String,
    /// A message that is not text, by its size in bytes.
    pub binary: fn(usize) -> String,
    /// The link to older messages, for browsers without JavaScript.
    pub older_messages: &'static str,
    /// The link to newer messages, for browsers without JavaScript.
    pub newer_messages: &'static str,
    /// The link to the newest messages, for browsers without JavaScript.
    pub newest_messages: &'static str,
    /// The text in the place of a message that its sender has joined the room.
    pub joined: &'static str,
    /// The text in the place of a message that its sender has left the room.
    pub left: &'static str,
    /// The text in the place of a deleted message.
    pub deleted: &'static str,
    /// The row for a known number of missing messages.
    pub missing: fn(u64) -> String,
    /// The row for an unknown number of missing messages.
    pub missing_some: &'static str,
    /// The row for messages that may be missing.
    pub missing_perhaps: &'static str,
    /// The button that loads the missing messages.
    pub load: &'static str,
    /// The text while they are loading.
    pub loading: &'static str,
    /// The row for a known number of messages that are no longer kept.
    pub gone: fn(u64) -> String,
    /// The row for an unknown number of messages that are no longer kept.
    pub gone_some: &'static str,
    /// The state of a message that waits for earlier ones.
    pub queued: &'static str,
    /// The state of a message while there is no connection.
    pub waiting: &'static str,
    /// The state of a message that is being sent.
    pub sending: &'static str,
    /// The state of a message that is stored, for screen readers.
    pub sent: &'static str,
    /// The state of a message that was rejected, with the reason.
    pub not_sent: fn(Reason) -> String,
    /// The button that sends a rejected message again.
    pub retry: &'static str,
    /// The button that drops a rejected message.
    pub discard: &'static str,
    /// The group of a message's actions.
    pub actions: &'static str,
    /// The button that copies the URL of a message.
    pub copy_link: &'static str,
    /// The button that begins an answer to a message.
    pub reply: &'static str,
    /// The button that begins an edit of an own message.
    pub edit: &'static str,
    /// The button that deletes an own message, after a confirmation.
    pub delete: &'static str,
    /// The confirmation of the deletion.
    pub delete_for_all: &'static str,
    /// The mark of an edited message.
    pub edited: &'static str,
    /// The text before the quote in an answer, for screen readers.
    pub answer_to: &'static str,
    /// The quote of a message that is not loaded.
    pub earlier_message: &'static str,
    /// The button that unfolds a long text.
    pub show_more: &'static str,
    /// The button that folds it again.
    pub show_less: &'static str,
    /// The row for a part of the log that the user has skipped.
    pub skipped: &'static str,
    /// The button that moves the text of a rejected message back into the input.
    pub take_back: &'static str,

    /// The label and placeholder of the input.
    pub message_to: fn(&RoomName) -> String,
    /// The users who are typing.
    pub typing: fn(&[String]) -> String,
    /// The note that the server needs a token, and the page has none.
    pub needs_token: &'static str,
    /// The note that the user's token has expired.
    pub token_expired: &'static str,
    /// The note that the server does not accept the user's token.
    pub token_refused: &'static str,
    /// The note for browsers without JavaScript, which cannot send a token.
    pub token_needs_script: &'static str,
    /// The note in the place of the input that the user's token does not let the user write.
    pub read_only: &'static str,
    /// The same note for a user who is not signed in.
    pub read_only_guest: &'static str,
    /// The label of the field for a token.
    pub token: &'static str,
    /// The button that joins with the token.
    pub join: &'static str,
    /// The note that the server does not let the user into the room, before its reason.
    pub no_access: &'static str,
    /// The note in the place of the input that the room is closed for good.
    pub ended: &'static str,
    /// The note in the place of the input that the room was deleted.
    pub room_deleted: &'static str,
    /// The button that opens a deleted room again.
    pub reopen: &'static str,
    /// The note that the input is an answer to this user.
    pub replying_to: fn(&str) -> String,
    /// The note that the input is the new text of a message.
    pub editing: &'static str,
    /// The button that ends an answer or an edit.
    pub cancel: &'static str,
    /// The send button.
    pub send: &'static str,
    /// The keys that work in the input.
    pub keys: &'static str,
    /// The note that a message was kept because the page will not reconnect by itself.
    pub kept_refused: &'static str,

    /// The status badge while connecting.
    pub connecting: &'static str,
    /// The status badge while connected.
    pub live: &'static str,
    /// The status badge while connected to a room that is closed for good.
    pub ended_badge: &'static str,
    /// The status badge after the room was deleted.
    pub room_deleted_badge: &'static str,
    /// The status badge before the next attempt, for screen readers.
    pub reconnecting: &'static str,
    /// The status badge with the number of seconds until the next attempt.
    pub reconnecting_in: fn(u32) -> String,
    /// The button that reconnects at once.
    pub retry_now: &'static str,
    /// The status badge while the browser is offline.
    pub offline: &'static str,
    /// The status badge while the server cannot reach its store.
    pub stalled: &'static str,
    /// The status badge after the server refused the connection, with the reason.
    pub refused: fn(Refusal) -> &'static str,
}

/// Returns `number` with commas between groups of three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_have_groups_of_three_digits() {
        let numbers = [7, 999, 1000, 65_536, 1_000_000].map(super::grouped);
        assert_eq!(numbers, ["7", "999", "1,000", "65,536", "1,000,000"]);
    }

    use super::*;
    use crate::app::Locale;

    #[test]
    fn every_language_includes_the_values_of_a_text() {
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
            let unread = UnreadCount {
                count: 12,
                mentions: 0,
                is_more: true,
            };
            assert!((text.to_unread)(unread).contains("12+"));
            assert!((text.unread_in_room)(unread).contains("12+"));
            assert!((text.leave)(&room).contains("class-7b"));
            assert!(
                (text.day)(Day {
                    weekday: 3,
                    month: 10,
                    date: 25
                })
                .contains("25")
            );

            assert!((text.found)(17, true).contains("17"));
            assert!((text.found_in_loaded)(17).contains("17"));
            assert!((text.search_in)(&room).contains("class-7b"));
        }
    }

    #[test]
    fn the_send_button_has_the_label_of_the_contract() {
        assert_eq!(
            Locale::ALL.map(|locale| locale.text().send),
            ["Send", "发送"]
        );
    }
}
