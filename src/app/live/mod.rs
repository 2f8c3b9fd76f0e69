//! The state of a room, as signals that the components read, and the actions that change it.
//!
//! [`RoomState`] is created on both sides, in the state that the server has rendered. In the browser an effect starts it:
//! it restores what the browser has stored and spawns the task of [`connection`]. [`MessageList`] has the messages, and the
//! rest of the logic. It is pure, so its tests need no browser.

mod calendar;
mod connection;
mod row;
mod rows;
mod row_window;
mod unread;
mod pending_message;
mod message_list;

pub use calendar::{Clock, Day};
pub use message_list::MessageList;
pub use pending_message::PendingMessage;
pub use row::{
    Content, Entry, Gap, GapState, Message, MessageState, Missing, Reason, Row, RowView,
};

use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use leptos::leptos_dom::helpers::{TimeoutHandle, set_timeout_with_handle};
use leptos::prelude::*;
use leptos::task::spawn_local_scoped_with_cancellation;

use super::snapshot::InitialHistory;
use crate::browser::scroll::Viewport;
use crate::browser::storage::PageStorage;
use crate::browser::{clock, dom, token};
use crate::protocol::{BasePath, CloseCode, Push, RoomName, UserId};
use connection::{ConnectionCommand, keep_connected};
use message_list::Effect;

/// The storage key of the user's id.
const ID: &str = "fanfare.id";

/// The cookie with the user's id, from which the server fills in the form.
const NAME_COOKIE: &str = "name";

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

/// A part of the log to scroll to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrollTarget {
    /// The end, which is followed from then on.
    End,
    /// The row that a search has found.
    Found,
}

/// The state of one room.
#[derive(Clone, Copy, Debug)]
pub struct RoomState {
    /// The status of the connection.
    pub connection: RwSignal<ConnectionStatus>,
    /// The users in the room, while connected.
    pub present: RwSignal<Option<RoomPresence>>,
    /// The messages, at first those that the server has rendered.
    pub messages: RwSignal<MessageList>,
    /// Figures of the connection.
    pub stats: RwSignal<ConnectionStats>,
    /// True if users may join under any name.
    pub is_open: bool,
    /// The user's own id; `None` until it was read from the browser.
    pub me: RwSignal<Option<UserId>>,
    /// The text of a withdrawn message, for the input.
    pub taken_back: RwSignal<Option<String>>,
    /// The part of the log that the page scrolls to.
    pub scroll_to: RwSignal<Option<ScrollTarget>>,
    /// True once the page responds and knows the time zone.
    pub awake: RwSignal<bool>,
    room: StoredValue<RoomName>,
    base: StoredValue<BasePath>,
    storage: StoredValue<PageStorage>,
    /// The commands for the connection; `None` before the start.
    commands: StoredValue<Option<UnboundedSender<ConnectionCommand>>>,
    /// The timer of [`Effect::wake_after`](message_list::Effect::wake_after).
    timer: StoredValue<Option<TimeoutHandle>>,
}

impl RoomState {
    /// Creates the state of `room` as the server renders it: with `history`, and not connected.
    pub(super) fn new(
        base: BasePath,
        room: RoomName,
        is_open: bool,
        history: Option<InitialHistory>,
    ) -> Self {
        Self {
            connection: RwSignal::new(ConnectionStatus::Connecting),
            present: RwSignal::new(None),
            messages: RwSignal::new(MessageList::new(history)),
            stats: RwSignal::new(ConnectionStats::default()),
            is_open,
            me: RwSignal::new(None),
            taken_back: RwSignal::new(None),
            scroll_to: RwSignal::new(None),
            awake: RwSignal::new(false),
            room: StoredValue::new(room),
            storage: StoredValue::new(PageStorage::new(base.clone())),
            base: StoredValue::new(base),
            commands: StoredValue::new(None),
            timer: StoredValue::new(None),
        }
    }

    /// Restores what the browser has stored, and connects. To be called in an effect, because until hydration has ended the
    /// page must stay as the server has rendered it. The connection ends with the owner of the effect.
    pub(super) fn start(self) {
        let storage = self.storage();
        self.set_user(own_id(&storage));
        let pending = storage.read_all(&self.outbox_key(""));
        let pending = pending
            .iter()
            .filter_map(|(key, entry)| PendingMessage::decode(key, entry))
            .collect();
        self.messages.update(|list| list.restore(pending));

        dom::listen(&window(), "online", move || self.on_visibility());
        dom::listen(&document(), "visibilitychange", move || {
            self.on_visibility();
        });
        token::watch();

        let (commands, received) = unbounded();
        self.commands.set_value(Some(commands));
        self.awake.set(true);
        spawn_local_scoped_with_cancellation(keep_connected(
            self,
            token::token(&storage),
            received,
        ));
        // Tests and scripts use this attribute to detect that the page responds. The page does not depend on it.
        dom::set_root_attribute("data-hydrated", "");
    }

