//! The users in the room. A change updates a number and a list, and is not announced.
//!
//! Without a connection the list is empty, because an old list may be wrong.

use leptos::prelude::*;
use leptos::web_sys::HtmlInputElement;

use super::dynamic::{fill, find, list, on, show, still};
use super::i18n::use_text;
use super::live::{RoomPresence, RoomState};
use super::markup::Element;
use crate::protocol::UserId;

const COUNT: &str = "presence";
const MEMBERS: &str = "members";
const OWN_NAME: &str = "own-name";
const RENAME: &str = "rename";
const RENAMED: &str = "renamed";

/// The number of users, beside the name of the room.
#[component]
pub fn PresenceCount() -> impl IntoView {
    let text = use_text();
    let present = expect_context::<RoomState>().present;
    let count = move |present: &Option<RoomPresence>| {
        present.as_ref().map(|present| (text.here)(present.count))
    };
    show(COUNT, move || present.with(count).unwrap_or_default());
    still(|| view! { <p class="presence" id=COUNT></p> })
}

/// The names of the users, and the field that changes the own name.
#[component]
pub fn Roster() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();

    list(MEMBERS, move || {
        let me = live.me.get();
        let member = |name: &UserId| {
            let you = if Some(name) == me.as_ref() {
                text.you
            } else {
                ""
            };
            let name = Element::new("bdi").text(name.shown());
            Element::new("li")
                .with([name])
                .text(" ")
                .with([Element::new("span").class("quiet").text(you)])
        };
        live.present.with(|present| {
            let names = present
                .as_ref()
                .map(|RoomPresence { names, .. }| names.as_deref().unwrap_or_default());
            names.unwrap_or_default().iter().map(member).collect()
        })
    });

    let names = still(move || {
        view! {
            <h2>{text.members}</h2>
            <ul class="members" id=MEMBERS></ul>
        }
    });

    // With tokens, the name is fixed.
    let own = live.is_open.then(|| view! { <OwnName/> });
    view! { <section class="scripted" aria-label=text.members>{names} {own}</section> }
}

#[component]
fn OwnName() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let notice = RwSignal::new("");

    fill(OWN_NAME, move || {
        live.me.get().map(|me| me.to_string()).unwrap_or_default()
    });
    show(RENAMED, move || notice.get());

    on(RENAME, "submit", move |event| {
        event.prevent_default();
        let Some(field) = find::<HtmlInputElement>(OWN_NAME) else {
            return;
        };
        let typed = field.value();
        notice.set(match UserId::parse(typed.trim()) {
            Err(_) => text.bad_name,
            // The server knows messages in flight by the old name and the key.
            Ok(_)
                if live
                    .messages
                    .with_untracked(|seen| seen.pending_count() > 0) =>
            {
                text.rename_waits
            }
            Ok(name) => {
                live.rename(name);
                text.renamed
            }
        });
    });

    still(move || {
        view! {
            <form class="own" id=RENAME>
                <label for=OWN_NAME>{text.your_name}</label>
                <input id=OWN_NAME maxlength="64" autocomplete="off"/>
                <button class="tool" type="submit">{text.change}</button>
                <p class="quiet" id=RENAMED role="status"></p>
                <p class="quiet">{text.unverified}</p>
            </form>
        }
    })
}
