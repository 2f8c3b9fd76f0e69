//! The panel that searches the room's messages on the server, and goes to a day.

use leptos::ev::{MouseEvent, SubmitEvent};
use leptos::html::{Input, Li};
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::close_panel::ClosePanel;
use super::i18n::use_text;
use super::live::{FoundMessage, FoundMessages, RoomState};
use crate::browser::{clock, dom};

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "search";

/// The length of the excerpt of a message, in characters.
const EXCERPT: usize = 200;

/// The state of the search.
#[derive(Clone, Debug, Default, PartialEq)]
enum SearchState {
    #[default]
    Idle,
    /// A request is under way.
    Searching,
    Done(FoundMessages),
    Failed,
    /// There is no message since the chosen day.
    NoneSince,
}

/// The search panel.
#[component]
pub fn SearchPanel() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let room = live.name();
    let field = NodeRef::<Input>::new();
    let date = NodeRef::<Input>::new();
    let state = RwSignal::new(SearchState::default());

    // The matches that are shown stay while older ones are loaded.
    let search = move |earlier: FoundMessages| {
        let Some(words) = field.get_untracked().map(|field| field.value()) else {
            return;
        };
        if words.trim().is_empty() {
            return state.set(SearchState::Idle);
        }

        let before = earlier.messages.last().map(|last| last.offset);
        state.set(SearchState::Searching);
        spawn_local(async move {
            let result = live.search(&words, before).await;
            // Fails only after another room was shown.
            let _ = state.try_set(match result {
                Ok(mut found) => {
                    found.messages.splice(0..0, earlier.messages);
                    SearchState::Done(found)
                }
                Err(_) => SearchState::Failed,
            });
        });
    };
    let on_submit = move |event: SubmitEvent| {
        event.prevent_default();
        search(FoundMessages::default());
    };
    let on_date = move |event: SubmitEvent| {
        event.prevent_default();
        let chosen = date.get_untracked().map(|date| date.value());
        let Some(time) = chosen.and_then(|date| clock::start_of_day(&date)) else {
            return;
        };

        state.set(SearchState::Searching);
        spawn_local(async move {
            let result = live.jump_to_time(time).await;
            // Fails only after another room was shown.
            let _ = state.try_set(match result {
                Ok(true) => SearchState::Idle,
                Ok(false) => SearchState::NoneSince,
                Err(_) => SearchState::Failed,
            });
        });
    };

    let found = move || match state.get() {
        SearchState::Done(found) => found,
        _ => FoundMessages::default(),
    };
    let status = move || {
        state.with(|state| match state {
            SearchState::Idle => None,
            SearchState::Searching => Some(text.searching.to_owned()),
            SearchState::Failed => Some(text.search_failed.to_owned()),
            SearchState::NoneSince => Some(text.none_since.to_owned()),
            SearchState::Done(found) if found.is_of_loaded => {
                Some((text.found_in_loaded)(found.messages.len()))
            }
            SearchState::Done(found) => Some((text.found)(found.messages.len(), found.more)),
        })
    };

    view! {
        <search class="panel" id=PANEL popover="auto" aria-label=text.search on:toggle=move |_| live.find(None)>
            <ClosePanel panel=PANEL/>
            <form class="own" on:submit=on_submit>
                <label for="words">{(text.search_in)(&room)}</label>
                <input id="words" type="search" maxlength="200" autocomplete="off" autofocus node_ref=field/>
                <button class="tool" type="submit">{text.search}</button>
            </form>
            <form class="own" on:submit=on_date>
                <label for="date">{text.date}</label>
                <input id="date" type="date" required node_ref=date/>
                <button class="tool" type="submit">{text.go}</button>
            </form>
            <p class="quiet" role="status">{status}</p>
            <ol class="matches">
                <For each=move || found().messages key=|message| message.offset let:message>
                    <Match message/>
                </For>
            </ol>
            <button
                class="tool"
                type="button"
                hidden=move || !found().more
                on:click=move |_| search(untrack(found))
            >
                {text.older}
            </button>
        </search>
    }
}

/// A message that was found: a link to its place in the log.
#[component]
fn Match(message: FoundMessage) -> impl IntoView {
    let live = expect_context::<RoomState>();
    let FoundMessage {
        offset,
        from,
        at,
        text,
    } = message;
    let link = live.page.permalink(&live.name(), offset);
    let time = move || live.clock(at).exact;
    let item = NodeRef::<Li>::new();
    let excerpt: String = text.chars().take(EXCERPT).collect();

    let on_click = move |event: MouseEvent| {
        event.prevent_default();
        live.jump(offset);
        // On a narrow screen, the panel covers the log.
        if let Some(item) = item.get_untracked().filter(|_| dom::is_narrow()) {
            dom::close_popover_around(&item);
        }
    };

    view! {
        <li node_ref=item>
            <a href=link on:click=on_click>
                <span class="quiet"><bdi>{from.shown()}</bdi> " " <time>{time}</time></span>
                <span class="excerpt" dir="auto">{excerpt}</span>
            </a>
        </li>
    }
}
