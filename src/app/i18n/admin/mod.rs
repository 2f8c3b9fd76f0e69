//! Every phrase of the operator's page, apart from those of the page that everyone downloads: only the server says
//! these.

mod en;
mod zh_cn;

use super::Locale;
use crate::app::admin::Event;
use crate::protocol::Offset;
use crate::protocol::RoomName;

/// The phrases of one language.
#[derive(Debug)]
pub struct AdminText {
    /// What the page is.
    pub title: &'static str,
    /// The badge: the store takes messages.
    pub ready: &'static str,
    /// The badge: it does not.
    pub not_ready: &'static str,
    /// Since when the server runs: the time follows.
    pub up: &'static str,
    /// A time of so many seconds, in its largest units.
    pub span: fn(u64) -> String,
    /// The button that forgets the token.
    pub forget: &'static str,
    /// Shown while the server does not answer.
    pub silent: &'static str,
    /// Where JavaScript is off: what is different.
    pub unscripted: &'static str,

    /// What the server is asked for without a token: what to do.
    pub enter: &'static str,
    /// The field of the token.
    pub token: &'static str,
    /// The button that comes in with it.
    pub come_in: &'static str,
    /// The token is not accepted: why follows, as the server says it.
    pub refused: &'static str,
    /// Where there are no keys, and so no tokens: where to ask instead.
    pub elsewhere: &'static str,
    /// Where a token is asked for and JavaScript is off.
    pub needs_script: &'static str,

    /// Above the charts.
    pub now: &'static str,
    /// Messages that are stored in a second.
    pub published: &'static str,
    /// Messages that are delivered in a second.
    pub delivered: &'static str,
    /// Bytes that are delivered in a second.
    pub bytes: &'static str,
    /// Connections that are open, and above them in the table.
    pub connections: &'static str,
    /// A chart in words: of what, now, at most.
    pub chart: fn(&str, &str, &str) -> String,
    /// Below a chart: at most.
    pub peak: fn(&str) -> String,
    /// How many rooms are in memory; what clients make the server hold, of how much.
    pub held: fn(&str, &str, &str) -> String,
    /// Only who administers every room sees the figures of all.
    pub some_rooms: &'static str,

    /// Above the rooms, and their number.
    pub rooms: &'static str,
    /// The field that chooses rooms.
    pub prefix: &'static str,
    /// The button that does, for rooms and for connections.
    pub show: &'static str,
    /// The way back to all.
    pub show_all: &'static str,
    /// The way to those behind the last.
    pub next: &'static str,
    /// There is none.
    pub no_rooms: &'static str,
    /// A room's name.
    pub room: &'static str,
    /// Ids that are present.
    pub members: &'static str,
    /// The newest offset.
    pub head: &'static str,
    /// The oldest offset kept.
    pub first: &'static str,
    /// Messages in memory.
    pub in_memory: &'static str,
    /// Their size.
    pub size: &'static str,
    /// Above the buttons of a row.
    pub acts: &'static str,
    /// Behind the name of a closed room, and above their list.
    pub closed: &'static str,

    /// Above the newest messages of a room.
    pub messages: fn(&RoomName) -> String,
    /// What is in the list.
    pub newest: fn(usize) -> String,
    /// There is none.
    pub no_messages: &'static str,
    /// They cannot be read now.
    pub unread: &'static str,
    /// In the place of a deleted one.
    pub deleted: &'static str,
    /// In the place of one that is not text, by its size in bytes.
    pub binary: fn(usize) -> String,
    /// So long ago.
    pub ago: fn(&str) -> String,

    /// The field that chooses connections.
    pub who: &'static str,
    /// Connections are those in this room only.
    pub in_room: fn(&RoomName) -> String,
    /// There is none.
    pub no_connections: &'static str,
    /// A connection's number.
    pub number: &'static str,
    /// Who it says it is.
    pub id: &'static str,
    /// A stream that nobody sees.
    pub nobody: &'static str,
    /// Where it comes from.
    pub address: &'static str,
    /// Since when.
    pub since: &'static str,
    /// How many messages it has not been sent yet.
    pub behind: &'static str,
    /// Bytes that wait for it.
    pub waiting: &'static str,
    /// How it reads.
    pub dialect: &'static str,

