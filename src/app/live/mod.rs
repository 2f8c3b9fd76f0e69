//! What moves: the signals that the panels read, and the one seam between page and browser.
//!
//! [`Live`] is the same type on both sides. Behind it stands one of two files with the same signatures:
//! `hydrate` runs `browser`, `ssr.rs` does nothing, since on the server nothing moves. What they decide
//! with ([`Transcript`]) is pure and compiled on both, so it is tested without a
//! browser.

mod calendar;
mod row;
mod rows;
mod window;
mod unread;
mod outbox;
mod transcript;

#[cfg(feature = "hydrate")]
#[path = "hydrate/mod.rs"]
mod imp;
#[cfg(not(feature = "hydrate"))]
#[path = "ssr.rs"]
mod imp;

pub use calendar::{Clock, Day};
pub use outbox::Waiting;
pub use row::{Entry, Gap, Message, Missing, Outlook, Reason, Row, Shown, State, Words};
pub use transcript::{Todo, Transcript};
pub use window::Sight;

use std::time::Duration;

use leptos::prelude::*;
use leptos::web_sys::Element;

use super::snapshot::{Past, Snapshot};
use super::theme::Theme;
use crate::protocol::CloseCode;
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// How the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A connection is being made.
    Connecting,
    /// The server has said welcome: what is sent goes out.
    Live,
    /// The server is there, and cannot reach where messages are kept: they come later, and none are taken.
    Stalled,
    /// The last connection is gone; the next try comes in so many seconds.
    Waiting {
        /// Rounded up, so it never says zero.
        seconds: u32,
    },
    /// As `Waiting`, and the browser knows of no network.
    Offline,
    /// The server said not to come back.
    Refused(Refusal),
}

/// Why no connection will come by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It asks for a token, and this page has none, or one that is over.
    NoToken,
    /// Not this one into this room: for want of a grant, or by an operator.
    NotAllowed,
    /// Anything else.
    Other,
}

impl From<u16> for Refusal {
    /// By the code that the connection was closed with.
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

/// Who is in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// How many.
    pub count: usize,
    /// Their names in order; unknown in a large room.
    pub names: Option<Vec<UserId>>,
}

/// How the connection does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// How long the server took to answer the last ping.
    pub round_trip: Option<Duration>,
    /// How often a connection came back.
    pub resumes: u32,
}

/// What became of a text that someone wanted to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is a row now, which says how far it got.
    Taken,
    /// There will be no connection; nothing was taken.
    Refused,
}

/// One room's connection as the panels see it.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    /// How the connection stands. Starts as `Connecting` on both sides.
    pub link: RwSignal<Link>,
    /// Who is in the room, while that is known. Starts as unknown on both sides.
    pub present: RwSignal<Option<Present>>,
    /// What was said, and what is to be said. Starts with what the server rendered on both sides.
    pub transcript: RwSignal<Transcript>,
    /// How the connection does.
    pub vitals: RwSignal<Vitals>,
    /// Whether everyone may come in under any name.
    pub is_open: bool,
    /// What this page is called; unknown until the browser was asked.
    pub me: RwSignal<Option<UserId>>,
    /// The colours.
    pub theme: RwSignal<Theme>,
    /// The text of a message that was taken back, for the input.
    pub taken_back: RwSignal<Option<String>>,
    /// Whether the page answers, and knows the reader's clock. `false` on both sides while hydrating.
    pub awake: RwSignal<bool>,
    line: StoredValue<Option<imp::Line>, LocalStorage>,
}

/// What the server knew when it rendered the page.
pub(super) fn snapshot() -> Snapshot {
    imp::snapshot()
}

/// What `view` renders, where nobody has rendered it.
pub(super) fn html<V: RenderHtml>(view: impl FnOnce() -> V) -> String {
    imp::html(view)
}

