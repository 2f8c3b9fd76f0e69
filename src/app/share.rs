//! The way into the room for others: its address, to be copied or photographed.

use leptos::ev::MouseEvent;
use leptos::html::Input;
use leptos::prelude::*;

use super::dynamic::{act, words};
use super::i18n::use_text;
use super::live::{Live, address, copy};
use super::qr;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "share";

/// The panel.
#[component]
pub fn Share() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let field = NodeRef::<Input>::new();
    let copied = RwSignal::new(false);
    // The server does not know under which name it is reached.
    let link = move || if live.awake.get() { address() } else { String::new() };
    let code =
        move || Some(link()).filter(|link| !link.is_empty()).and_then(|link| qr::encode(link.as_bytes()));
    // With the quiet zone of four around it.
    let frame = words(move || format!("-4 -4 {0} {0}", code().map_or(0, |code| code.size()) + 8));
    let path = words(move || code().map(|code| code.path()).unwrap_or_default());
    let on_copy = act(move |_: MouseEvent| {
        if copy(&address()) {
            copied.set(true);
        } else if let Some(field) = field.get_untracked() {
            // Without a clipboard the reader copies what is selected.
            field.select();
        }
    });
    view! {
        <section class="panel" id=PANEL popover="auto" aria-label=text.share>
            <h2>{text.share}</h2>
            <label for="link">{text.address}</label>
            <input id="link" readonly prop:value=words(link) node_ref=field/>
            <button class="tool" type="button" on:click=on_copy>
                {words(move || if copied.get() { text.copied } else { text.copy })}
            </button>
            <svg class="qr" role="img" aria-label=text.qr viewBox=frame>
                <path d=path></path>
            </svg>
        </section>
    }
}
