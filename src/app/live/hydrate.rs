//! [`super::Live`] in the browser: one task that keeps the room's socket, and what its news mean for the
//! signals. Same signatures as `ssr.rs`; the only file of `app` that names `browser`.

use futures::channel::mpsc::{UnboundedSender, unbounded};
use leptos::prelude::*;
use leptos::task::spawn_local_scoped_with_cancellation;
use leptos::web_sys::Element;

use super::{Clock, Link, Transcript};
use crate::browser;
use crate::browser::reconnect::{News, keep_connected};
use crate::browser::scroll;
use crate::browser::socket::address;
use crate::browser::storage;
use crate::protocol::Backoff;
use crate::protocol::Command;
use crate::protocol::Key;
use crate::protocol::Push;
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// The way to the task that owns the socket.
#[derive(Clone, Debug)]
pub(super) struct Line {
    outbox: UnboundedSender<Command>,
    link: RwSignal<Link>,
    present: RwSignal<Option<usize>>,
    transcript: RwSignal<Transcript>,
}

impl Line {
    /// Starts the task. It ends with the component that called.
    pub(super) fn open(
        room: &RoomName,
        link: RwSignal<Link>,
        present: RwSignal<Option<usize>>,
        transcript: RwSignal<Transcript>,
    ) -> Self {
        let (outbox, waiting) = unbounded();
        let line = Self { outbox, link, present, transcript };
        let start = (line.clone(), room.clone(), waiting);
        let mut start = Some(start);
        // An effect runs after hydration: until then the page must be what the server rendered.
        Effect::new(move |_| {
            let Some((line, room, waiting)) = start.take() else { return };
            let id = own_id();
            transcript.update(|transcript| transcript.introduce(id.clone()));
            let url = move || transcript.with_untracked(|seen| address(&room, &id, seen.position()));
            let mut backoff = Backoff::default();
            let pace = move |lived| backoff.pause(lived, browser::random());
            let tell = move |news| line.learn(news);
            spawn_local_scoped_with_cancellation(keep_connected(url, waiting, pace, tell));
        });
        line
    }

    pub(super) fn say(&self, text: &str) {
        // Without a key it could be stored twice; a random one is as good as its length.
        let Ok(key) = Key::parse(&browser::random_name()) else { return };
        let now = browser::clock::now();
        self.send(self.transcript.try_update(|transcript| transcript.say(text, key, now)).flatten());
    }

    pub(super) fn retry(&self, id: u64) {
        self.send(self.transcript.try_update(|transcript| transcript.retry(id)).flatten());
    }

    fn send(&self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            // Fails only if the task is gone, and then so is the page.
            let _ = self.outbox.unbounded_send(command);
        }
    }

    fn learn(&self, news: News) {
        let Self { link, present, transcript, .. } = self;
        match news {
            // Nothing is sent before the server has said where we are.
            News::Connecting | News::Open => link.set(Link::Connecting),
            News::Heard(pushes) => {
                for push in &pushes {
                    match push {
                        Push::Welcome(welcome) => {
                            link.set(Link::Live);
                            present.set(Some(welcome.count));
                        }
                        Push::Presence { count, .. } => present.set(Some(*count)),
                        _ => {}
                    }
                }
                self.send(transcript.try_update(|seen| seen.hear(pushes)).into_iter().flatten());
            }
            News::Broken => {
                link.set(Link::Connecting);
                present.set(None);
                transcript.update(Transcript::cut_off);
            }
            News::Waiting { seconds, network: true } => link.set(Link::Waiting { seconds }),
            News::Waiting { network: false, .. } => link.set(Link::Offline),
            News::Refused => {
                link.set(Link::Refused);
                transcript.update(Transcript::give_up);
            }
        }
    }
}

pub(super) fn keep_at_end(log: &Element) {
    scroll::keep_at_end(log);
}

pub(super) fn clock(at: u64) -> Clock {
    let iso = browser::clock::iso(at).unwrap_or_default();
    Clock { iso, local: browser::clock::hours_and_minutes(at).unwrap_or_default() }
}

/// The id that this browser uses, made once and remembered.
fn own_id() -> UserId {
    const KEY: &str = "fanfare.id";
    if let Some(id) = storage::read(KEY).and_then(|id| UserId::parse(&id).ok()) {
        return id;
    }
    let id = UserId::guest((browser::random() * f64::from(u32::MAX)) as u64);
    storage::write(KEY, id.as_str());
    id
}
