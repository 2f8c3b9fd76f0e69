//! What is seen without the right to more: where a token is brought to.
//!
//! The field has no name, so no form sends it, and no address or log gets it: the script keeps it for the tab and
//! sends it as a header.

use leptos::prelude::*;

use crate::app::i18n::AdminText;

/// The gate.
#[component]
pub fn Gate(
    /// Why the token that came is no good, if one came.
    refused: Option<String>,
    /// Whether a token could be any good here.
    has_keys: bool,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    if !has_keys {
        return view! { <main class="gate"><p>{text.elsewhere}</p></main> }.into_any();
    }
    // What the server says is in English.
    let refused = refused.map(|why| {
        view! { <p class="alert" role="alert" id="refused">{text.refused} " " <span lang="en">{why}</span></p> }
    });
    view! {
        <main class="gate">
            <p>{text.enter}</p>
            {refused}
            <form class="scripted" id="enter">
                <label for="token">{text.token}</label>
                <input id="token" type="password" autocomplete="off" required/>
                <button class="go" type="submit">{text.come_in}</button>
            </form>
            <p class="unscripted">{text.needs_script}</p>
        </main>
    }
    .into_any()
}
