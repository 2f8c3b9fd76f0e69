//! Search in the messages that this page has loaded, from match to match, newest first.

use leptos::prelude::*;
use leptos::web_sys::HtmlInputElement;

use super::dynamic::{find, on, show, still};
use super::i18n::use_text;
use super::live::RoomState;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "search";

const FORM: &str = "search-form";
const WORDS: &str = "words";
const NEWER: &str = "newer";
const RESULT: &str = "search-result";

/// The state of a search.
#[derive(Clone, Debug, Default)]
struct Search {
    words: String,
    /// The ids of the matching rows, newest first.
    matches: Vec<u64>,
    at: usize,
}

/// The search panel.
#[component]
pub fn SearchPanel() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let search = RwSignal::new(Search::default());

    let step = move |by: usize| {
        let Some(field) = find::<HtmlInputElement>(WORDS) else {
            return;
        };
        let words = field.value();
        search.update(|search| {
            if search.words == words && !search.matches.is_empty() {
                search.at = (search.at + by) % search.matches.len();
            } else {
                let matches = live.messages.with_untracked(|seen| seen.search(&words));
                *search = Search {
                    words,
                    matches,
                    at: 0,
                };
            }
            live.find(search.matches.get(search.at).copied());
        });
    };

    on(FORM, "submit", move |event| {
        event.prevent_default();
        step(1);
    });
    on(NEWER, "click", move |_| {
        step(search.with_untracked(|search| search.matches.len().max(1) - 1))
    });
    show(RESULT, move || {
        search.with(|search| match search.matches.len() {
            _ if search.words.is_empty() => String::new(),
            0 => text.no_match.to_owned(),
            count => (text.matches)(search.at + 1, count),
        })
    });

    still(move || {
        view! {
            <search class="panel" id=PANEL popover="auto" aria-label=text.search>
                <form id=FORM>
                    <label for=WORDS>{text.search_in}</label>
                    <input id=WORDS type="search" autocomplete="off" autofocus/>
                    <button class="tool" type="submit">{text.older}</button>
                    <button class="tool" id=NEWER type="button">{text.newer}</button>
                </form>
                <p class="quiet" id=RESULT role="status"></p>
            </search>
        }
    })
}