    /// Above the trace of a connection.
    pub tracing: fn(u64) -> String,
    /// What a trace tells, and does not.
    pub trace_note: &'static str,
    /// The button that ends it.
    pub stop: &'static str,
    /// Before anything has passed.
    pub trace_empty: &'static str,
    /// It has ended.
    pub trace_over: &'static str,
    /// An event; what it is about stands as the name of its field, like `{bytes}`.
    pub event: fn(Event) -> &'static str,

    /// Above the bans.
    pub bans: &'static str,
    /// There is none.
    pub no_bans: &'static str,
    /// Of so many, the newest are listed.
    pub more_bans: fn(usize) -> String,
    /// Whom a ban is for.
    pub whom: &'static str,
    /// Above, and in place of, the room of a ban: everywhere.
    pub everywhere: &'static str,
    /// Until when.
    pub until: &'static str,
    /// Without an end.
    pub until_lifted: &'static str,
    /// It ends in so long.
    pub ends_in: fn(&str) -> String,
    /// Why.
    pub reason: &'static str,
    /// Who decided it.
    pub by: &'static str,

    /// Ends a connection.
    pub kick: &'static str,
    /// Keeps somebody out.
    pub ban: &'static str,
    /// The same, of somebody who need not be here.
    pub ban_somebody: &'static str,
    /// Watches a connection.
    pub trace: &'static str,
    /// Closes a room.
    pub close: &'static str,
    /// Opens one.
    pub open: &'static str,
    /// Lifts a ban.
    pub lift: &'static str,
    /// Deletes a message.
    pub delete: &'static str,
    /// Does nothing.
    pub cancel: &'static str,

    /// Whether to end this connection, of this id.
    pub ask_kick: fn(u64, &str) -> String,
    /// What comes of it.
    pub kick_note: &'static str,
    /// Whom to keep out.
    pub ask_ban: &'static str,
    /// An id or an address.
    pub id_or_address: &'static str,
    /// Whoever has this id.
    pub this_id: fn(&str) -> String,
    /// Whoever comes from this address.
    pub this_address: fn(&str) -> String,
    /// Above the choice of a room.
    pub place: &'static str,
    /// Only in this room.
    pub only_in: fn(&str) -> String,
    /// The field of a room, where it may be left empty.
    pub only_room: &'static str,
    /// Above the choice of a time.
    pub how_long: &'static str,
    /// The field of a reason, which whoever is kept out reads.
    pub reason_shown: &'static str,
    /// What comes of a ban.
    pub ban_note: &'static str,
    /// Whether to close this room.
    pub ask_close: fn(&RoomName) -> String,
    /// What comes of it.
    pub close_note: &'static str,
    /// Whether to delete this message.
    pub ask_delete: fn(&RoomName, Offset) -> String,
    /// What comes of it.
    pub delete_note: &'static str,
    /// What was asked about is gone.
    pub gone: &'static str,

    /// It was done: a connection was ended.
    pub kicked: &'static str,
    /// Somebody is kept out; so many connections were ended.
    pub banned: fn(usize) -> String,
    /// A ban was lifted.
    pub lifted: &'static str,
    /// A room was closed; so many connections were ended.
    pub room_closed: fn(usize) -> String,
    /// A room was opened.
    pub room_opened: &'static str,
    /// A message was deleted.
    pub message_deleted: &'static str,
    /// It was not done: why follows, as the server says it.
    pub failed: &'static str,
}

impl Locale {
    /// Its phrases for operators.
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
    fn no_language_leaves_out_what_a_phrase_is_about() {
        let room = RoomName::parse("class-7b").expect("a room");
        for text in Locale::ALL.map(Locale::admin_text) {
            for (words, about) in [
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
                assert!(words.contains(about), "{about} in {words}");
            }
        }
    }

    #[test]
    fn every_event_has_its_place_for_what_it_is_about() {
        for text in Locale::ALL.map(Locale::admin_text) {
            for event in Event::ALL {
                let words = (text.event)(event);
                assert_eq!(words.matches('{').count(), event.fields().len(), "{words}");
                for field in event.fields() {
                    assert!(
                        words.contains(&format!("{{{field}}}")),
                        "{field} in {words}"
                    );
                }
            }
        }
    }
}
