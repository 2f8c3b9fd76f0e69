//! The badge: how the connection stands, in words and never by colour alone, and the way to hurry it.
//!
//! A countdown would make a screen reader speak every second, so the changing words are for the eye and a
//! constant word is for the ear.

use leptos::ev::MouseEvent;
use leptos::prelude::*;

use super::dynamic::{act, holds, words};
use super::i18n::use_text;
use super::live::{Link, Live};

/// Connecting, Live, Reconnecting in 4 s, Offline.
#[component]
pub fn StatusBadge() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let link = live.link;
    let class = words(move || match link.get() {
        Link::Live => "badge live",
        Link::Connecting | Link::Waiting { .. } => "badge waiting",
        Link::Offline | Link::Refused => "badge down",
    });
    let shown = words(move || match link.get() {
        Link::Connecting => text.connecting.to_owned(),
        Link::Live => text.live.to_owned(),
        Link::Waiting { seconds } => (text.reconnecting_in)(seconds),
        Link::Offline => text.offline.to_owned(),
        Link::Refused => text.refused.to_owned(),
    });
    let counting = move || matches!(link.get(), Link::Waiting { .. });
    let hidden = words(move || if counting() { "true" } else { "false" });
    let heard = words(move || if counting() { text.reconnecting } else { "" });
    let is_busy = holds(move || !matches!(link.get(), Link::Waiting { .. } | Link::Offline));
    let hurry = act(move |_: MouseEvent| live.connect());
    view! {
        <button class="tool hurry" type="button" hidden=is_busy on:click=hurry>{text.retry_now}</button>
        <p class=class id="status" role="status">
            <span aria-hidden=hidden>{shown}</span>
            <span class="heard">{heard}</span>
        </p>
    }
}
