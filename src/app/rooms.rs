//! The user's rooms, with their unread messages, and a form for any other room. All of them are on the one connection of the
//! page, so a click shows another room without a reload. Only this list needs a script; without one there is the form.

use leptos::ev::{MouseEvent, SubmitEvent};
use leptos::html::{Input, Ul};
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{MessageList, PageState, RoomState};
use crate::browser::dom;
use crate::protocol::{BasePath, RoomName};

/// The list of rooms.
#[component]
pub fn Rooms() -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    let lobby = expect_context::<BasePath>().join("/");
    let list = NodeRef::<Ul>::new();
    let field = NodeRef::<Input>::new();

    let open = move |name: &RoomName| {
        page.open(name);
        if let Some(list) = list.get_untracked() {
            dom::close_popover_around(&list);
        }
    };
    // A name that is none is submitted, and the server answers with the rule for names.
    let on_submit = move |event: SubmitEvent| {
        let typed = field.get_untracked().map(|field| field.value());
        if let Some(name) = typed.and_then(|typed| RoomName::parse(typed.trim()).ok()) {
            event.prevent_default();
            if let Some(field) = field.get_untracked() {
                field.set_value("");
            }
            open(&name);
        }
    };

    view! {
        <h2>{text.rooms}</h2>
        <ul class="rooms-list" node_ref=list>
            <For each=move || page.rooms.get() key=|room| room.name() let:room>
                <RoomLink room open/>
            </For>
        </ul>
        <form class="own" method="get" action=lobby on:submit=on_submit>
            <label for="other-room">{text.other_room}</label>
            <input
                id="other-room"
                name="room"
                maxlength="128"
                pattern="(?!\\.{1,2}(/|$))[A-Za-z0-9._:@~\\-]+(/(?!\\.{1,2}(/|$))[A-Za-z0-9._:@~\\-]+)*"
                required
                autocomplete="off"
                autocapitalize="none"
                title=text.room_rule
                node_ref=field
            />
            <button class="tool" type="submit">{text.go}</button>
        </form>
    }
}

/// One room of the list: the link that shows it, its unread messages, and the button that removes it.
#[component]
fn RoomLink(
    room: RoomState,
    /// Shows the room of this name.
    open: impl Fn(&RoomName) + Copy + 'static,
) -> impl IntoView {
    let text = use_text();
    let page = room.page;
    let name = room.name();
    let path = page.path(&name);
    let label = (text.leave)(&name);

    let shown = room.name();
    let is_shown = Memo::new(move |_| page.shown.with(|name| *name == shown));
    let unread = Memo::new(move |_| room.messages.with(MessageList::unread));

    let on_click = move |event: MouseEvent| {
        // With a modifier key, the browser opens the link in another tab.
        if !(event.ctrl_key() || event.meta_key() || event.shift_key() || event.alt_key()) {
            event.prevent_default();
            open(&room.name());
        }
    };

    view! {
        <li>
            <a href=path aria-current=move || is_shown.get().then_some("page") on:click=on_click>
                <span class="room-name">{name.to_string()}</span>
                {move || (unread.get().count > 0).then(|| view! {
                    <span class="unread">
                        <span aria-hidden="true">{unread.get().to_string()}</span>
                        <span class="visually-hidden">{(text.unread_in_room)(unread.get())}</span>
                    </span>
                })}
            </a>
            <button
                class="leave"
                type="button"
                aria-label=label.clone()
                title=label
                hidden=is_shown
                on:click=move |_| page.leave(&room.name())
            >
                "×"
            </button>
        </li>
    }
}
