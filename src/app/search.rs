//! Search in the part of the log that is in this page: from match to match, the newest first.

use leptos::ev::{MouseEvent, SubmitEvent};
use leptos::html::Input;
use leptos::prelude::*;

use super::dynamic::{act, words};
use super::i18n::use_text;
use super::live::Live;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "search";

/// Where a search stands.
#[derive(Clone, Debug, Default)]
struct Search {
    words: String,
    /// The ids of the rows that match, the newest first.
    matches: Vec<u64>,
    at: usize,
}

/// The panel.
#[component]
pub fn SearchPanel() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let field = NodeRef::<Input>::new();
    let search = RwSignal::new(Search::default());
    let step = move |by: usize| {
        let Some(field) = field.get_untracked() else { return };
        let words = field.value();
        search.update(|search| {
            if search.words == words && !search.matches.is_empty() {
                search.at = (search.at + by) % search.matches.len();
            } else {
                let matches = live.transcript.with_untracked(|seen| seen.search(&words));
                *search = Search { words, matches, at: 0 };
            }
            live.find(search.matches.get(search.at).copied());
        });
    };
    let on_submit = act(move |event: SubmitEvent| {
        event.prevent_default();
        step(1);
    });
    let back =
        act(move |_: MouseEvent| step(search.with_untracked(|search| search.matches.len().max(1) - 1)));
    let result = words(move || {
        search.with(|search| match search.matches.len() {
            _ if search.words.is_empty() => String::new(),
            0 => text.no_match.to_owned(),
            count => (text.matches)(search.at + 1, count),
        })
    });
    view! {
        <search class="panel" id=PANEL popover="auto" aria-label=text.search>
            <form on:submit=on_submit>
                <label for="words">{text.search_in}</label>
                <input id="words" type="search" autocomplete="off" autofocus node_ref=field/>
                <button class="tool" type="submit">{text.older}</button>
                <button class="tool" type="button" on:click=back>{text.newer}</button>
            </form>
            <p class="quiet" role="status">{result}</p>
        </search>
    }
}
