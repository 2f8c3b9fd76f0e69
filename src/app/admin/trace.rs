//! The live trace of one connection. `public/admin.js` reads the events from the API, and shows them with the texts
//! given here.

use leptos::prelude::*;

use super::AdminPage;
use super::form::link;
use super::route::AdminRoute;

/// An event of a trace, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame from the client.
    Frame,
    /// A write to the client.
    Write,
    /// A write that is blocked, because the client does not read.
    Blocked,
    /// A number of skipped events.
    Missed,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 4] = [Self::Frame, Self::Write, Self::Blocked, Self::Missed];

    /// Returns the fields of the event that its phrase contains.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Frame => &["kind", "bytes", "led_to"],
            Self::Write => &["bytes", "offset"],
            Self::Blocked => &[],
            Self::Missed => &["count"],
        }
    }
}

/// Returns the trace of the connection `number`.
pub(super) fn trace(page: &AdminPage, number: u64) -> AnyView {
    let text = page.text;
    let phrase = text.event;
    let stopped = AdminRoute {
        trace: None,
        ..page.route.base()
    };

    view! {
        <section id="traced" class="scripted" aria-labelledby="trace-title">
            <div class="admin-bar">
                <h2 id="trace-title">{(text.tracing)(number)}</h2>
                {link("trace-stop", &stopped, text.stop)}
            </div>
            <p class="quiet">{text.trace_note}</p>
            // The script fills the list. An update of the page does not change it (`data-own`).
            <ol
                class="trace"
                id=format!("trace-of-{number}")
                tabindex="0"
                aria-labelledby="trace-title"
                data-own
                data-trace=number.to_string()
                data-frame=phrase(Event::Frame)
                data-write=phrase(Event::Write)
                data-blocked=phrase(Event::Blocked)
                data-missed=phrase(Event::Missed)
                data-over=text.trace_over
            >
                <li class="quiet">{text.trace_empty}</li>
            </ol>
        </section>
    }
    .into_any()
}
