//! Who is in the room. Quiet: comings and goings change a number and a list, and announce nothing.
//!
//! Who was here before the connection broke would be a guess, so without a connection nobody is.

use leptos::ev::SubmitEvent;
use leptos::prelude::*;

use super::dynamic::{act, words};
use super::i18n::use_text;
use super::live::{Live, Present};
use crate::protocol::UserId;

/// 12 here, beside the room's name.
#[component]
pub fn PresenceCount() -> impl IntoView {
    let text = use_text();
    let present = expect_context::<Live>().present;
    let count = move |present: &Option<Present>| present.as_ref().map(|present| (text.here)(present.count));
    let shown = words(move || present.with(count).unwrap_or_default());
    view! { <p class="presence" id="presence">{shown}</p> }
}

/// Their names, and the reader's own, which can be changed.
#[component]
pub fn Roster() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let names = move || {
        let me = live.me.get();
        let member = |name: &UserId| {
            let you = (Some(name) == me.as_ref()).then_some(text.you);
            view! { <li><bdi>{name.shown()}</bdi> <span class="quiet">{you}</span></li> }
        };
        live.present.with(|present| {
            let names = present.as_ref().map(|Present { names, .. }| names.as_deref().unwrap_or_default());
            names.unwrap_or_default().iter().map(member).collect_view()
        })
    };
    view! {
        <section class="scripted" aria-label=text.members>
            <h2>{text.members}</h2>
            <ul class="members">{names}</ul>
            <OwnName/>
        </section>
    }
}

#[component]
fn OwnName() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let field = NodeRef::<leptos::html::Input>::new();
    let notice = RwSignal::new("");
    let name = words(move || live.me.get().map(|me| me.to_string()).unwrap_or_default());
    let on_submit = act(move |event: SubmitEvent| {
        event.prevent_default();
        let Some(field) = field.get_untracked() else { return };
        let typed = field.value();
        notice.set(match UserId::parse(typed.trim()) {
            Err(_) => text.bad_name,
            // What is on its way is known to the server by the old name and its key.
            Ok(_) if live.transcript.with_untracked(|seen| seen.waiting() > 0) => text.rename_waits,
            Ok(name) => {
                live.rename(name);
                text.renamed
            }
        });
    });
    view! {
        <form class="own" on:submit=on_submit>
            <label for="own-name">{text.your_name}</label>
            <input id="own-name" maxlength="64" autocomplete="off" prop:value=name node_ref=field/>
            <button class="tool" type="submit">{text.change}</button>
            <p class="quiet" role="status">{words(move || notice.get())}</p>
        </form>
    }
}
