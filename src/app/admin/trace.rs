//! The live trace of one connection. The lines come from the API as they pass, and `public/admin.js` writes them; the
//! words for them are here.

use leptos::prelude::*;

use super::place::Place;
use crate::app::i18n::AdminText;

/// What passes over a connection, by the name that the API has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client sent a frame.
    Frame,
    /// Bytes were taken for the client.
    Write,
    /// Nothing is taken now.
    Blocked,
    /// Events were missed.
    Missed,
}

impl Event {
    /// Each.
    pub const ALL: [Self; 4] = [Self::Frame, Self::Write, Self::Blocked, Self::Missed];

    /// The fields of the API that its phrase names.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Frame => &["kind", "bytes", "led_to"],
            Self::Write => &["bytes", "offset"],
            Self::Blocked => &[],
            Self::Missed => &["count"],
        }
    }
}

/// The trace.
#[component]
pub fn Trace(
    /// Where the operator stands.
    place: Place,
    /// The connection.
    number: u64,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let stopped = Place {
        trace: None,
        ..place.quiet()
    };
    let words = text.event;
    view! {
        <section id="traced" class="scripted" aria-labelledby="trace-title">
            <div class="desk-bar">
                <h2 id="trace-title">{(text.tracing)(number)}</h2>
                <a class="tool" id="trace-stop" href=stopped.href()>{text.stop}</a>
            </div>
            <p class="quiet">{text.trace_note}</p>
            // The script's own: what the server says again of it changes nothing in it.
            <ol
                class="trace"
                id=format!("trace-of-{number}")
                tabindex="0"
                aria-labelledby="trace-title"
                data-own
                data-trace=number.to_string()
                data-frame=words(Event::Frame)
                data-write=words(Event::Write)
                data-blocked=words(Event::Blocked)
                data-missed=words(Event::Missed)
                data-over=text.trace_over
            >
                <li class="quiet">{text.trace_empty}</li>
            </ol>
        </section>
    }
}
