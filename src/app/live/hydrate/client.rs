//! The link between the panels, the connection and the browser. It applies changes to the room's state and performs
//! their effects: commands go to the connection, pending messages to the storage, positions to the scroll bar.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use gloo_timers::callback::Timeout;
use leptos::prelude::*;
use leptos::web_sys::Element;

use crate::app::dynamic::effect;
use crate::app::live::{Effect, MessageList, PendingMessage, RoomState, Viewport};
use crate::browser;
use crate::browser::reconnect::ConnectionCommand;
use crate::browser::scroll::{ScrollAnchor, View};
use crate::browser::{clock, dom};
use crate::browser::{storage, visibility};
use crate::protocol::{RoomName, UserId};

/// The storage key of the user's id. The server reads the id from a cookie.
const ID: &str = "fanfare.id";
const NAME_COOKIE: &str = "name";

/// A handle on the connection of the page.
#[derive(Clone)]
pub(in crate::app::live) struct Client(Rc<Inner>);

struct Inner {
    live: RoomState,
    room: RoomName,
    commands: UnboundedSender<ConnectionCommand>,
    scroll_anchor: RefCell<Option<ScrollAnchor>>,
    /// The timer of [`Effect::wake_after`].
    timer: RefCell<Option<Timeout>>,
    /// True after the first welcome.
    was_welcome: Cell<bool>,
}

impl Client {
    /// Restores the pending messages, and keeps the title of the tab up to date. The returned receiver yields the
    /// commands for the connection.
    pub(super) fn new(
        live: RoomState,
        room: RoomName,
    ) -> (Self, UnboundedReceiver<ConnectionCommand>) {
        let (commands, received) = unbounded();
        let client = Self(Rc::new(Inner {
            live,
            room,
            commands,
            scroll_anchor: RefCell::default(),
            timer: RefCell::default(),
            was_welcome: Cell::new(false),
        }));

        client.set_user(own_id());
        let pending = storage::read_all(&client.outbox_key(""));
        let pending = pending
            .iter()
            .filter_map(|(key, entry)| PendingMessage::decode(key, entry))
            .collect();
        live.messages.update(|list| list.restore(pending));

        let room = client.0.room.clone();
        let unread = Memo::new(move |_| live.messages.with(MessageList::unread));
        effect(move || {
            let count = match unread.get() {
                0 => String::new(),
                unread => format!("({unread}) "),
            };
            dom::set_title(&format!("{count}{room} - Fanfare"));
        });
        (client, received)
    }

    pub(super) fn live(&self) -> RoomState {
        self.0.live
    }

    pub(super) fn room(&self) -> &RoomName {
        &self.0.room
    }

    pub(super) fn is_first_welcome(&self) -> bool {
        !self.0.was_welcome.replace(true)
    }

    pub(super) fn command(&self, command: ConnectionCommand) {
        // Fails only after the connection's task has ended.
        let _ = self.0.commands.unbounded_send(command);
    }

    /// Changes the message list, and performs the effect.
    pub(super) fn change(&self, change: impl FnOnce(&mut MessageList) -> Effect) {
        if let Some(effect) = self.0.live.messages.try_update(change) {
            self.apply(effect);
        }
    }

    fn apply(&self, effect: Effect) {
        let Effect {
            send,
            forget,
            wake_after,
        } = effect;

        for command in send {
            self.command(ConnectionCommand::Send(command));
        }

        for key in forget {
            storage::remove(&self.outbox_key(key.as_str()));
        }

        if let Some(time) = wake_after {
            let client = self.clone();
            // One millisecond more, so that the time has passed.
            let timer = Timeout::new(time.as_millis() as u32 + 1, move || {
                client.change(|list| list.on_timer(clock::since_start()));
            });
            // Cancels the previous timer.
            *self.0.timer.borrow_mut() = Some(timer);
        }
    }

    /// Returns the storage key of the pending message `key` of this room.
    fn outbox_key(&self, key: &str) -> String {
        format!("fanfare.outbox.{}/{key}", self.0.room)
    }

    fn draft_key(&self) -> String {
        format!("fanfare.draft.{}", self.0.room)
    }

    fn set_user(&self, user: UserId) {
        let live = self.0.live;
        dom::set_cookie(NAME_COOKIE, user.as_str());
        live.messages.update(|list| list.set_user(user.clone()));
        live.me.set(Some(user));
    }

