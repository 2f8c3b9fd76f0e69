//! The state of a room: signals for the panels, and the only interface between the page and the browser.
//!
//! [`RoomState`] has the same type on both sides, and two implementations with the same signatures: `hydrate` uses
//! `browser`, and `ssr.rs` does nothing, because nothing changes on the server. [`MessageList`] contains the logic.
//! This module is pure and compiled on both sides, so its tests need no browser.

mod calendar;
mod row;
mod rows;
mod window;
mod unread;
mod pending_message;
mod message_list;

#[cfg(feature = "hydrate")]
#[path = "hydrate/mod.rs"]
mod imp;
#[cfg(not(feature = "hydrate"))]
#[path = "ssr.rs"]
mod imp;

pub use calendar::{Clock, Day};
pub use message_list::{Effect, MessageList};
pub use pending_message::PendingMessage;
pub use row::{
    Content, Entry, Gap, GapState, Message, MessageState, Missing, Reason, Row, RowView,
};
pub use window::Viewport;

use std::time::Duration;

use leptos::prelude::*;
use leptos::web_sys::Element;

use super::snapshot::{InitialHistory, Snapshot};
use super::theme::Theme;
use crate::protocol::{CloseCode, RoomName, UserId};

/// The status of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// A connection is being opened.
    Connecting,
    /// The server has sent its welcome. Messages can be sent.
    Live,
    /// The server is connected, but its store is not. Messages are delayed, and new ones are refused.
    Stalled,
    /// There is no connection.
    Waiting {
        /// The time until the next attempt, rounded up.
        seconds: u32,
    },
    /// There is no connection, and the browser has no network.
    Offline,
    /// The server forbade a reconnect.
    Refused(Refusal),
}

/// The reason why the server does not accept the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server requires a token. The page has none, or an expired one.
    NoToken,
    /// The user may not join this room: the token does not grant it, or an operator has banned the user.
    NotAllowed,
    /// Any other reason.
    Other,
}

impl From<u16> for Refusal {
    /// Returns the reason that the close code `code` stands for.
    fn from(code: u16) -> Self {
        if code == CloseCode::BadToken.number() {
            Self::NoToken
        } else if code == CloseCode::NotAllowed.number() {
            Self::NotAllowed
        } else {
            Self::Other
        }
    }
}

/// The users in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomPresence {
    /// The number of users.
    pub count: usize,
    /// The names of the users, sorted; `None` in a large room.
    pub names: Option<Vec<UserId>>,
}

impl RoomPresence {
    /// Applies a change. `joined` and `left` are sorted, and empty in a large room.
    pub fn update(&mut self, count: usize, joined: &[UserId], left: &[UserId]) {
        self.count = count;
        let Some(names) = &mut self.names else { return };

        names.retain(|name| {
            left.binary_search(name).is_err() && joined.binary_search(name).is_err()
        });
        for name in joined {
            let at = names.partition_point(|other| other < name);
            names.insert(at, name.clone());
        }

        // The room has become too large for names.
        if names.len() != count {
            self.names = None;
        }
    }
}

/// Figures of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// The time between the last ping and its answer.
    pub round_trip: Option<Duration>,
    /// The number of reconnects.
    pub resumes: u32,
}

/// The result of sending a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// The text is a row now. The row shows its progress.
    Queued,
    /// The text was not accepted, because the page will not reconnect.
    Refused,
}

/// The state of one room, for the panels.
#[derive(Clone, Copy, Debug)]
pub struct RoomState {
    /// The status of the connection. Starts as `Connecting` on both sides.
    pub connection: RwSignal<ConnectionStatus>,
    /// The users in the room, while connected. Starts as `None` on both sides.
    pub present: RwSignal<Option<RoomPresence>>,
    /// The messages. Starts with the messages that the server has rendered, on both sides.
    pub messages: RwSignal<MessageList>,
    /// Figures of the connection.
    pub stats: RwSignal<ConnectionStats>,
    /// True if users may join under any name.
    pub is_open: bool,
    /// The user's own id; `None` until it was read from the browser.
    pub me: RwSignal<Option<UserId>>,
    /// The theme of the page.
    pub theme: RwSignal<Theme>,
    /// The text of a withdrawn message, for the input.
    pub taken_back: RwSignal<Option<String>>,
    /// True once the page responds and knows the time zone. `false` on both sides during hydration.
    pub awake: RwSignal<bool>,
    client: StoredValue<Option<imp::Client>, LocalStorage>,
}

/// Returns the input of the first render.
pub(super) fn snapshot() -> Snapshot {
    imp::snapshot()
}

/// Returns the HTML of `view` on the server, and nothing in the browser.
pub(super) fn html<V: RenderHtml>(view: impl FnOnce() -> V) -> String {
    imp::html(view)
}