    /// Sends `text` to the room, now or once there is a connection.
    pub(super) fn send(self, text: &str) -> SendResult {
        if matches!(
            self.connection.get_untracked(),
            ConnectionStatus::Refused(_)
        ) {
            return SendResult::Refused;
        }

        let at = clock::now();
        let key = PendingMessage::new_key(at, &crate::browser::random_name());
        if let (Some(key), Some(from)) = (key, self.me.get_untracked()) {
            let pending = PendingMessage {
                key,
                from,
                at,
                text: text.to_owned(),
                position: self
                    .messages
                    .with_untracked(|list| list.position().cloned()),
            };
            // The message is stored before it is sent, so that a crash does not lose it.
            let key = self.outbox_key(pending.key.as_str());
            self.storage().write(&key, &pending.encode());

            self.change(|list| list.send(pending, clock::since_start()));
            self.to_end();
        }
        SendResult::Queued
    }

    /// Sends the failed message of the row `id` again.
    pub(super) fn retry(self, id: u64) {
        self.change(|list| list.retry(id, clock::since_start()));
    }

    /// Moves the text of the failed message of the row `id` to the input.
    pub(super) fn edit(self, id: u64) {
        if let Some((text, effect)) = self
            .messages
            .try_update(|list| list.take_back(id))
            .flatten()
        {
            self.apply(effect);
            self.taken_back.set(Some(text));
        }
    }

    /// Loads the missing messages of the row `id`.
    pub(super) fn load(self, id: u64) {
        self.change(|list| list.load_gap(id, clock::since_start()));
    }

    /// Scrolls to the end of the log.
    pub(super) fn to_end(self) {
        self.messages.update(MessageList::follow);
        self.scroll_to.set(Some(ScrollTarget::End));
    }

    /// Scrolls to the row `id` as the result of a search; `None` ends the search.
    pub(super) fn find(self, id: Option<u64>) {
        self.messages.update(|list| list.show_found(id));
        if id.is_some() {
            self.scroll_to.set(Some(ScrollTarget::Found));
        }
    }

    /// Connects at once.
    pub(super) fn connect(self) {
        self.command(ConnectionCommand::Connect);
    }

    /// Measures the round trip, and so checks the connection.
    pub(super) fn check(self) {
        self.command(ConnectionCommand::Probe);
    }

    /// Drops the connection to demonstrate recovery.
    pub(super) fn disconnect(self) {
        self.command(ConnectionCommand::Disconnect);
    }

    /// Changes the user's id to `name`.
    pub(super) fn rename(self, name: UserId) {
        self.storage().write(ID, name.as_str());
        self.set_user(name);
        self.connect();
    }

    /// Returns the draft that was stored when the user left the page.
    pub(super) fn draft(self) -> Option<String> {
        self.storage().read(&self.draft_key())
    }

    /// Stores `text` as a draft, in case the user leaves the page.
    pub(super) fn keep_draft(self, text: &str) {
        let (storage, key) = (self.storage(), self.draft_key());
        if text.is_empty() {
            storage.remove(&key);
        } else {
            storage.write(&key, text);
        }
    }

    /// Records which part of the log is visible.
    pub(super) fn on_scroll(self, viewport: Viewport) {
        let change = |list: &mut MessageList| {
            let (is_redrawn, effect) = list.set_viewport(viewport, clock::since_start());
            let is_attended = list.set_attended(viewport.at_end && dom::is_visible());
            (is_redrawn || is_attended || !effect.send.is_empty(), effect)
        };
        if let Some(effect) = self.messages.try_maybe_update(change) {
            self.apply(effect);
        }
    }

    /// Returns the drawn rows of the log, oldest first.
    pub(super) fn views(self) -> Vec<RowView> {
        let is_local = self.awake.get();
        self.messages
            .with(|list| list.views(|at| calendar::day(at, ahead_of_utc(at, is_local))))
    }

    /// Returns `at`, in milliseconds since 1970 UTC, in the local time zone, or in UTC until the page is awake.
    pub(super) fn clock(self, at: u64) -> Clock {
        let is_local = self.awake.get();
        Clock::new(at, is_local.then(|| ahead_of_utc(at, is_local)))
    }

