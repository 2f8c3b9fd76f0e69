//! What moves: the signals that the panels read, and the one seam between page and browser.
//!
//! [`Live`] is the same type on both sides. Behind it stands one of two files with the same signatures:
//! `hydrate.rs` runs `browser`, `ssr.rs` does nothing, since on the server nothing moves. What they decide
//! with ([`Transcript`]) is pure and compiled on both, so it is tested without a browser.

mod row;
mod rows;
mod transcript;

#[cfg(feature = "hydrate")]
#[path = "hydrate.rs"]
mod imp;
#[cfg(not(feature = "hydrate"))]
#[path = "ssr.rs"]
mod imp;

pub use row::{Entry, Message, Missing, Reason, Row, State, Words};
pub use transcript::Transcript;

use leptos::prelude::*;
use leptos::web_sys::Element;

use crate::protocol::RoomName;

/// How the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A connection is being made.
    Connecting,
    /// The server has said welcome: what is sent goes out.
    Live,
    /// The last connection is gone; the next try comes in so many seconds.
    Waiting {
        /// Rounded up, so it never says zero.
        seconds: u32,
    },
    /// As `Waiting`, and the browser knows of no network.
    Offline,
    /// The server said not to come back.
    Refused,
}

/// What became of a text that someone wanted to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is a row now, which says how far it got.
    Taken,
    /// There will be no connection; nothing was taken.
    Refused,
}

/// When something was said, for machines and for people here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// ISO 8601, in UTC.
    pub iso: String,
    /// Hours and minutes where the reader is.
    pub local: String,
}

/// One room's connection as the panels see it.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    /// How the connection stands. Starts as `Connecting` on both sides.
    pub link: RwSignal<Link>,
    /// How many are in the room, while that is known. Starts as unknown on both sides.
    pub present: RwSignal<Option<usize>>,
    /// What was said, and what is to be said. Starts empty on both sides.
    pub transcript: RwSignal<Transcript>,
    line: StoredValue<imp::Line>,
}

impl Live {
    /// Joins `room` as soon as there is a browser to join from.
    pub(super) fn start(room: &RoomName) -> Self {
        let link = RwSignal::new(Link::Connecting);
        let present = RwSignal::new(None);
        let transcript = RwSignal::new(Transcript::default());
        let line = StoredValue::new(imp::Line::open(room, link, present, transcript));
        Self { link, present, transcript, line }
    }

    /// Says `text` to everyone in the room, now or as soon as there is a connection.
    pub(super) fn say(self, text: &str) -> Said {
        if self.link.get_untracked() == Link::Refused {
            return Said::Refused;
        }
        self.line.with_value(|line| line.say(text));
        Said::Taken
    }

    /// Tries the failed message of the row `id` again.
    pub(super) fn retry(self, id: u64) {
        self.line.with_value(|line| line.retry(id));
    }

    /// From now on `log` follows its content while its end is in view.
    pub(super) fn keep_at_end(self, log: &Element) {
        imp::keep_at_end(log);
    }
}

/// `at`, in milliseconds since 1970 UTC, as the reader's clock would have shown it.
pub(super) fn clock(at: u64) -> Clock {
    imp::clock(at)
}
