//! The way from the panels to the browser: what they want is done to the transcript, and what that asks for
//! goes to the connection, to the storage and to the scroll bar.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use gloo_timers::callback::Timeout;
use leptos::prelude::*;
use leptos::web_sys::Element;

use crate::app::dynamic::effect;
use crate::app::live::{Live, Sight, Todo, Transcript, Waiting};
use crate::browser;
use crate::browser::clock;
use crate::browser::desk;
use crate::browser::reconnect::Order;
use crate::browser::scroll::{Keeper, View};
use crate::browser::storage;
use crate::browser::wake;
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// Where this browser remembers what it is called. The server knows it from the cookie of the same purpose.
const ID: &str = "fanfare.id";
const NAME_COOKIE: &str = "name";

/// How long a page rests that the server found too fast, in milliseconds: twenty messages by its default.
const REST: u32 = 1000;

/// See the [module docs](self).
#[derive(Clone)]
pub(in crate::app::live) struct Line(Rc<Inner>);

struct Inner {
    live: Live,
    room: RoomName,
    orders: UnboundedSender<Order>,
    keeper: RefCell<Option<Keeper>>,
    /// Whether a server has said welcome.
    was_welcome: Cell<bool>,
}

impl Line {
    /// Brings back what was said and not confirmed, and keeps title and names in step.
    pub(super) fn new(live: Live, room: RoomName) -> (Self, UnboundedReceiver<Order>) {
        let (orders, received) = unbounded();
        let inner = Inner {
            live,
            room,
            orders,
            keeper: RefCell::default(),
            was_welcome: Cell::new(false),
        };
        let line = Self(Rc::new(inner));
        line.call(own_id());
        let waiting = storage::read_all(&line.outbox_key(""));
        let waiting = waiting
            .iter()
            .filter_map(|(key, entry)| Waiting::decode(key, entry))
            .collect();
        live.transcript
            .update(|transcript| transcript.restore(waiting));

        let room = line.0.room.clone();
        let unread = Memo::new(move |_| live.transcript.with(Transcript::unread));
        effect(move || {
            let unread = unread.get();
            let count = if unread > 0 {
                format!("({unread}) ")
            } else {
                String::new()
            };
            desk::set_title(&format!("{count}{room} - Fanfare"));
        });
        (line, received)
    }

    pub(super) fn live(&self) -> Live {
        self.0.live
    }

    pub(super) fn room(&self) -> &RoomName {
        &self.0.room
    }

    pub(super) fn is_first_welcome(&self) -> bool {
        !self.0.was_welcome.replace(true)
    }

    pub(super) fn order(&self, order: Order) {
        // Fails only if the task is gone, and then so is the page.
        let _ = self.0.orders.unbounded_send(order);
    }

    /// Changes the transcript and does what that asks for.
    pub(super) fn change(&self, change: impl FnOnce(&mut Transcript) -> Todo) {
        if let Some(todo) = self.0.live.transcript.try_update(change) {
            self.act(todo);
        }
    }

    fn act(&self, todo: Todo) {
        let Todo { send, forget, rest } = todo;
        for command in send {
            self.order(Order::Say(command));
        }
        for key in forget {
            storage::remove(&self.outbox_key(key.as_str()));
        }
        if rest {
            let line = self.clone();
            Timeout::new(REST, move || line.change(Transcript::go_on)).forget();
        }
    }

    /// Where the unconfirmed message `key` of this room is remembered.
    fn outbox_key(&self, key: &str) -> String {
        format!("fanfare.outbox.{}/{key}", self.0.room)
    }

    fn draft_key(&self) -> String {
        format!("fanfare.draft.{}", self.0.room)
    }

    fn call(&self, name: UserId) {
        desk::set_cookie(NAME_COOKIE, name.as_str());
        self.0
            .live
            .transcript
            .update(|transcript| transcript.introduce(name.clone()));
        self.0.live.me.set(Some(name));
    }

