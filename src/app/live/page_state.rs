//! The state of the page: the connection, the user, and the rooms.

mod rooms;

use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use leptos::prelude::*;
use leptos::task::spawn_local_scoped_with_cancellation;

use super::connection::{ConnectionCommand, keep_connected};
use super::connection_status::{ConnectionStats, ConnectionStatus, Refusal};
use super::message_list::MessageList;
use super::pending_message::PendingMessage;
use super::profile::{Choice, Profile};
use super::room_access::RoomAccess;
use super::room_state::RoomState;
use super::sign_in_state::SignInState;
use crate::app::snapshot::Snapshot;
use crate::browser::storage::PageStorage;
use crate::browser::{alert, dom, token};
use crate::protocol::{
    BasePath, CloseCode, Command, Key, Offset, Publication, Push, RoomName, Token, UserId, Welcome,
};

/// The state of the page.
#[derive(Clone, Copy, Debug)]
pub struct PageState {
    /// The status of the connection.
    pub connection: RwSignal<ConnectionStatus>,
    /// Figures of the connection.
    pub stats: RwSignal<ConnectionStats>,
    /// True if users may join under any name.
    pub is_open: bool,
    /// The sign-in of the user, where names are verified.
    pub sign_in: SignInState,
    /// The user's own id; `None` until it was read from the browser or, where names are verified, the server has named the user.
    pub me: RwSignal<Option<UserId>>,
    /// True once the page responds and knows the time zone.
    pub awake: RwSignal<bool>,
    /// True if mentions are shown as notifications of the system.
    pub notifies: RwSignal<bool>,
    /// True if mentions play a sound.
    pub sounds: RwSignal<bool>,
    /// The rooms of the user, with the shown one.
    pub rooms: RwSignal<Vec<RoomState>>,
    /// The name of the shown room.
    pub shown: RwSignal<RoomName>,
    base: StoredValue<BasePath>,
    /// The number of this browser, by which the user's messages are known after a change of the name.
    browser: StoredValue<u32>,
    storage: StoredValue<PageStorage>,
    /// The owner of the signals of rooms that are added later.
    owner: StoredValue<Owner>,
    /// The welcome of the connection, for rooms that are added later; `None` while there is none.
    welcome: StoredValue<Option<Welcome>>,
    /// The commands for the connection; `None` before the start.
    commands: StoredValue<Option<UnboundedSender<ConnectionCommand>>>,
}

impl PageState {
    /// Creates the state of the page of `snapshot`, as the server renders it. The page is not connected.
    pub(in crate::app) fn new(snapshot: &Snapshot) -> Self {
        let room = snapshot.room.clone();
        let base = snapshot.base.clone();

        let page = Self {
            connection: RwSignal::new(ConnectionStatus::Connecting),
            stats: RwSignal::new(ConnectionStats::default()),
            is_open: snapshot.is_open,
            sign_in: SignInState::new(snapshot.user.clone(), snapshot.sign_in.clone()),
            me: RwSignal::new(None),
            awake: RwSignal::new(false),
            notifies: RwSignal::new(false),
            sounds: RwSignal::new(false),
            rooms: RwSignal::new(Vec::new()),
            shown: RwSignal::new(room.clone()),
            storage: StoredValue::new(PageStorage::new(base.clone())),
            base: StoredValue::new(base),
            browser: StoredValue::new(0),
            owner: StoredValue::new(Owner::current().unwrap_or_default()),
            welcome: StoredValue::new(None),
            commands: StoredValue::new(None),
        };

        let list = MessageList::new(snapshot.past.clone(), snapshot.at);
        let shown = RoomState::new(page, room, snapshot.access.clone(), list);
        page.rooms.set(vec![shown]);

        page
    }

