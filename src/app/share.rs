//! The panel for inviting others: the URL of the room, as text and as a QR code, which the server draws.

use leptos::prelude::*;
use leptos::web_sys::HtmlInputElement;

use super::dynamic::{fill, find, on, set, show, still};
use super::i18n::use_text;
use super::live::{RoomState, address, copy};
use crate::protocol::BasePath;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "share";

const LINK: &str = "link";
const COPY: &str = "copy-link";
const CODE: &str = "qr";

/// The panel for inviting others.
#[component]
pub fn Share() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let base = expect_context::<BasePath>();
    let copied = RwSignal::new(false);

    // Only the browser knows the public URL of the server.
    let link = move || {
        if live.awake.get() {
            address()
        } else {
            String::new()
        }
    };

    fill(LINK, link);
    set(CODE, "src", move || {
        base.join(&format!("/qr.svg?url={}", link()))
    });
    show(
        COPY,
        move || if copied.get() { text.copied } else { text.copy },
    );
    on(COPY, "click", move |_| {
        if copy(&address()) {
            copied.set(true);
        } else if let Some(field) = find::<HtmlInputElement>(LINK) {
            // Without a clipboard API, the text is selected for the user to copy.
            field.select();
        }
    });

    still(move || {
        view! {
            <section class="panel" id=PANEL popover="auto" aria-label=text.share>
                <h2>{text.share}</h2>
                <label for=LINK>{text.address}</label>
                <input id=LINK readonly/>
                <button class="tool" id=COPY type="button">{text.copy}</button>
                <img class="qr" id=CODE loading="lazy" width="260" height="260" alt=text.qr/>
            </section>
        }
    })
}
