//! Places the panels: head, log, composer. Holds no state and no logic of its own.

use leptos::prelude::*;

use super::composer::Composer;
use super::i18n::use_text;
use super::presence::PresenceCount;
use super::status::StatusBadge;
use super::timeline::Timeline;
use crate::protocol::RoomName;

/// The page of one room.
#[component]
pub fn Home(
    /// The room that it shows.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    view! {
        <div class="page">
            <header class="head">
                <Mark/>
                <h1 class="room">{room.to_string()}</h1>
                <PresenceCount/>
                <StatusBadge/>
            </header>
            <main class="main">
                <noscript class="unscripted">{text.unscripted}</noscript>
                <Timeline room=room.clone()/>
                <Composer room/>
            </main>
        </div>
    }
}

/// The trumpet, drawn in the colour of the text around it; `public/favicon.svg` is the same drawing.
#[component]
fn Mark() -> impl IntoView {
    view! {
        <svg
            class="mark"
            viewBox="0 0 24 24"
            fill="none"
            stroke="currentColor"
            stroke-width="2"
            stroke-linecap="round"
            stroke-linejoin="round"
            aria-hidden="true"
        >
            <path d="M3 10v4l4 .6L19 19V5L7 9.4z"></path>
            <path d="M8 15l1 5h3l-1-4"></path>
        </svg>
    }
}
