//! Search in the messages that this page has loaded, from match to match, newest first.

use leptos::html::Input;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::RoomState;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "search";

/// The state of a search.
#[derive(Clone, Debug, Default)]
struct Search {
    words: String,
    /// The ids of the matching rows, newest first.
    matches: Vec<u64>,
    at: usize,
}

impl Search {
    /// Returns the row of the current match.
    fn current(&self) -> Option<u64> {
        self.matches.get(self.at).copied()
    }
}

/// The search panel.
#[component]
pub fn SearchPanel() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let field = NodeRef::<Input>::new();
    let search = RwSignal::new(Search::default());

    let step = move |by: usize| {
        let Some(words) = field.get_untracked().map(|field| field.value()) else {
            return;
        };
        search.update(|search| {
            if search.words == words && !search.matches.is_empty() {
                search.at = (search.at + by) % search.matches.len();
            } else {
                let matches = live.messages.with_untracked(|list| list.search(&words));
                *search = Search {
                    words,
                    matches,
                    at: 0,
                };
            }
        });
        live.find(search.with_untracked(Search::current));
    };
    let newer = move |_| step(search.with_untracked(|search| search.matches.len().max(1) - 1));

    let result = move || {
        search.with(|search| match search.matches.len() {
            _ if search.words.is_empty() => None,
            0 => Some(text.no_match.to_owned()),
            count => Some((text.matches)(search.at + 1, count)),
        })
    };

    view! {
        <search class="panel" id=PANEL popover="auto" aria-label=text.search>
            <form on:submit=move |event| {
                event.prevent_default();
                step(1);
            }>
                <label for="words">{text.search_in}</label>
                <input id="words" type="search" autocomplete="off" autofocus node_ref=field/>
                <button class="tool" type="submit">{text.older}</button>
                <button class="tool" type="button" on:click=newer>{text.newer}</button>
            </form>
            <p class="quiet" role="status">{result}</p>
        </search>
    }
}
