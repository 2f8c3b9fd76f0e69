//! What moves: the signals that the panels read, and the one seam between page and browser.
//!
//! [`Live`] is the same type on both sides. Behind it stands one of two files with the same signatures:
//! `hydrate.rs` runs `browser`, `ssr.rs` does nothing, since on the server nothing moves. What they decide
//! with ([`Backoff`], [`Transcript`]) is pure and compiled on both, so it is tested without a browser.

mod backoff;
mod transcript;

#[cfg(feature = "hydrate")]
#[path = "hydrate.rs"]
mod imp;
#[cfg(not(feature = "hydrate"))]
#[path = "ssr.rs"]
mod imp;

pub use backoff::Backoff;
pub use transcript::{Body, Row, Transcript};

use leptos::prelude::*;
use leptos::web_sys::Element;

use crate::protocol::RoomName;

/// How the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A connection is being made.
    Connecting,
    /// What is sent goes out.
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
    /// It went out. Either it comes back as a row, or a row says that it did not.
    Out,
    /// There is no connection; nothing was taken.
    NotConnected,
}

/// One room's connection as the panels see it.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    /// How the connection stands. Starts as `Connecting` on both sides.
    pub link: ReadSignal<Link>,
    /// What was said. Starts empty on both sides.
    pub transcript: ReadSignal<Transcript>,
    heard: WriteSignal<Transcript>,
    line: StoredValue<imp::Line>,
}

impl Live {
    /// Joins `room` as soon as there is a browser to join from.
    pub(super) fn start(room: &RoomName) -> Self {
        let (link, set_link) = signal(Link::Connecting);
        let (transcript, heard) = signal(Transcript::default());
        let line = StoredValue::new(imp::Line::open(room, set_link, heard));
        Self { link, transcript, heard, line }
    }

    /// Sends `text` to everyone in the room, or says that it cannot.
    pub(super) fn say(self, text: String) -> Said {
        if self.link.get_untracked() != Link::Live {
            return Said::NotConnected;
        }
        self.heard.update(|transcript| transcript.said(&text));
        self.line.with_value(|line| line.say(text));
        Said::Out
    }

    /// From now on `log` follows its content while its end is in view.
    pub(super) fn keep_at_end(self, log: &Element) {
        imp::keep_at_end(log);
    }
}
