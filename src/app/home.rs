//! The layout of the room page: header, side panel, log, composer. It has no state and no logic of its own.
//!
//! Panels are popovers of the browser: they need no script, close with Escape, and restore the focus.

use leptos::prelude::*;

use super::composer::Composer;
use super::health::{self, Health};
use super::i18n::{Locale, use_locale, use_text};
use super::live::RoomState;
use super::presence::{PresenceCount, Roster};
use super::rooms::Rooms;
use super::search::{self, SearchPanel};
use super::share::{self, Share};
use super::snapshot::Form;
use super::status::StatusBadge;
use super::theme::{Theme, ThemeSwitch};
use super::timeline::Timeline;
use crate::protocol::RoomName;

/// The id of the side panel, for the button that opens it.
const SIDE: &str = "side";

/// The page of one room.
#[component]
pub fn Home(
    /// The room that the page shows.
    room: RoomName,
    /// The theme in which the server has rendered the page.
    theme: Theme,
    /// The initial values of the form.
    form: Form,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();

    view! {
        <div class="page">
            <header class="head">
                <button class="menu" type="button" popovertarget=SIDE aria-label=text.menu><Mark/></button>
                <h1 class="room">{room.to_string()}</h1>
                <PresenceCount/>
                <StatusBadge/>
                <button class="tool scripted" type="button" popovertarget=search::PANEL>{text.search}</button>
            </header>
            <nav class="side" id=SIDE popover="auto" aria-label=text.menu>
                <Rooms room=room.clone()/>
                <Roster/>
                <div class="tools">
                    <button class="tool scripted" type="button" popovertarget=share::PANEL>{text.share}</button>
                    <button
                        class="tool scripted"
                        id="connection"
                        type="button"
                        popovertarget=health::PANEL
                        on:click=move |_| live.check()
                    >
                        {text.connection}
                    </button>
                    <ThemeSwitch theme/>
                    <Languages/>
                </div>
            </nav>
            <main class="main">
                <p class="unscripted note">{text.unscripted}</p>
                <Timeline room=room.clone()/>
                <Composer room form/>
            </main>
            <SearchPanel/>
            <Share/>
            <Health/>
        </div>
    }
}

/// The links to the page in the other languages.
#[component]
fn Languages() -> impl IntoView {
    let locale = use_locale();
    Locale::ALL
        .into_iter()
        .filter(|other| *other != locale)
        .map(|other| view! {
            <a class="tool" hreflang=other.tag() lang=other.tag() href=format!("?{}={}", Locale::NAME, other.tag())>
                {other.text().language}
            </a>
        })
        .collect_view()
}

/// The logo, a trumpet in the colour of the surrounding text. `public/favicon.svg` is the same drawing.
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
