//! The moments at which a new try is worth more than the pause that was planned: the browser found the
//! network (`online`), or someone looks at the tab again (`visibilitychange`).

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::{Stream, StreamExt};
use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{EventTarget, VisibilityState};

const ONLINE: &str = "online";
const VISIBILITY: &str = "visibilitychange";

/// A stream of such moments. Stops listening when dropped.
#[derive(Debug)]
pub struct Wake {
    moments: UnboundedReceiver<()>,
    online: Closure<dyn FnMut()>,
    shown: Closure<dyn FnMut()>,
}

impl Wake {
    /// Starts listening.
    pub fn listen() -> Self {
        let (sender, moments) = unbounded();
        let also = sender.clone();
        // Sending fails only after the receiver is dropped, and then nobody wants to know.
        let online = Closure::new(move || _ = sender.unbounded_send(()));
        let shown = Closure::new(move || {
            if document().visibility_state() == VisibilityState::Visible {
                _ = also.unbounded_send(());
            }
        });
        add(&window(), ONLINE, &online);
        add(&document(), VISIBILITY, &shown);
        Self { moments, online, shown }
    }

    /// Drops the moments that nobody waited for.
    pub fn forget(&mut self) {
        while self.moments.try_recv().is_ok() {}
    }
}

impl Stream for Wake {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<()>> {
        self.moments.poll_next_unpin(task)
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        remove(&window(), ONLINE, &self.online);
        remove(&document(), VISIBILITY, &self.shown);
    }
}

// Both fail only for a callback that is no function.
fn add(target: &EventTarget, event: &str, callback: &Closure<dyn FnMut()>) {
    let _ = target.add_event_listener_with_callback(event, callback.as_ref().unchecked_ref());
}

fn remove(target: &EventTarget, event: &str, callback: &Closure<dyn FnMut()>) {
    let _ = target.remove_event_listener_with_callback(event, callback.as_ref().unchecked_ref());
}