impl RoomState {
    /// Creates the state of `room`, and connects if this is a browser.
    pub(super) fn start(
        room: &RoomName,
        is_open: bool,
        history: Option<InitialHistory>,
        theme: Theme,
    ) -> Self {
        let live = Self {
            connection: RwSignal::new(ConnectionStatus::Connecting),
            present: RwSignal::new(None),
            messages: RwSignal::new(MessageList::new(history)),
            stats: RwSignal::new(ConnectionStats::default()),
            is_open,
            me: RwSignal::new(None),
            theme: RwSignal::new(theme),
            taken_back: RwSignal::new(None),
            awake: RwSignal::new(false),
            client: StoredValue::new_local(None),
        };

        imp::start(live, room.clone());
        live
    }

    /// Sends `text` to the room, now or once there is a connection.
    pub(super) fn send(self, text: &str) -> SendResult {
        let status = self.connection.get_untracked();
        if matches!(status, ConnectionStatus::Refused(_)) {
            return SendResult::Refused;
        }

        self.client(|client| client.send(text));
        SendResult::Queued
    }

    /// Sends the failed message of the row `id` again.
    pub(super) fn retry(self, id: u64) {
        self.client(|client| client.retry(id));
    }

    /// Moves the text of the failed message of the row `id` to the input.
    pub(super) fn edit(self, id: u64) {
        let text = self.client(|client| client.take_back(id)).flatten();
        self.taken_back.set(text);
    }

    /// Loads the missing messages of the row `id`.
    pub(super) fn load(self, id: u64) {
        self.client(|client| client.load(id));
    }

    /// Makes `log` follow its content while its end is visible, and draws the rows around its visible part.
    pub(super) fn attach(self, log: &Element) {
        self.client(|client| client.attach(log));
    }

    /// Scrolls to the end of the log.
    pub(super) fn to_end(self) {
        self.client(imp::Client::to_end);
    }

    /// Scrolls to the row `id` as the result of a search; `None` ends the search.
    pub(super) fn find(self, id: Option<u64>) {
        self.client(|client| client.find(id));
    }

    /// Connects at once.
    pub(super) fn connect(self) {
        self.client(imp::Client::connect);
    }

    /// Measures the round trip, and so checks the connection.
    pub(super) fn check(self) {
        self.client(imp::Client::check);
    }

    /// Drops the connection to demonstrate recovery.
    pub(super) fn disconnect(self) {
        self.client(imp::Client::disconnect);
    }

    /// Changes the user's id to `name`.
    pub(super) fn rename(self, name: UserId) {
        self.client(|client| client.rename(name));
    }

    /// Shows the page in the colours of `theme`, and stores the choice.
    pub(super) fn set_theme(self, theme: Theme) {
        self.theme.set(theme);
        imp::set_theme(theme);
    }

    /// Returns the draft that was stored when the user left the page.
    pub(super) fn draft(self) -> Option<String> {
        self.client(imp::Client::draft).flatten()
    }

    /// Stores `text` as a draft, in case the user leaves the page.
    pub(super) fn keep_draft(self, text: &str) {
        self.client(|client| client.keep_draft(text));
    }

    /// Returns `at`, in milliseconds since 1970 UTC, in the local time zone, or in UTC until the page is awake.
    /// Tracks no signal, because all rows are drawn again when the page becomes awake.
    pub(super) fn clock(self, at: u64) -> Clock {
        let awake = self.awake.get_untracked();
        Clock::new(at, awake.then(|| imp::ahead_of_utc(at)))
    }

    /// Returns the number of the local day of `at`, counted from 1970.
    pub(super) fn day(self, at: u64) -> i64 {
        let awake = self.awake.get_untracked();
        calendar::day(at, if awake { imp::ahead_of_utc(at) } else { 0 })
    }

    fn client<T>(self, act: impl FnOnce(&imp::Client) -> T) -> Option<T> {
        self.client.with_value(|client| client.as_ref().map(act))
    }
}

/// Returns the rooms that this browser has visited, latest first.
pub(super) fn recent_rooms() -> Vec<RoomName> {
    imp::recent_rooms()
}

/// Returns the URL of the page.
pub(super) fn address() -> String {
    imp::address()
}

/// Copies `text` to the clipboard, and returns whether that is possible.
pub(super) fn copy(text: &str) -> bool {
    imp::copy(text)
}

/// Moves the focus by `by` among the elements of the class `kind` in `list`.
pub(super) fn move_focus(list: &Element, kind: &str, by: i32) {
    imp::move_focus(list, kind, by);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str]) -> Vec<UserId> {
        let user = |name: &&str| UserId::parse(name).expect("a name");
        names.iter().map(user).collect()
    }

    #[test]
    fn users_who_join_and_leave_change_the_names() {
        let mut present = RoomPresence {
            count: 2,
            names: Some(users(&["ann", "cid"])),
        };

        present.update(2, &users(&["bob"]), &users(&["cid"]));

        assert_eq!(present.count, 2);
        assert_eq!(present.names, Some(users(&["ann", "bob"])));
    }

    #[test]
    fn a_room_that_becomes_large_has_no_names() {
        let mut present = RoomPresence {
            count: 1,
            names: Some(users(&["ann"])),
        };

        present.update(1000, &[], &[]);

        assert_eq!(present.count, 1000);
        assert_eq!(present.names, None);
    }
}
