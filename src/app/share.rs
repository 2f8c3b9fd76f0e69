//! The panel for inviting others: the URL of the room, as text and as a QR code, which the server draws.

use leptos::html::Input;
use leptos::prelude::*;

use super::close_panel::ClosePanel;
use super::i18n::use_text;
use super::live::PageState;
use crate::browser::dom;
use crate::protocol::BasePath;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "share";

/// The panel for inviting others.
#[component]
pub fn Share() -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    let base = expect_context::<BasePath>();
    let field = NodeRef::<Input>::new();
    let is_copied = RwSignal::new(false);

    // Only the browser knows the public URL of the server.
    let link = RwSignal::new(None::<String>);
    Effect::new(move |_| link.set(Some(dom::address())));
    let code = move || Some(base.join(&format!("/qr.svg?url={}", link.get()?)));

    let copy = move |_| {
        if dom::copy(&dom::address()) {
            is_copied.set(true);
        } else if let Some(field) = field.get_untracked() {
            // Without a clipboard API, the text is selected for the user to copy.
            field.select();
        }
    };

    view! {
        <section class="panel beside" id=PANEL popover="auto" aria-label=text.share>
            <ClosePanel panel=PANEL/>
            <h2>{text.share}</h2>
            {(!page.is_open).then(|| view! { <p class="quiet">{text.share_needs_token}</p> })}
            <label for="link">{text.address}</label>
            <input id="link" readonly node_ref=field prop:value=link/>
            <button class="tool" type="button" on:click=copy>
                {move || if is_copied.get() { text.copied } else { text.copy }}
            </button>
            <img class="qr" loading="lazy" width="260" height="260" alt=text.qr src=code/>
        </section>
    }
}
