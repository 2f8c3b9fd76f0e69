//! The users in the room. A change updates a number and a list, and is not announced.
//!
//! Without a connection the list is empty, because an old list may be wrong.

use leptos::ev::SubmitEvent;
use leptos::html::Input;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::RoomState;
use crate::protocol::UserId;

/// The number of users, beside the name of the room.
#[component]
pub fn PresenceCount() -> impl IntoView {
    let text = use_text();
    let present = expect_context::<RoomState>().present;
    let count = move || present.with(|present| present.as_ref().map(|present| present.count));

    view! { <p class="presence" id="presence">{move || count().map(text.here)}</p> }
}

/// The names of the users, and the field that changes the own name.
#[component]
pub fn Roster() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let names = Memo::new(move |_| {
        live.present
            .with(|present| present.as_ref()?.names.clone())
            .unwrap_or_default()
    });

    view! {
        <section class="scripted" aria-label=text.members>
            <h2 hidden=move || names.with(Vec::is_empty)>{text.members}</h2>
            <ul class="members">
                <For each=move || names.get() key=UserId::clone let:name>
                    <li>
                        <bdi>{name.shown()}</bdi>
                        " "
                        <span class="quiet">
                            {move || (live.page.me.get().as_ref() == Some(&name)).then_some(text.you)}
                        </span>
                    </li>
                </For>
            </ul>
            {live.page.is_open.then(|| view! { <OwnName/> })}
        </section>
    }
}

#[component]
fn OwnName() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let field = NodeRef::<Input>::new();
    let notice = RwSignal::new(None);

    let rename = move |event: SubmitEvent| {
        event.prevent_default();
        let Some(field) = field.get_untracked() else {
            return;
        };

        notice.set(Some(match UserId::parse(field.value().trim()) {
            Err(_) => text.bad_name,
            // The server knows messages in flight by the old name and the key.
            Ok(_) if untrack(|| live.page.pending_count()) > 0 => text.rename_waits,
            Ok(name) => {
                live.page.rename(name);
                text.renamed
            }
        }));
    };

    view! {
        <form class="own" on:submit=rename>
            <label for="own-name">{text.your_name}</label>
            <input
                id="own-name"
                maxlength="64"
                autocomplete="off"
                node_ref=field
                prop:value=move || live.page.me.get().map(|me| me.to_string())
            />
            <button class="tool" type="submit">{text.change}</button>
            <p class="quiet" role="status">{notice}</p>
            <p class="quiet">{text.unverified}</p>
        </form>
    }
}
