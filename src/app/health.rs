//! How the connection does, in numbers, and a button that breaks it, to see it recover.

use leptos::ev::MouseEvent;
use leptos::prelude::*;

use super::dynamic::{act, words};
use super::i18n::use_text;
use super::live::{Live, Transcript};

/// The id of the panel, for the button that opens it.
pub const PANEL: &str = "health";

/// The panel.
#[component]
pub fn Health() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let round_trip = words(move || match live.vitals.get().round_trip {
        Some(took) => format!("{} ms", took.as_millis() as u64),
        None => text.unknown.to_owned(),
    });
    let place = words(move || {
        live.transcript.with(|seen| match seen.position() {
            Some((epoch, offset)) => format!("{epoch}:{offset}"),
            None => text.unknown.to_owned(),
        })
    });
    let resumes = words(move || live.vitals.get().resumes.to_string());
    let waiting = words(move || live.transcript.with(Transcript::waiting).to_string());
    let check = act(move |_: MouseEvent| live.check());
    let break_off = act(move |_: MouseEvent| live.break_off());
    view! {
        <section class="panel" id=PANEL popover="auto" aria-label=text.connection>
            <h2>{text.connection}</h2>
            <dl>
                <dt>{text.round_trip}</dt><dd id="round-trip">{round_trip}</dd>
                <dt>{text.position}</dt><dd id="position">{place}</dd>
                <dt>{text.resumes}</dt><dd id="resumes">{resumes}</dd>
                <dt>{text.unsent}</dt><dd id="waiting">{waiting}</dd>
            </dl>
            <button class="tool" type="button" on:click=check>{text.measure}</button>
            <button class="tool" type="button" on:click=break_off>{text.break_off}</button>
        </section>
    }
}
