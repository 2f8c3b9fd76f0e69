//! The texts of the admin page. Only the server renders that page, so browsers do not download them.

mod en;
mod zh_cn;

use super::Locale;
use crate::app::admin::Event;
use crate::protocol::{Offset, RoomName};

/// The texts of one language.
#[derive(Debug)]
pub struct AdminText {
    /// The title of the page.
    pub title: &'static str,
    /// The badge while the store accepts messages.
    pub ready: &'static str,
    /// The badge while it does not.
    pub not_ready: &'static str,
    /// The text before the uptime of the server.
    pub up: &'static str,
    /// A duration in seconds, in its two largest units.
    pub span: fn(u64) -> String,
    /// The button that forgets the token.
    pub forget: &'static str,
    /// The alert while the server does not respond.
    pub silent: &'static str,
    /// The note where JavaScript is off.
    pub unscripted: &'static str,

    /// The note above the form for a token.
    pub enter: &'static str,
    /// The label of the field for a token.
    pub token: &'static str,
    /// The button of that form.
    pub come_in: &'static str,
    /// The text before the reason of a rejected token, which is in English.
    pub refused: &'static str,
    /// The note where the server has no keys.
    pub elsewhere: &'static str,
    /// The note where a token is needed and JavaScript is off.
    pub needs_script: &'static str,

    /// The heading of the charts.
    pub now: &'static str,
    /// The chart of messages stored per second.
    pub published: &'static str,
    /// The chart of messages delivered per second.
    pub delivered: &'static str,
    /// The chart of bytes delivered per second.
    pub bytes: &'static str,
    /// The open connections: a chart, a heading and a column.
    pub connections: &'static str,
    /// The description of a chart for screen readers: its label, the current value, the maximum.
    pub chart: fn(&str, &str, &str) -> String,
    /// The maximum of a chart.
    pub peak: fn(&str) -> String,
    /// The number of rooms in memory, the memory in use for clients, and its limit.
    pub held: fn(&str, &str, &str) -> String,
    /// The note for operators of some rooms, who do not see the charts.
    pub some_rooms: &'static str,

    /// The heading of the rooms.
    pub rooms: &'static str,
    /// The label of the search for rooms.
    pub prefix: &'static str,
    /// The button of a search.
    pub show: &'static str,
    /// The link that removes the filter of a list.
    pub show_all: &'static str,
    /// The link to the next page of a list.
    pub next: &'static str,
    /// The text of an empty list of rooms.
    pub no_rooms: &'static str,
    /// The column of the room.
    pub room: &'static str,
    /// The column of the users that are present.
    pub members: &'static str,
    /// The column of the newest offset.
    pub head: &'static str,
    /// The column of the oldest offset kept.
    pub first: &'static str,
    /// The column of the messages in memory.
    pub in_memory: &'static str,
    /// The column of their size.
    pub size: &'static str,
    /// The column of the actions of a row.
    pub acts: &'static str,
    /// The mark of a closed room, and the caption of the closed rooms.
    pub closed: &'static str,

    /// The link to older messages.
    pub older: &'static str,
    /// The link to the newest messages.
    pub to_newest: &'static str,
    /// The label of the field for the newest offset of the listed messages.
    pub up_to: &'static str,
    /// The note that the list does not change while the operator is in it.
    pub holds_still: &'static str,
    /// The heading of the messages of a room.
    pub messages: fn(&RoomName) -> String,
    /// The note that at most this many messages are listed.
    pub newest: fn(usize) -> String,
    /// The text of a room without messages.
    pub no_messages: &'static str,
    /// The note that the messages cannot be read now.
    pub unread: &'static str,
    /// The text in place of a deleted message.
    pub deleted: &'static str,
    /// The text in place of a binary message of this size in bytes.
    pub binary: fn(usize) -> String,
    /// The time before now, by this duration.
    pub ago: fn(&str) -> String,