    /// Returns the name of the room.
    pub(super) fn room(self) -> RoomName {
        self.room.get_value()
    }

    /// Returns the storage of the page.
    pub(super) fn storage(self) -> PageStorage {
        self.storage.get_value()
    }

    /// Records that the tab was shown or hidden, or that the network has returned.
    fn on_visibility(self) {
        let is_visible = dom::is_visible();
        let change = |list: &mut MessageList| {
            let is_attended = list.follows() && is_visible;
            (list.set_attended(is_attended), ())
        };
        // Fails only after the list was disposed with the page.
        let _ = self.messages.try_maybe_update(change);

        if is_visible {
            self.check();
        }
    }

    /// Records frames of the server.
    fn receive(self, pushes: Vec<Push>) {
        self.change(|list| list.receive(pushes, clock::since_start()));
    }

    fn on_disconnect(self) {
        self.connection.set(ConnectionStatus::Connecting);
        self.present.set(None);
        self.set_round_trip(None);
        self.messages.update(MessageList::on_disconnect);
    }

    fn on_refused(self, code: u16) {
        self.connection
            .set(ConnectionStatus::Refused(Refusal::from(code)));
        self.messages.update(MessageList::on_refused);
    }

    /// Records a frame that the server sends only while its store is available.
    fn end_stall(self) {
        if self.connection.get_untracked() == ConnectionStatus::Stalled {
            self.connection.set(ConnectionStatus::Live);
        }
    }

    fn set_round_trip(self, round_trip: Option<Duration>) {
        if self.stats.with_untracked(|stats| stats.round_trip) != round_trip {
            self.stats.update(|stats| stats.round_trip = round_trip);
        }
    }

    /// Changes the message list, and performs the effect.
    fn change(self, change: impl FnOnce(&mut MessageList) -> Effect) {
        if let Some(effect) = self.messages.try_update(change) {
            self.apply(effect);
        }
    }

    fn apply(self, effect: Effect) {
        let Effect {
            send,
            forget,
            wake_after,
        } = effect;

        for command in send {
            self.command(ConnectionCommand::Send(command));
        }

        for key in forget {
            self.storage().remove(&self.outbox_key(key.as_str()));
        }

        if let Some(time) = wake_after {
            if let Some(earlier) = self.timer.get_value() {
                earlier.clear();
            }
            // One millisecond more, so that the time has passed.
            let time = time + Duration::from_millis(1);
            let wake = move || self.change(|list| list.on_timer(clock::since_start()));
            // Fails only without a window.
            self.timer
                .set_value(set_timeout_with_handle(wake, time).ok());
        }
    }

    fn command(self, command: ConnectionCommand) {
        self.commands.with_value(|commands| {
            if let Some(commands) = commands {
                // Fails only after the connection's task has ended.
                let _ = commands.unbounded_send(command);
            }
        });
    }

    fn set_user(self, user: UserId) {
        self.storage().set_cookie(NAME_COOKIE, user.as_str());
        self.messages.update(|list| list.set_user(user.clone()));
        self.me.set(Some(user));
    }

    fn base(self) -> BasePath {
        self.base.get_value()
    }

    /// Returns the query of the next connection.
    fn query(self) -> String {
        // With tokens, the token determines the id.
        let user = self.me.get_untracked().filter(|_| self.is_open);
        let room = self.room();
        self.messages
            .with_untracked(|list| list.cursor().query(&room, user.as_ref()))
    }

    /// Returns the storage key of the pending message `key` of this room.
    fn outbox_key(self, key: &str) -> String {
        format!("fanfare.outbox.{} {key}", self.room())
    }

    fn draft_key(self) -> String {
        format!("fanfare.draft.{}", self.room())
    }
}

/// Returns the id of this browser. Creates and stores one at the first visit.
fn own_id(storage: &PageStorage) -> UserId {
    if let Some(id) = storage.read(ID).and_then(|id| UserId::parse(&id).ok()) {
        return id;
    }

    let id = UserId::guest((crate::browser::random() * f64::from(u32::MAX)) as u64);
    storage.write(ID, id.as_str());
    id
}

/// Returns the milliseconds by which the clock of the page is ahead of UTC at `at`; zero unless it `is_local`.
fn ahead_of_utc(at: u64, is_local: bool) -> i64 {
    if is_local { clock::ahead_of_utc(at) } else { 0 }
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
