//! The layout of the page: header, side panel, log, composer. It has no state and no logic of its own.
//!
//! Panels are popovers of the browser: they need no script, close with Escape, and restore the focus.

use leptos::context::Provider;
use leptos::prelude::*;

use super::alerts::Alerts;
use super::composer::Composer;
use super::health::{self, Health};
use super::i18n::{Locale, use_locale, use_text};
use super::live::{MessageList, PageState, RoomState};
use super::presence::{PresenceCount, Roster};
use super::rooms::Rooms;
use super::search::{self, SearchPanel};
use super::share::{self, Share};
use super::sign_in::Identity;
use super::snapshot::MessageForm;
use super::status::StatusBadge;
use super::theme::{Theme, ThemeSwitch};
use super::timeline::Timeline;

/// The id of the side panel, for the button that opens it.
const SIDE: &str = "side";

/// The page. It shows one of the user's rooms.
#[component]
pub fn Home(
    /// The theme in which the server has rendered the page.
    theme: Theme,
    /// The initial values of the form.
    form: MessageForm,
) -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    let form = StoredValue::new(form);

    let unread = Memo::new(move |_| page.unread());
    Effect::new(move |_| {
        let unread = unread.get();
        let count = match unread {
            0 => String::new(),
            unread => format!("({unread}) "),
        };
        document().set_title(&format!("{count}{} - Fanfare", page.shown.get()));
        page.set_icon(unread > 0);
    });

    view! {
        <div class="page">
            <header class="head">
                <button class="menu" type="button" popovertarget=SIDE aria-label=text.menu>
                    <span class="bars" aria-hidden="true"></span>
                </button>
                <Mark/>
                <ShownRoom>
                    <RoomHeading/>
                    <PresenceCount/>
                    <StatusBadge/>
                </ShownRoom>
                <button class="tool scripted" type="button" popovertarget=search::PANEL>{text.search}</button>
            </header>
            <nav class="side" id=SIDE popover="auto" aria-label=text.menu>
                <Rooms/>
                <ShownRoom>
                    <Roster/>
                </ShownRoom>
                // Where names are verified, users cannot choose theirs.
                {(!page.is_open).then(|| view! { <Identity/> })}
                <div class="tools">
                    <button class="tool scripted" type="button" popovertarget=share::PANEL>{text.share}</button>
                    <button
                        class="tool scripted"
                        id="connection"
                        type="button"
                        popovertarget=health::PANEL
                        on:click=move |_| page.check()
                    >
                        {text.connection}
                    </button>
                    <Alerts/>
                    <ThemeSwitch theme/>
                    <Languages/>
                </div>
            </nav>
            <main class="main">
                <ShownRoom>
                    <PageLinks/>
                    <Timeline/>
                    <Composer form=form.get_value()/>
                </ShownRoom>
            </main>
            <ShownRoom>
                <SearchPanel/>
                <Share/>
                <Health/>
            </ShownRoom>
        </div>
    }
}

/// Provides the state of the shown room to `children`, and builds them again when another room is shown.
#[component]
fn ShownRoom<C>(children: TypedChildrenFn<C>) -> impl IntoView
where
    C: IntoView + 'static,
{
    let page = expect_context::<PageState>();
    let children = children.into_inner();

    move || {
        let room = page.shown_room();
        let children = children.clone();
        view! { <Provider value=room>{children()}</Provider> }
    }
}

/// The note for browsers without JavaScript, with links to the rest of the log.
#[component]
fn PageLinks() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let name = live.name();
    let (oldest, newest) = live.messages.with_untracked(MessageList::limits);
    let link = |path: String, text| view! { " " <a href=path>{text}</a> };

    view! {
        <p class="unscripted note">
            {text.unscripted}
            {oldest.map(|oldest| link(live.page.permalink(&name, oldest), text.older_messages))}
            {newest.map(|newest| link(live.page.permalink(&name, newest), text.newer_messages))}
            {newest.map(|_| link(live.page.path(&name), text.newest_messages))}
        </p>
    }
}

#[component]
fn RoomHeading() -> impl IntoView {
    let room = expect_context::<RoomState>().name();
    view! { <h1 class="room">{room.to_string()}</h1> }
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