    /// The label of the search for connections.
    pub who: &'static str,
    /// The note that only connections of this room are listed.
    pub in_room: fn(&RoomName) -> String,
    /// The text of an empty list of connections.
    pub no_connections: &'static str,
    /// The column of the number of a connection.
    pub number: &'static str,
    /// The column of the user id of a connection.
    pub id: &'static str,
    /// The text in place of the id of a stream without one.
    pub nobody: &'static str,
    /// The column of the address of a connection.
    pub address: &'static str,
    /// The column of the time since a connection was opened.
    pub since: &'static str,
    /// The column of the number of messages that were not yet sent to a connection.
    pub behind: &'static str,
    /// The column of the bytes that wait for a connection.
    pub waiting: &'static str,
    /// The column of the dialect of a connection.
    pub dialect: &'static str,

    /// The heading of the trace of this connection.
    pub tracing: fn(u64) -> String,
    /// The note about the content of a trace.
    pub trace_note: &'static str,
    /// The link that stops the trace.
    pub stop: &'static str,
    /// The text of a trace without events.
    pub trace_empty: &'static str,
    /// The note that the trace has ended.
    pub trace_over: &'static str,
    /// An event of a trace, with its fields as placeholders like `{bytes}`.
    pub event: fn(Event) -> &'static str,

    /// The heading of the bans.
    pub bans: &'static str,
    /// The text of an empty list of bans.
    pub no_bans: &'static str,
    /// The note that only this many bans are listed.
    pub more_bans: fn(usize) -> String,
    /// The column of the client of a ban.
    pub whom: &'static str,
    /// The text in place of the room of a ban in all rooms.
    pub everywhere: &'static str,
    /// The column of the end of a ban.
    pub until: &'static str,
    /// The text in place of the end of a ban without one.
    pub until_lifted: &'static str,
    /// The duration until a ban ends.
    pub ends_in: fn(&str) -> String,
    /// The column of the reason of a ban or a closed room.
    pub reason: &'static str,
    /// The column of the operator of a ban or a closed room.
    pub by: &'static str,

    /// The heading of the hooks.
    pub hooks: &'static str,
    /// The column of the name of a hook.
    pub hook: &'static str,
    /// The column of the state of a hook.
    pub status: &'static str,
    /// The column of the age of the oldest message that a hook has not delivered.
    pub oldest: &'static str,
    /// The column of the last error of a hook.
    pub last_error: &'static str,
    /// The state of a hook that delivers messages.
    pub hook_active: &'static str,
    /// The state of a hook that an operator has paused.
    pub hook_paused: &'static str,
    /// The state of a hook whose receiver has answered 410.
    pub hook_gone: &'static str,
    /// The state of a hook that another node runs.
    pub hook_standby: &'static str,
    /// The state of a hook whose position is not loaded yet.
    pub hook_opening: &'static str,
    /// The action that pauses a hook.
    pub pause: &'static str,
    /// The action that resumes a hook.
    pub resume: &'static str,
    /// The action that delivers messages again.
    pub replay: &'static str,
    /// The label of the offset from which messages are delivered again.
    pub replay_from: &'static str,
    /// The confirmation that a hook was paused.
    pub hook_is_paused: &'static str,
    /// The confirmation that a hook was resumed.
    pub hook_is_active: &'static str,
    /// The confirmation that messages are delivered again.
    pub hook_replays: &'static str,

    /// The action that closes a connection.
    pub kick: &'static str,
    /// The action that bans the client of a connection.
    pub ban: &'static str,
    /// The action that bans any client.
    pub ban_somebody: &'static str,
    /// The action that traces a connection.
    pub trace: &'static str,
    /// The action that closes a room.
    pub close: &'static str,
    /// The action that opens a room.
    pub open: &'static str,
    /// The action that lifts a ban.
    pub lift: &'static str,
    /// The action that deletes a message.
    pub delete: &'static str,
    /// The link that closes a dialog.
    pub cancel: &'static str,

