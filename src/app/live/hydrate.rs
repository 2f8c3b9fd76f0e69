//! [`super::Live`] in the browser: one task that keeps the room's socket, and what its news mean for the
//! signals. Same signatures as `ssr.rs`; the only file of `app` that names `browser`.

use futures::channel::mpsc::{UnboundedSender, unbounded};
use leptos::prelude::*;
use leptos::task::spawn_local_scoped_with_cancellation;
use leptos::web_sys::Element;

use super::{Backoff, Link, Transcript};
use crate::browser::random;
use crate::browser::reconnect::{News, keep_connected};
use crate::browser::scroll;
use crate::browser::socket::{Incoming, address};
use crate::browser::storage;
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// The way to the task that owns the socket.
#[derive(Debug)]
pub(super) struct Line {
    outbox: UnboundedSender<String>,
}

impl Line {
    /// Starts the task. It ends with the component that called.
    pub(super) fn open(room: &RoomName, link: WriteSignal<Link>, heard: WriteSignal<Transcript>) -> Self {
        let (outbox, waiting) = unbounded();
        let room = room.clone();
        let mut waiting = Some(waiting);
        // An effect runs after hydration: until then the page must be what the server rendered.
        Effect::new(move |_| {
            if let Some(waiting) = waiting.take() {
                let url = address(&room, &own_id());
                let mut backoff = Backoff::default();
                let pace = move |lived| backoff.pause(lived, random());
                let tell = move |news| learn(news, link, heard);
                spawn_local_scoped_with_cancellation(keep_connected(url, waiting, pace, tell));
            }
        });
        Self { outbox }
    }

    pub(super) fn say(&self, text: String) {
        // Fails only if the task is gone, and then so is the page.
        let _ = self.outbox.unbounded_send(text);
    }
}

pub(super) fn keep_at_end(log: &Element) {
    scroll::keep_at_end(log);
}

fn learn(news: News, link: WriteSignal<Link>, heard: WriteSignal<Transcript>) {
    match news {
        News::Connecting => link.set(Link::Connecting),
        News::Open => link.set(Link::Live),
        News::Heard(batch) => heard.update(|transcript| {
            for message in batch {
                match message {
                    Incoming::Text(text) => transcript.heard_text(text),
                    Incoming::Binary(bytes) => transcript.heard_binary(bytes.len()),
                }
            }
        }),
        News::Broken => {
            link.set(Link::Connecting);
            heard.update(Transcript::cut_off);
        }
        News::Waiting { seconds, network: true } => link.set(Link::Waiting { seconds }),
        News::Waiting { network: false, .. } => link.set(Link::Offline),
        News::Refused => link.set(Link::Refused),
    }
}

/// The id that this browser uses, made once and remembered.
fn own_id() -> UserId {
    const KEY: &str = "fanfare.id";
    if let Some(id) = storage::read(KEY).and_then(|id| UserId::parse(&id).ok()) {
        return id;
    }
    let id = UserId::guest((random() * f64::from(u32::MAX)) as u64);
    storage::write(KEY, id.as_str());
    id
}
