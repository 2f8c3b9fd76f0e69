//! The connection panel: figures of the connection, and a button that closes it to demonstrate recovery.

use leptos::prelude::*;

use super::close_panel::ClosePanel;
use super::i18n::use_text;
use super::live::RoomState;

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "health";

/// The connection panel.
#[component]
pub fn Health() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();

    let round_trip = move || match live.page.stats.get().round_trip {
        Some(time) => format!("{} ms", time.as_millis()),
        None => text.unknown.to_owned(),
    };
    let position = move || {
        live.messages.with(|list| match list.position() {
            Some(position) => position.to_string(),
            None => text.unknown.to_owned(),
        })
    };

    view! {
        <section class="panel beside" id=PANEL popover="auto" aria-label=text.connection>
            <ClosePanel panel=PANEL/>
            <h2>{text.connection}</h2>
            <dl>
                <dt>{text.round_trip}</dt>
                <dd id="round-trip">{round_trip}</dd>
                <dt>{text.position}</dt>
                <dd id="position">{position}</dd>
                <dt>{text.resumes}</dt>
                <dd id="resumes">{move || live.page.stats.get().resumes}</dd>
                <dt>{text.unsent}</dt>
                <dd id="waiting">{move || live.page.pending_count()}</dd>
            </dl>
            <button class="tool" type="button" on:click=move |_| live.page.check()>{text.measure}</button>
            <button class="tool" type="button" on:click=move |_| live.page.disconnect()>
                {text.break_off}
            </button>
        </section>
    }
}
