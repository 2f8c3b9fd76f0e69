//! The badge: how the connection stands, in words and never by colour alone.
//!
//! A countdown would make a screen reader speak every second, so the changing words are for the eye and a
//! constant word is for the ear.

use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{Link, Live};

/// Connecting, Live, Reconnecting in 4 s, Offline.
#[component]
pub fn StatusBadge() -> impl IntoView {
    let text = use_text();
    let link = expect_context::<Live>().link;
    let class = move || match link.get() {
        Link::Live => "badge live",
        Link::Connecting | Link::Waiting { .. } => "badge waiting",
        Link::Offline | Link::Refused => "badge down",
    };
    let shown = move || match link.get() {
        Link::Connecting => text.connecting.to_owned(),
        Link::Live => text.live.to_owned(),
        Link::Waiting { seconds } => (text.reconnecting_in)(seconds),
        Link::Offline => text.offline.to_owned(),
        Link::Refused => text.refused.to_owned(),
    };
    let counting = move || matches!(link.get(), Link::Waiting { .. });
    let hidden = move || counting().then_some("true");
    let heard = move || counting().then_some(text.reconnecting);
    view! {
        <p class=class id="status" role="status">
            <span aria-hidden=hidden>{shown}</span>
            <span class="heard">{heard}</span>
        </p>
    }
}
