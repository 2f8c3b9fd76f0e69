//! The connection panel: figures of the connection, and a button that closes it to demonstrate recovery.

use leptos::prelude::*;

use super::dynamic::{on, show, still};
use super::i18n::use_text;
use super::live::{MessageList, RoomState};

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "health";

const ROUND_TRIP: &str = "round-trip";
const POSITION: &str = "position";
const RESUMES: &str = "resumes";
const WAITING: &str = "waiting";
const MEASURE: &str = "measure";
const BREAK_OFF: &str = "break-off";

/// The connection panel.
#[component]
pub fn Health() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();

    show(ROUND_TRIP, move || match live.stats.get().round_trip {
        Some(took) => format!("{} ms", took.as_millis() as u64),
        None => text.unknown.to_owned(),
    });
    show(POSITION, move || {
        live.messages.with(|list| match list.position() {
            Some(position) => position.to_string(),
            None => text.unknown.to_owned(),
        })
    });
    show(RESUMES, move || live.stats.get().resumes.to_string());
    show(WAITING, move || {
        live.messages.with(MessageList::pending_count).to_string()
    });

    on(MEASURE, "click", move |_| live.check());
    on(BREAK_OFF, "click", move |_| live.disconnect());

    still(move || {
        view! {
            <section class="panel" id=PANEL popover="auto" aria-label=text.connection>
                <h2>{text.connection}</h2>
                <dl>
                    <dt>{text.round_trip}</dt><dd id=ROUND_TRIP></dd>
                    <dt>{text.position}</dt><dd id=POSITION></dd>
                    <dt>{text.resumes}</dt><dd id=RESUMES></dd>
                    <dt>{text.unsent}</dt><dd id=WAITING></dd>
                </dl>
                <button class="tool" id=MEASURE type="button">{text.measure}</button>
                <button class="tool" id=BREAK_OFF type="button">{text.break_off}</button>
            </section>
        }
    })
}
