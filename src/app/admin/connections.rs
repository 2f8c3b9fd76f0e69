//! Who is connected, a row each: how far each has got, and what can be done about it.

use leptos::prelude::*;

use super::desk::{ConnectionRow, Part};
use super::form::Search;
use super::place::{Place, Question};
use super::quantity::{bytes, count};
use super::table::{Column, Table};
use crate::app::i18n::AdminText;

/// The list.
#[component]
pub fn Connections(
    /// Where the operator stands.
    place: Place,
    /// Some connections.
    connections: Part<ConnectionRow>,
    /// Now, in milliseconds since 1970 UTC.
    now: u64,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let next = connections
        .more
        .then(|| connections.some.last())
        .flatten()
        .map(|last| {
            let behind = Place {
                after: last.number,
                ..place.quiet()
            };
            view! { <a class="tool" id="connections-next" href=behind.href()>{text.next}</a> }
        });
    let all = Place {
        who: String::new(),
        after: 0,
        room: None,
        ..place.quiet()
    };
    let is_part = all != place.quiet();
    let all = is_part.then(
        || view! { <a class="tool" id="connections-all" href=all.href()>{text.show_all}</a> },
    );
    let in_room = place.room.as_ref().map(|room| {
        view! { <p class="quiet">{(text.in_room)(room)}</p> }
    });
    // Not behind a number: what is looked for may be before it.
    let elsewhere = Place {
        who: String::new(),
        after: 0,
        ..place.quiet()
    };
    let rows: Vec<_> = connections
        .some
        .into_iter()
        .map(|connection| view! { <Row place=place.clone() connection now text/> }.into_any())
        .collect();
    let columns = vec![
        Column::Words(text.id),
        Column::Number(text.number),
        Column::Words(text.address),
        Column::Words(text.room),
        Column::Number(text.since),
        Column::Number(text.behind),
        Column::Number(text.waiting),
        Column::Words(text.dialect),
        Column::Words(text.acts),
    ];
    view! {
        <section id="connections" aria-labelledby="connections-title">
            <div class="desk-bar">
                <h2 id="connections-title">{text.connections}</h2>
                <Search place=elsewhere name="who" value=place.who.clone() label=text.who verb=text.show/>
                {all}
            </div>
            {in_room}
            <Table columns rows nothing=text.no_connections/>
            {next}
        </section>
    }
}

#[component]
fn Row(
    place: Place,
    connection: ConnectionRow,
    now: u64,
    text: &'static AdminText,
) -> impl IntoView {
    let ConnectionRow {
        number,
        id,
        address,
        room,
        since,
        dialect,
        behind,
        waiting,
    } = connection;
    let who = match id {
        Some(id) => view! { <bdi>{id.shown()}</bdi> }.into_any(),
        None => view! { <span class="quiet">{text.nobody}</span> }.into_any(),
    };
    let inside = Place {
        room: Some(room.clone()),
        after: 0,
        ..place.quiet()
    };
    let watched = Place {
        trace: Some(number),
        ..place.quiet()
    };
    let acts = [
        ("kick", text.kick, place.asking(Question::Kick(number))),
        ("ban", text.ban, place.asking(Question::Ban(Some(number)))),
        ("trace", text.trace, watched),
    ];
    let acts: Vec<_> = acts
        .into_iter()
        .map(|(act, words, place)| {
            view! { <a class="tool" id=format!("{act}-{number}") href=place.href()>{words}</a> }
        })
        .collect();
    view! {
        <tr id=format!("connection-{number}") class:chosen=place.trace == Some(number)>
            <th scope="row">{who}</th>
            <td class="number" data-label=text.number>{number.to_string()}</td>
            <td data-label=text.address>{address.to_string()}</td>
            <td data-label=text.room><a href=inside.href()>{room.to_string()}</a></td>
            <td class="number" data-label=text.since>{(text.span)(now.saturating_sub(since) / 1000)}</td>
            <td class="number" data-label=text.behind>{count(behind)}</td>
            <td class="number" data-label=text.waiting>{bytes(waiting as f64)}</td>
            <td data-label=text.dialect>{dialect}</td>
            <td class="acts">{acts}</td>
        </tr>
    }
}
