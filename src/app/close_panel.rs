//! The button that closes a panel.

use leptos::prelude::*;

use super::i18n::use_text;

/// The button that closes the panel with the id `panel`.
#[component]
pub fn ClosePanel(
    /// The id of the panel.
    panel: &'static str,
) -> impl IntoView {
    let text = use_text();
    view! {
        <button
            class="close"
            type="button"
            popovertarget=panel
            popovertargetaction="hide"
            aria-label=text.close
            title=text.close
        >
            "×"
        </button>
    }
}
