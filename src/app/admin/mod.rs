//! The operator's page: rooms, connections, rates, and what can be done about them.
//!
//! Unlike the page that everyone sees it is rendered on the server alone, again and again: the server hands
//! [`document`] a [`Desk`], and what comes out is the whole page. Links and forms lead from one [`Place`] to the next,
//! so everything but a trace works without JavaScript; `public/admin.js` asks for the page each second and changes
//! what has changed in it. The browser downloads none of this.
//!
//! Absent on purpose: signals, clocks and the browser. Times are told as how long ago, because nobody here knows the
//! reader's clock.

pub mod place;
pub mod quantity;
pub mod sparkline;
pub mod table;
pub mod form;
pub mod desk;
pub mod overview;
pub mod rooms;
pub mod messages;
pub mod connections;
pub mod trace;
pub mod bans;
pub mod question;
pub mod gate;

pub use desk::{
    BannedRow, ClosedRow, ConnectionRow, Desk, Figures, Listed, Outcome, Part, RoomRow, Seen,
    Subject,
};
pub use place::{Done, Place, Question};
pub use trace::Event;

use leptos::prelude::*;

use bans::Bans;
use connections::Connections;
use gate::Gate;
use messages::Messages;
use overview::{Head, Overview};
use question::Asked;
use rooms::Rooms;
use trace::Trace;

use super::i18n::AdminText;

/// The whole HTML document. The server's only way in.
pub fn document(desk: Desk) -> String {
    let Desk {
        locale,
        theme,
        styles,
        place,
        seen,
    } = desk;
    let text = locale.admin_text();
    let title = format!("{} - Fanfare", text.title);
    let head = view! { <Head locale theme figures=seen.figures() has_token=seen.has_token()/> };
    let address = place.quiet().href();
    let is_gate = matches!(seen, Seen::Gate { .. });
    let main = match seen {
        Seen::Gate { refused, has_keys } => view! { <Gate refused has_keys text/> }.into_any(),
        Seen::Inside(listed) => view! { <Inside place listed=*listed text/> }.into_any(),
    };
    let page = view! {
        <html lang=locale.tag() data-theme=theme.tag()>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="robots" content="noindex"/>
                // As a child it would get a marker, which a browser shows in the tab.
                <title inner_html=title></title>
                <link rel="icon" href="favicon.svg" type="image/svg+xml"/>
                <link rel="stylesheet" href=styles/>
                <link rel="stylesheet" href="admin.css"/>
                <script type="module" src="admin.js"></script>
            </head>
            <body data-place=address data-gate=is_gate.then_some("")>
                {head}
                <p class="desk-note alert" id="silent" role="alert" data-words=text.silent></p>
                {main}
            </body>
        </html>
    };
    format!("<!DOCTYPE html>{}", page.to_html())
}

/// What an operator sees.
#[component]
fn Inside(place: Place, listed: Listed, text: &'static AdminText) -> impl IntoView {
    let Listed {
        now,
        figures,
        has_token: _,
        rooms,
        connections,
        messages,
        bans,
        closed,
        asked,
        outcome,
    } = listed;
    let question = place.question.clone();
    let room = place.room.clone();
    view! {
        <p class="desk-note unscripted">{text.unscripted}</p>
        <main class="desk">
            <Said outcome text/>
            <Overview figures text/>
            <Rooms place=place.clone() rooms text/>
            {room.map(|room| view! { <Messages place=place.clone() room messages now text/> })}
            <Connections place=place.clone() connections now text/>
            {place.trace.map(|number| view! { <Trace place=place.clone() number text/> })}
            <Bans place=place.clone() bans closed now text/>
        </main>
        {question.map(|question| view! { <Asked place question subject=asked text/> })}
    }
}

/// What was done, or why not.
#[component]
fn Said(outcome: Option<Outcome>, text: &'static AdminText) -> impl IntoView {
    let said = outcome.map(|outcome| match outcome {
        Outcome::Done(done) => {
            let words = match done {
                Done::Kicked => text.kicked.to_owned(),
                Done::Banned(count) => (text.banned)(count),
                Done::Lifted => text.lifted.to_owned(),
                Done::Closed(count) => (text.room_closed)(count),
                Done::Opened => text.room_opened.to_owned(),
                Done::Deleted => text.message_deleted.to_owned(),
            };
            view! { <p class="desk-note" role="status">{words}</p> }.into_any()
        }
        // What the server says is in English.
        Outcome::Failed(why) => view! {
            <p class="desk-note alert" role="alert">{text.failed} " " <span lang="en">{why}</span></p>
        }
        .into_any(),
    });
    view! { <div id="said">{said}</div> }
}