impl Live {
    /// Joins `room` as soon as there is a browser to join from.
    pub(super) fn start(room: &RoomName, is_open: bool, past: Option<Past>, theme: Theme) -> Self {
        let live = Self {
            link: RwSignal::new(Link::Connecting),
            present: RwSignal::new(None),
            transcript: RwSignal::new(Transcript::new(past)),
            vitals: RwSignal::new(Vitals::default()),
            is_open,
            me: RwSignal::new(None),
            theme: RwSignal::new(theme),
            taken_back: RwSignal::new(None),
            awake: RwSignal::new(false),
            line: StoredValue::new_local(None),
        };
        imp::start(live, room.clone());
        live
    }

    /// Says `text` to everyone in the room, now or as soon as there is a connection.
    pub(super) fn say(self, text: &str) -> Said {
        if matches!(self.link.get_untracked(), Link::Refused(_)) {
            return Said::Refused;
        }
        self.line(|line| line.say(text));
        Said::Taken
    }

    /// Tries the failed message of the row `id` again.
    pub(super) fn retry(self, id: u64) {
        self.line(|line| line.retry(id));
    }

    /// Takes the failed message of the row `id` back, to be changed.
    pub(super) fn edit(self, id: u64) {
        self.taken_back
            .set(self.line(|line| line.take_back(id)).flatten());
    }

    /// Loads what is missing at the row `id`.
    pub(super) fn load(self, id: u64) {
        self.line(|line| line.load(id));
    }

    /// From now on `log` follows its content while its end is in view, and is drawn around what is in view.
    pub(super) fn attach(self, log: &Element) {
        self.line(|line| line.attach(log));
    }

    /// Goes to the end of the log.
    pub(super) fn to_end(self) {
        self.line(imp::Line::to_end);
    }

    /// Goes to the row `id`, to which a search has led; nothing ends the search.
    pub(super) fn find(self, id: Option<u64>) {
        self.line(|line| line.find(id));
    }

    /// Connects, without waiting any longer.
    pub(super) fn connect(self) {
        self.line(imp::Line::connect);
    }

    /// Measures the round trip, and with it whether the connection lives.
    pub(super) fn check(self) {
        self.line(imp::Line::check);
    }

    /// Drops the connection, to see it come back.
    pub(super) fn break_off(self) {
        self.line(imp::Line::break_off);
    }

    /// This page is called `name` from now on.
    pub(super) fn rename(self, name: UserId) {
        self.line(|line| line.rename(name));
    }

    /// Shows the page in these colours, and remembers it.
    pub(super) fn set_theme(self, theme: Theme) {
        self.theme.set(theme);
        imp::set_theme(theme);
    }

    /// The text that was not sent when the page was left.
    pub(super) fn draft(self) -> Option<String> {
        self.line(imp::Line::draft).flatten()
    }

    /// Remembers `text` in case the page is left.
    pub(super) fn keep_draft(self, text: &str) {
        self.line(|line| line.keep_draft(text));
    }

    /// `at`, in milliseconds since 1970 UTC, as the reader's clock showed it; in UTC until the page is awake.
    /// Rows are drawn anew then, so none of them tracks it.
    pub(super) fn clock(self, at: u64) -> Clock {
        let awake = self.awake.get_untracked();
        Clock::new(at, awake.then(|| imp::ahead_of_utc(at)))
    }

    /// The number of the day, here, that `at` belongs to.
    pub(super) fn day(self, at: u64) -> i64 {
        calendar::day(
            at,
            if self.awake.get_untracked() {
                imp::ahead_of_utc(at)
            } else {
                0
            },
        )
    }

    fn line<T>(self, act: impl FnOnce(&imp::Line) -> T) -> Option<T> {
        self.line.with_value(|line| line.as_ref().map(act))
    }
}

/// The rooms that this browser was in, the latest first.
pub(super) fn recent_rooms() -> Vec<RoomName> {
    imp::recent_rooms()
}

/// Where the page is, to be given to others.
pub(super) fn address() -> String {
    imp::address()
}

/// Copies `text`; answers whether that is possible.
pub(super) fn copy(text: &str) -> bool {
    imp::copy(text)
}

/// Moves the focus by so many among the elements of the class `kind` in `list`.
pub(super) fn move_focus(list: &Element, kind: &str, by: i32) {
    imp::move_focus(list, kind, by);
}