    pub(in crate::app::live) fn say(&self, text: &str) {
        let live = self.0.live;
        let at = clock::now();
        let (Some(key), Some(from)) = (
            Waiting::new_key(at, &browser::random_name()),
            live.me.get_untracked(),
        ) else {
            return;
        };
        let position = live.transcript.with_untracked(|seen| {
            seen.position()
                .map(|(epoch, offset)| (epoch.clone(), offset))
        });
        let waiting = Waiting {
            key,
            from,
            at,
            text: text.to_owned(),
            position,
        };
        // Before it is sent: a crash must not know more than the storage.
        storage::write(&self.outbox_key(waiting.key.as_str()), &waiting.encode());
        self.change(|transcript| transcript.say(waiting));
        self.to_end();
    }

    pub(in crate::app::live) fn retry(&self, id: u64) {
        self.change(|transcript| transcript.retry(id));
    }

    pub(in crate::app::live) fn take_back(&self, id: u64) -> Option<String> {
        let (text, todo) = self
            .0
            .live
            .transcript
            .try_update(|transcript| transcript.take_back(id))??;
        self.act(todo);
        Some(text)
    }

    pub(in crate::app::live) fn load(&self, id: u64) {
        self.change(|transcript| transcript.load(id));
    }

    pub(in crate::app::live) fn connect(&self) {
        self.order(Order::Connect);
    }

    pub(in crate::app::live) fn check(&self) {
        self.order(Order::Check);
    }

    pub(in crate::app::live) fn break_off(&self) {
        self.order(Order::Break);
    }

    pub(in crate::app::live) fn rename(&self, name: UserId) {
        storage::write(ID, name.as_str());
        self.call(name);
        self.order(Order::Connect);
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
        let line = self.clone();
        let keeper = Keeper::keep(log, move |view| line.look(view));
        let Some(keeper) = keeper else { return };
        *self.0.keeper.borrow_mut() = Some(keeper.clone());
        let live = self.0.live;
        let spaces = Memo::new(move |_| live.transcript.with(Transcript::spaces));
        effect(move || {
            let (above, below) = spaces.get();
            keeper.set_spaces(above, below);
        });
    }

    /// The reader sees something else.
    fn look(&self, view: View) {
        let View {
            at_end,
            above,
            below,
            rows,
        } = view;
        let sight = Sight {
            at_end,
            above,
            below,
            rows,
        };
        let look = |transcript: &mut Transcript| {
            let (is_redrawn, todo) = transcript.look(sight);
            let is_news = transcript.attend(at_end && wake::is_shown());
            (is_redrawn || is_news || !todo.send.is_empty(), todo)
        };
        if let Some(todo) = self.0.live.transcript.try_maybe_update(look) {
            self.act(todo);
        }
    }

    /// Someone looks at the tab, or away.
    pub(super) fn attend(&self) {
        let attend = |transcript: &mut Transcript| {
            let is_attended = transcript.follows() && wake::is_shown();
            (transcript.attend(is_attended), ())
        };
        self.0.live.transcript.try_maybe_update(attend);
    }

    pub(in crate::app::live) fn to_end(&self) {
        self.0.live.transcript.update(Transcript::follow);
        if let Some(keeper) = &*self.0.keeper.borrow() {
            keeper.to_end();
        }
    }

    pub(in crate::app::live) fn find(&self, id: Option<u64>) {
        self.0
            .live
            .transcript
            .update(|transcript| transcript.find(id));
        if let (Some(id), Some(keeper)) = (id, &*self.0.keeper.borrow()) {
            keeper.to(format!("row-{id}"));
        }
    }
}

/// The id that this browser uses, made once and remembered.
fn own_id() -> UserId {
    if let Some(id) = storage::read(ID).and_then(|id| UserId::parse(&id).ok()) {
        return id;
    }
    let id = UserId::guest((browser::random() * f64::from(u32::MAX)) as u64);
    storage::write(ID, id.as_str());
    id
}
