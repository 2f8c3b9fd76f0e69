//! The form for a token, shown to clients that are not authenticated as operators.
//!
//! The field has no name, so the form does not send it, and no URL or log contains the token. The script keeps it for
//! the tab and sends it as a header.

use leptos::prelude::*;

use crate::app::i18n::AdminText;

/// Returns the form, with the reason why a token was refused; or a note if the server has no keys and accepts no
/// tokens.
pub(super) fn sign_in(
    refused: Option<String>,
    has_keys: bool,
    text: &'static AdminText,
) -> AnyView {
    if !has_keys {
        return view! { <main class="gate"><p>{text.elsewhere}</p></main> }.into_any();
    }

    // Error messages of the server are in English.
    let refused = refused.map(|reason| {
        view! { <p class="alert" role="alert" id="refused">{text.refused} " " <span lang="en">{reason}</span></p> }
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