    /// Restores what the browser has stored, and connects. To be called in an effect, because until hydration has ended the
    /// page must stay as the server has rendered it. The connection ends with the owner of the effect.
    pub(in crate::app) fn start(self) {
        let profile = self.profile();
        self.browser.set_value(profile.browser());

        for name in profile.rooms() {
            self.add(name);
        }
        for room in self.rooms.get_untracked() {
            room.messages
                .update(|list| list.set_browser(self.browser.get_value()));
        }

        let user = match self.is_open {
            true => Some(profile.id_or_guest()),
            false => self.sign_in.user.get_untracked(),
        };
        if let Some(user) = user {
            self.set_user(user);
        }

        self.notifies
            .set(profile.has(Choice::Notifications) && alert::may_notify());
        self.sounds.set(profile.has(Choice::Sound));

        // The messages of a room count as read only while the user sees the room.
        self.on_visibility();
        for room in self.rooms.get_untracked() {
            room.restore();
        }
        profile.add_visit(&self.shown.get_untracked());

        dom::listen_for_ever(&window(), "online", move || self.on_visibility());
        dom::listen_for_ever(&window(), "offline", move || self.disconnect());
        dom::listen_for_ever(&document(), "visibilitychange", move || {
            self.on_visibility();
        });
        dom::listen_for_ever(&window(), "popstate", move || self.on_navigation());
        dom::listen_for_ever(&window(), "storage", move || self.on_stored());
        token::watch();

        let (commands, received) = unbounded();
        self.commands.set_value(Some(commands));
        self.sign_in.restore(&self.storage());
        self.awake.set(true);
        spawn_local_scoped_with_cancellation(keep_connected(self, received));
        // Tests and scripts use this attribute to detect that the page responds. The page does not depend on it.
        dom::set_root_attribute("data-hydrated", "");
    }

    /// Returns the path of the page of the room `name`.
    pub(in crate::app) fn path(self, name: &RoomName) -> String {
        self.base
            .with_value(|base| base.join(&format!("/r/{name}")))
    }

    /// Returns the path of the permalink of the message at `offset` in the room `name`.
    pub(in crate::app) fn permalink(self, name: &RoomName, offset: Offset) -> String {
        format!("{}?at={offset}", self.path(name))
    }

    /// Sets whether mentions are shown as notifications.
    pub(in crate::app) fn set_notifies(self, is_on: bool) {
        self.notifies.set(is_on);
        self.profile().set(Choice::Notifications, is_on);
    }

    /// Sets whether mentions play a sound.
    pub(in crate::app) fn set_sounds(self, is_on: bool) {
        self.sounds.set(is_on);
        self.profile().set(Choice::Sound, is_on);
    }

    /// Connects at once.
    pub(in crate::app) fn connect(self) {
        self.command(ConnectionCommand::Connect);
    }

    /// Measures the round trip, and so checks the connection.
    pub(in crate::app) fn check(self) {
        self.command(ConnectionCommand::Probe);
    }

    /// Drops the connection to demonstrate recovery.
    pub(in crate::app) fn disconnect(self) {
        self.command(ConnectionCommand::Disconnect);
    }

    /// Changes the user's id to `name`.
    pub(in crate::app) fn rename(self, name: UserId) {
        self.profile().set_id(&name);
        self.reconnect_as(name);
    }

    /// Sets the icon of the tab. It has a mark if there are unread messages.
    pub(in crate::app) fn set_icon(self, is_unread: bool) {
        let icon = if is_unread {
            "/favicon-unread.svg"
        } else {
            "/favicon.svg"
        };
        dom::set_icon(&self.url(icon));
    }

    /// Shows `message`, which mentions the user, outside of the page.
    pub(super) fn alert(self, message: &Publication, text: &str) {
        if self.notifies.get_untracked() {
            let title = format!("{} ({})", message.from.shown(), message.room);
            alert::notify(&title, text, &message.offset.to_string());
        }
        if self.sounds.get_untracked() {
            alert::play_sound();
        }
    }

    /// Returns a key for a message that is sent at the time `at`, in milliseconds since 1970 UTC.
    pub(super) fn new_key(self, at: u64) -> Option<Key> {
        let random = crate::browser::random_name();
        PendingMessage::new_key(at, self.browser.get_value(), &random)
    }

    /// Returns the storage of the page.
    pub(in crate::app) fn storage(self) -> PageStorage {
        self.storage.get_value()
    }

    /// Sends `command` to the server. Without a connection the command is dropped.
    pub(super) fn send(self, command: Command) {
        self.command(ConnectionCommand::Send(command));
    }

    /// Returns the stored profile of the user.
    pub(super) fn profile(self) -> Profile {
        Profile::new(self.storage())
    }

    /// Records a new token of the user, which the server has accepted or the next connection uses.
    pub(super) fn on_new_token(self, token: Token) {
        self.sign_in.renew(&self.storage(), token);
        for room in self.rooms.get_untracked() {
            if room.access.with_untracked(RoomAccess::depends_on_token) {
                room.access.set(self.granted_access(&room.name()));
            }
        }
    }

