//! How many are in the room. Quiet: comings and goings change a number and announce nothing.
//!
//! A count from before the connection broke would be a guess, so without a connection there is none.

use leptos::prelude::*;

use super::i18n::use_text;
use super::live::Live;

/// 12 here.
#[component]
pub fn PresenceCount() -> impl IntoView {
    let text = use_text();
    let present = expect_context::<Live>().present;
    let shown = move || present.get().map(|count| (text.here)(count));
    view! { <p class="presence" id="presence">{shown}</p> }
}
