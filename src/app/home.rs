//! Places the panels: head, side, log, composer. Holds no state and no logic of its own.
//!
//! What opens and closes does so by the browser's own popovers: they need no script, close by Escape, and
//! give the focus back.

use leptos::ev::MouseEvent;
use leptos::prelude::*;

use super::composer::Composer;
use super::dynamic::act;
use super::health::{self, Health};
use super::i18n::{Locale, use_locale};
use super::live::Live;
use super::presence::{PresenceCount, Roster};
use super::rooms::Rooms;
use super::search::{self, SearchPanel};
use super::share::{self, Share};
use super::snapshot::Form;
use super::status::StatusBadge;
use super::theme::ThemeSwitch;
use super::timeline::Timeline;
use crate::protocol::RoomName;

/// The page of one room.
#[component]
pub fn Home(
    /// The room that it shows.
    room: RoomName,
    /// What the form begins with.
    form: Form,
) -> impl IntoView {
    let locale = use_locale();
    let text = locale.text();
    let live = expect_context::<Live>();
    view! {
        <div class="page">
            <header class="head">
                <button class="menu" type="button" popovertarget="side" aria-label=text.menu>
                    <Mark/>
                </button>
                <h1 class="room">{room.to_string()}</h1>
                <PresenceCount/>
                <StatusBadge/>
                <button class="tool scripted" type="button" popovertarget=search::PANEL>{text.search}</button>
            </header>
            <nav class="side" id="side" popover="auto" aria-label=text.menu>
                <Rooms room=room.clone()/>
                <Roster/>
                <div class="tools">
                    <button class="tool scripted" type="button" popovertarget=share::PANEL>{text.share}</button>
                    <button
                        class="tool scripted"
                        type="button"
                        popovertarget=health::PANEL
                        on:click=act(move |_: MouseEvent| live.check())
                    >
                        {text.connection}
                    </button>
                    <ThemeSwitch/>
                    {Locale::ALL.into_iter().filter(|other| *other != locale).map(|other| view! {
                        <a class="tool" hreflang=other.tag() lang=other.tag() href=format!("?{}={}", Locale::NAME, other.tag())>
                            {other.text().language}
                        </a>
                    }).collect_view()}
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
