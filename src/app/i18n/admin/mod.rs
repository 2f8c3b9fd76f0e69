//! The phrases of the admin page. They are not part of what a browser downloads: only the server renders that page.

mod en;
mod zh_cn;

use super::Locale;
use crate::app::admin::Event;
use crate::protocol::Offset;
use crate::protocol::RoomName;

/// The phrases of one language.
#[derive(Debug)]
pub struct AdminText {
    /// The title of the page.
    pub title: &'static str,
    /// The badge while the store accepts messages.
    pub ready: &'static str,
    /// The badge while it does not.
    pub not_ready: &'static str,
    /// Before the time since the server started.
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
    /// The token is rejected; the reason follows in English.
    pub refused: &'static str,
    /// The note where the server has no keys.
    pub elsewhere: &'static str,
    /// The note where a token is needed and JavaScript is off.
    pub needs_script: &'static str,

    /// The heading of the charts.
    pub now: &'static str,
    /// Messages stored per second.
    pub published: &'static str,
    /// Messages delivered per second.
    pub delivered: &'static str,
    /// Bytes delivered per second.
    pub bytes: &'static str,
    /// Open connections: a chart, a heading and a column.
    pub connections: &'static str,
    /// The description of a chart for screen readers: its label, the current value, the maximum.
    pub chart: fn(&str, &str, &str) -> String,
    /// The maximum, below a chart.
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
    /// The list of rooms is empty.
    pub no_rooms: &'static str,
    /// A room: a column.
    pub room: &'static str,
    /// The ids that are present: a column.
    pub members: &'static str,
    /// The newest offset: a column.
    pub head: &'static str,
    /// The oldest offset kept: a column.
    pub first: &'static str,
    /// Messages in memory: a column.
    pub in_memory: &'static str,
    /// Their size: a column.
    pub size: &'static str,
    /// The actions of a row: a column.
    pub acts: &'static str,
    /// Marks a closed room; also the caption of the closed rooms.
    pub closed: &'static str,

    /// The heading of the messages of a room.
    pub messages: fn(&RoomName) -> String,
    /// At most this many messages are listed.
    pub newest: fn(usize) -> String,
    /// The room has no messages.
    pub no_messages: &'static str,
    /// The messages cannot be read now.
    pub unread: &'static str,
    /// In place of a deleted message.
    pub deleted: &'static str,
    /// In place of a binary message of this size in bytes.
    pub binary: fn(usize) -> String,
    /// This duration ago.
    pub ago: fn(&str) -> String,

    /// The label of the search for connections.
    pub who: &'static str,
    /// Only connections of this room are listed.
    pub in_room: fn(&RoomName) -> String,
    /// The list of connections is empty.
    pub no_connections: &'static str,
    /// The number of a connection: a column.
    pub number: &'static str,
    /// The id of a connection: a column.
    pub id: &'static str,
    /// In place of the id of a stream that shows none.
    pub nobody: &'static str,
    /// The address of a connection: a column.
    pub address: &'static str,
    /// The time since a connection was opened: a column.
    pub since: &'static str,
    /// The number of messages that were not yet sent to a connection: a column.
    pub behind: &'static str,
    /// The bytes that wait for a connection: a column.
    pub waiting: &'static str,
    /// The dialect of a connection: a column.
    pub dialect: &'static str,

    /// The heading of the trace of this connection.
    pub tracing: fn(u64) -> String,
    /// The note about the content of a trace.
    pub trace_note: &'static str,
    /// The link that stops the trace.
    pub stop: &'static str,
    /// The trace has no events yet.
    pub trace_empty: &'static str,
    /// The trace has ended.
    pub trace_over: &'static str,
    /// An event of a trace, with its fields as placeholders like `{bytes}`.
    pub event: fn(Event) -> &'static str,

    /// The heading of the bans.
    pub bans: &'static str,
    /// The list of bans is empty.
    pub no_bans: &'static str,
    /// Only this many bans are listed.
    pub more_bans: fn(usize) -> String,
    /// The client of a ban: a column.
    pub whom: &'static str,
    /// In place of the room of a ban in all rooms.
    pub everywhere: &'static str,
    /// The end of a ban: a column.
    pub until: &'static str,
    /// In place of the end of a ban that has none.
    pub until_lifted: &'static str,
    /// A ban ends after this duration.
    pub ends_in: fn(&str) -> String,
    /// The reason of a ban or a closed room: a column.
    pub reason: &'static str,
    /// The operator of a ban or a closed room: a column.
    pub by: &'static str,

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
    /// Its note.
    pub kick_note: &'static str,
    /// The title of the dialog that bans a client.
    pub ask_ban: &'static str,
    /// The label of its field for a client.
    pub id_or_address: &'static str,
    /// Its choice of this id.
    pub this_id: fn(&str) -> String,
    /// Its choice of this address.
    pub this_address: fn(&str) -> String,
    /// The legend of its choice of rooms.
    pub place: &'static str,
    /// Its choice of this room.
    pub only_in: fn(&str) -> String,
    /// The label of its optional field for a room.
    pub only_room: &'static str,
    /// The label of its choice of durations.
    pub how_long: &'static str,
    /// The label of the field for a reason, which clients see.
    pub reason_shown: &'static str,
    /// Its note.
    pub ban_note: &'static str,
    /// The title of the dialog that closes this room.
    pub ask_close: fn(&RoomName) -> String,
    /// Its note.
    pub close_note: &'static str,
    /// The title of the dialog that deletes the message of this room at this offset.
    pub ask_delete: fn(&RoomName, Offset) -> String,
    /// Its note.
    pub delete_note: &'static str,
    /// The title of a dialog about a connection that has ended.
    pub gone: &'static str,

    /// A connection was closed.
    pub kicked: &'static str,
    /// A client was banned, and this many connections were closed.
    pub banned: fn(usize) -> String,
    /// A ban was lifted.
    pub lifted: &'static str,
    /// A room was closed, and this many connections were ended.
    pub room_closed: fn(usize) -> String,
    /// A room was opened.
    pub room_opened: &'static str,
    /// A message was deleted.
    pub message_deleted: &'static str,
    /// An action failed; the reason follows in English.
    pub failed: &'static str,
}

impl Locale {
    /// Returns the phrases of the admin page.
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