    pub(in crate::app::live) fn send(&self, text: &str) {
        let live = self.0.live;
        let at = clock::now();
        let key = PendingMessage::new_key(at, &browser::random_name());
        let (Some(key), Some(from)) = (key, live.me.get_untracked()) else {
            return;
        };
        let pending = PendingMessage {
            key,
            from,
            at,
            text: text.to_owned(),
            position: live
                .messages
                .with_untracked(|list| list.position().cloned()),
        };

        // The message is stored before it is sent, so that a crash does not lose it.
        storage::write(&self.outbox_key(pending.key.as_str()), &pending.encode());
        self.change(|list| list.send(pending, clock::since_start()));
        self.to_end();
    }

    pub(in crate::app::live) fn retry(&self, id: u64) {
        self.change(|list| list.retry(id, clock::since_start()));
    }

    pub(in crate::app::live) fn take_back(&self, id: u64) -> Option<String> {
        let messages = self.0.live.messages;
        let (text, effect) = messages.try_update(|list| list.take_back(id))??;
        self.apply(effect);
        Some(text)
    }

    pub(in crate::app::live) fn load(&self, id: u64) {
        self.change(|list| list.load_gap(id, clock::since_start()));
    }

    pub(in crate::app::live) fn connect(&self) {
        self.command(ConnectionCommand::Connect);
    }

    pub(in crate::app::live) fn check(&self) {
        self.command(ConnectionCommand::Probe);
    }

    pub(in crate::app::live) fn disconnect(&self) {
        self.command(ConnectionCommand::Disconnect);
    }

    pub(in crate::app::live) fn rename(&self, name: UserId) {
        storage::write(ID, name.as_str());
        self.set_user(name);
        self.command(ConnectionCommand::Connect);
    }

    pub(in crate::app::live) fn draft(&self) -> Option<String> {
        storage::read(&self.draft_key())
    }

    pub(in crate::app::live) fn keep_draft(&self, text: &str) {
        if text.is_empty() {
            storage::remove(&self.draft_key());
        } else {
            storage::write(&self.draft_key(), text);
        }
    }

    pub(in crate::app::live) fn attach(&self, log: &Element) {
        let client = self.clone();
        let anchor = ScrollAnchor::attach(log, move |view| client.on_scroll(view));
        let Some(anchor) = anchor else { return };
        *self.0.scroll_anchor.borrow_mut() = Some(anchor.clone());

        let live = self.0.live;
        let spaces = Memo::new(move |_| live.messages.with(MessageList::spaces));
        effect(move || {
            let (above, below) = spaces.get();
            anchor.set_spaces(above, below);
        });
    }

    fn on_scroll(&self, view: View) {
        let View {
            at_end,
            above,
            below,
            rows,
        } = view;
        let viewport = Viewport {
            at_end,
            above,
            below,
            rows,
        };

        let change = |list: &mut MessageList| {
            let (is_redrawn, effect) = list.set_viewport(viewport, clock::since_start());
            let is_attended = list.set_attended(at_end && visibility::is_visible());
            (is_redrawn || is_attended || !effect.send.is_empty(), effect)
        };
        if let Some(effect) = self.0.live.messages.try_maybe_update(change) {
            self.apply(effect);
        }
    }

    /// Records that the tab was shown or hidden.
    pub(super) fn on_visibility(&self) {
        let change = |list: &mut MessageList| {
            let is_attended = list.follows() && visibility::is_visible();
            (list.set_attended(is_attended), ())
        };
        // Fails only after the list was disposed with the page.
        let _ = self.0.live.messages.try_maybe_update(change);
    }

    pub(in crate::app::live) fn to_end(&self) {
        self.0.live.messages.update(MessageList::follow);
        if let Some(anchor) = &*self.0.scroll_anchor.borrow() {
            anchor.to_end();
        }
    }

    pub(in crate::app::live) fn find(&self, id: Option<u64>) {
        self.0.live.messages.update(|list| list.show_found(id));
        if let (Some(id), Some(anchor)) = (id, &*self.0.scroll_anchor.borrow()) {
            anchor.to_row(format!("row-{id}"));
        }
    }
}

/// Returns the id of this browser. Creates and stores one at the first visit.
fn own_id() -> UserId {
    if let Some(id) = storage::read(ID).and_then(|id| UserId::parse(&id).ok()) {
        return id;
    }

    let id = UserId::guest((browser::random() * f64::from(u32::MAX)) as u64);
    storage::write(ID, id.as_str());
    id
}