    /// The title of the dialog that kicks the connection with this number and id.
    pub ask_kick: fn(u64, &str) -> String,
    /// The note of that dialog.
    pub kick_note: &'static str,
    /// The title of the dialog that bans a client.
    pub ask_ban: &'static str,
    /// The label of the field for a client.
    pub id_or_address: &'static str,
    /// The choice of this id.
    pub this_id: fn(&str) -> String,
    /// The choice of this address.
    pub this_address: fn(&str) -> String,
    /// The legend of the choice of rooms.
    pub place: &'static str,
    /// The choice of this room.
    pub only_in: fn(&str) -> String,
    /// The label of the optional field for a room.
    pub only_room: &'static str,
    /// The label of the choice of durations.
    pub how_long: &'static str,
    /// The label of the field for a reason, which clients see.
    pub reason_shown: &'static str,
    /// The note of the dialog for a ban.
    pub ban_note: &'static str,
    /// The title of the dialog that closes this room.
    pub ask_close: fn(&RoomName) -> String,
    /// The note of that dialog.
    pub close_note: &'static str,
    /// The title of the dialog that deletes the message of this room at this offset.
    pub ask_delete: fn(&RoomName, Offset) -> String,
    /// The note of that dialog.
    pub delete_note: &'static str,
    /// The title of a dialog about a connection that has ended.
    pub gone: &'static str,

    /// The confirmation of a kick.
    pub kicked: &'static str,
    /// The confirmation of a ban, with the number of connections that it closed.
    pub banned: fn(usize) -> String,
    /// The confirmation that a ban was lifted.
    pub lifted: &'static str,
    /// The confirmation that a room was closed, with the number of connections that were closed.
    pub room_closed: fn(usize) -> String,
    /// The confirmation that a room was opened.
    pub room_opened: &'static str,
    /// The confirmation that a message was deleted.
    pub message_deleted: &'static str,
    /// The text before the reason of a failed action, which is in English.
    pub failed: &'static str,
}

impl Locale {
    /// Returns the texts of the admin page.
    pub const fn admin_text(self) -> &'static AdminText {
        match self {
            Self::En => &en::EN,
            Self::ZhCn => &zh_cn::ZH_CN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_contains_its_values() {
        let room = RoomName::parse("class-7b").expect("a room");

        for text in Locale::ALL.map(Locale::admin_text) {
            for (phrase, value) in [
                ((text.span)(12), "12"),
                ((text.span)(3 * 60), "3"),
                ((text.span)(2 * 86_400 + 5 * 3600), "5"),
                ((text.chart)("what", "17", "40"), "17"),
                ((text.peak)("40"), "40"),
                ((text.held)("7", "12 KiB", "1 GiB"), "1 GiB"),
                ((text.messages)(&room), "class-7b"),
                ((text.newest)(50), "50"),
                ((text.binary)(12), "12"),
                ((text.in_room)(&room), "class-7b"),
                ((text.tracing)(17), "17"),
                ((text.more_bans)(100), "100"),
                ((text.ask_kick)(17, "ann"), "ann"),
                ((text.this_id)("ann"), "ann"),
                ((text.only_in)("class-7b"), "class-7b"),
                ((text.ask_close)(&room), "class-7b"),
                ((text.ask_delete)(&room, Offset(8)), "8"),
                ((text.banned)(3), "3"),
                ((text.room_closed)(3), "3"),
            ] {
                assert!(phrase.contains(value), "{value} in {phrase}");
            }
        }
    }

    #[test]
    fn every_event_has_placeholders_for_its_fields() {
        for text in Locale::ALL.map(Locale::admin_text) {
            for event in Event::ALL {
                let phrase = (text.event)(event);

                assert_eq!(
                    phrase.matches('{').count(),
                    event.fields().len(),
                    "{phrase}"
                );
                for field in event.fields() {
                    let placeholder = format!("{{{field}}}");
                    assert!(phrase.contains(&placeholder), "{field} in {phrase}");
                }
            }
        }
    }
}