    /// Returns the access to the room `name` that a subscription grants, as far as the page knows. Nobody writes before the server
    /// has named the user, because it is not known to whom the messages would belong.
    pub(super) fn granted_access(self, name: &RoomName) -> RoomAccess {
        if !self.is_open && self.me.with_untracked(Option::is_none) {
            RoomAccess::Unknown
        } else if !self.is_open && (self.sign_in.is_guest() || self.sign_in.is_read_only(name)) {
            RoomAccess::ReadOnly
        } else {
            RoomAccess::Granted
        }
    }

    /// Returns the URL of `path` on the server of the page.
    pub(super) fn url(self, path: &str) -> String {
        self.base.with_value(|base| base.join(path))
    }

    /// Records that the server has accepted the connection. Returns true if another connection is needed: the unsent messages of
    /// the user were not known when this one was opened.
    pub(super) fn on_welcome(self, welcome: &Welcome) -> bool {
        self.connection.set(ConnectionStatus::Live);
        self.welcome.set_value(Some(welcome.clone()));
        if self.is_open {
            return false;
        }
        self.sign_in.on_welcome(&welcome.id);
        if self
            .me
            .with_untracked(|me| me.as_ref() == Some(&welcome.id))
        {
            return false;
        }

        self.set_user(welcome.id.clone());
        let mut has_pending = false;
        for room in self.rooms.get_untracked() {
            has_pending |= room.restore_outbox();
        }
        has_pending
    }

    pub(super) fn on_disconnect(self) {
        self.connection.set(ConnectionStatus::Connecting);
        self.welcome.set_value(None);
        self.set_round_trip(None);
        for room in self.rooms.get_untracked() {
            room.on_disconnect();
        }
    }

    pub(super) fn on_refused(self, code: u16) {
        let refusal = if code == CloseCode::BadToken.number() {
            self.sign_in.on_refused()
        } else {
            Refusal::from(code)
        };
        self.connection.set(ConnectionStatus::Refused(refusal));
        for room in self.rooms.get_untracked() {
            room.messages.update(MessageList::on_refused);
        }
    }

    /// Records a frame that the server sends only while its store is available.
    pub(super) fn end_stall(self) {
        if self.connection.get_untracked() == ConnectionStatus::Stalled {
            self.connection.set(ConnectionStatus::Live);
        }
    }

    pub(super) fn set_round_trip(self, round_trip: Option<Duration>) {
        if self.stats.with_untracked(|stats| stats.round_trip) != round_trip {
            self.stats.update(|stats| stats.round_trip = round_trip);
        }
    }

    pub(super) fn base(self) -> BasePath {
        self.base.get_value()
    }

    /// Shows the room of the URL, after the user has moved in the history of the tab.
    fn on_navigation(self) {
        let path = dom::path();
        let name = self
            .base
            .with_value(|base| Some(base.strip(&path)?.strip_prefix("/r/")?.to_owned()));
        let name = name
            .and_then(|name| RoomName::parse(&name).ok())
            .unwrap_or_else(RoomName::lobby);

        if self.shown.with_untracked(|shown| *shown != name) {
            self.show(&name);
        }
        if let Some(offset) = dom::query_value("at").and_then(|at| at.parse().ok()) {
            untrack(|| self.shown_room()).jump(Offset(offset));
        }
    }

    /// Applies the name and the read marks that another tab has stored.
    fn on_stored(self) {
        if let Some(name) = self.profile().id()
            && self.is_open
            && self.me.with_untracked(|me| me.as_ref() != Some(&name))
        {
            self.reconnect_as(name);
        }

        for room in self.rooms.get_untracked() {
            room.apply_read_mark();
        }
    }

    /// Records that the tab was shown or hidden, or that the network has returned.
    fn on_visibility(self) {
        untrack(|| self.shown_room()).on_visibility();
        if dom::is_visible() {
            self.check();
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

    /// Changes the user's id to `name`. The old name leaves the rooms for good, so that the user is not present twice.
    fn reconnect_as(self, name: UserId) {
        for room in self.rooms.get_untracked() {
            self.send(Command::Unsubscribe {
                room: room.name().into(),
            });
        }

        self.set_user(name);
        self.connect();
    }

    fn set_user(self, user: UserId) {
        if self.is_open {
            self.profile().set_name_cookie(&user);
        }
        for room in self.rooms.get_untracked() {
            room.messages.update(|list| list.set_user(user.clone()));
        }
        self.me.set(Some(user));
    }
}
