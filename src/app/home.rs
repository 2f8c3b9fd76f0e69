//! The layout of the room page: header, side panel, log, composer. It has no state and no logic of its own.
//!
//! Panels are popovers of the browser: they need no script, close with Escape, and restore the focus.

use leptos::prelude::*;

use super::composer::Composer;
use super::dynamic::{on, still};
use super::health::{self, Health};
use super::i18n::{Locale, use_locale, use_text};
use super::live::RoomState;
use super::presence::{PresenceCount, Roster};
use super::rooms::Rooms;
use super::search::{self, SearchPanel};
use super::share::{self, Share};
use super::snapshot::Form;
use super::status::StatusBadge;
use super::theme::ThemeSwitch;
use super::timeline::Timeline;
use crate::protocol::RoomName;

const SIDE: &str = "side";
const CONNECTION: &str = "connection";

/// The page of one room.
#[component]
pub fn Home(
    /// The room that the page shows.
    room: RoomName,
    /// The initial values of the form.
    form: Form,
) -> impl IntoView {
    let text = use_text();
    let name = room.to_string();

    let title = still(move || {
        view! {
            <button class="menu" type="button" popovertarget=SIDE aria-label=text.menu><Mark/></button>
            <h1 class="room">{name}</h1>
        }
    });
    let search = still(move || {
        view! {
            <button class="tool scripted" type="button" popovertarget=search::PANEL>{text.search}</button>
        }
    });
    view! {
        <div class="page">
            <header class="head">
                {title}
                <PresenceCount/>
                <StatusBadge/>
                {search}
            </header>
            <nav class="side" id=SIDE popover="auto" aria-label=text.menu>
                <Rooms room=room.clone()/>
                <Roster/>
                <div class="tools">
                    <Panels/>
                    <ThemeSwitch/>
                    <Languages/>
                </div>
            </nav>
            <main class="main">
                {still(move || view! { <p class="unscripted note">{text.unscripted}</p> })}
                <Timeline room=room.clone()/>
                <Composer room form/>
            </main>
            <SearchPanel/>
            <Share/>
            <Health/>
        </div>
    }
}

/// The buttons that open the panels.
#[component]
fn Panels() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    on(CONNECTION, "click", move |_| live.check());

    still(move || {
        view! {
            <button class="tool scripted" type="button" popovertarget=share::PANEL>{text.share}</button>
            <button class="tool scripted" id=CONNECTION type="button" popovertarget=health::PANEL>
                {text.connection}
            </button>
        }
    })
}

/// The links to the page in the other languages.
#[component]
fn Languages() -> impl IntoView {
    let locale = use_locale();
    still(move || {
        Locale::ALL.into_iter().filter(|other| *other != locale).map(|other| view! {
            <a class="tool" hreflang=other.tag() lang=other.tag() href=format!("?{}={}", Locale::NAME, other.tag())>
                {other.text().language}
            </a>
        }).collect_view()
    })
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
