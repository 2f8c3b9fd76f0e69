//! The panel for inviting others: the URL of the room, as text and as a QR code.

use leptos::prelude::*;
use leptos::web_sys::HtmlInputElement;

use super::dynamic::{fill, find, on, set, show, still};
use super::i18n::use_text;
use super::live::{RoomState, address, copy};
use super::qr;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "share";

const LINK: &str = "link";
const COPY: &str = "copy-link";
const CODE: &str = "qr";
const DOTS: &str = "qr-dots";

/// The panel for inviting others.
#[component]
pub fn Share() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let copied = RwSignal::new(false);

    // Only the browser knows the public URL of the server.
    let link = move || {
        if live.awake.get() {
            address()
        } else {
            String::new()
        }
    };
    let code = move || {
        Some(link())
            .filter(|link| !link.is_empty())
            .and_then(|link| qr::encode(link.as_bytes()))
    };

    fill(LINK, link);
    // The view box includes the quiet zone of four modules.
    set(CODE, "viewBox", move || {
        format!("-4 -4 {0} {0}", code().map_or(0, |code| code.size()) + 8)
    });
    set(DOTS, "d", move || {
        code().map(|code| code.path()).unwrap_or_default()
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
                <svg class="qr" id=CODE role="img" aria-label=text.qr>
                    <path id=DOTS></path>
                </svg>
            </section>
        }
    })
}
