//! The rooms in memory, a row each, with a filter and the door of each.

use leptos::prelude::*;

use super::desk::{Part, RoomRow};
use super::form::{Deed, Search};
use super::place::{Place, Question};
use super::quantity::{bytes, count};
use super::table::{Column, Table};
use crate::app::i18n::AdminText;

/// The list.
#[component]
pub fn Rooms(
    /// Where the operator stands.
    place: Place,
    /// Some rooms.
    rooms: Part<RoomRow>,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let next = rooms.more.then(|| rooms.some.last()).flatten().map(|last| {
        let behind = Place {
            rooms_after: last.name.to_string(),
            ..place.quiet()
        };
        view! { <a class="tool" id="rooms-next" href=behind.href()>{text.next}</a> }
    });
    let all = Place {
        prefix: String::new(),
        rooms_after: String::new(),
        room: None,
        ..place.quiet()
    };
    let is_part = all != place.quiet();
    let all = is_part
        .then(|| view! { <a class="tool" id="rooms-all" href=all.href()>{text.show_all}</a> });
    // Not behind a name: what is looked for may be before it.
    let elsewhere = Place {
        prefix: String::new(),
        rooms_after: String::new(),
        ..place.quiet()
    };
    let rows: Vec<_> = rooms
        .some
        .into_iter()
        .map(|room| view! { <Row place=place.clone() room text/> }.into_any())
        .collect();
    let columns = vec![
        Column::Words(text.room),
        Column::Number(text.members),
        Column::Number(text.connections),
        Column::Number(text.head),
        Column::Number(text.first),
        Column::Number(text.in_memory),
        Column::Number(text.size),
        Column::Words(text.acts),
    ];
    view! {
        <section id="rooms" aria-labelledby="rooms-title">
            <div class="desk-bar">
                <h2 id="rooms-title">{text.rooms}</h2>
                <Search place=elsewhere name="prefix" value=place.prefix.clone() label=text.prefix verb=text.show/>
                {all}
            </div>
            <Table columns rows nothing=text.no_rooms/>
            {next}
        </section>
    }
}

#[component]
fn Row(place: Place, room: RoomRow, text: &'static AdminText) -> impl IntoView {
    let RoomRow {
        name,
        members,
        connections,
        head,
        first,
        ring: (messages, size),
        closed,
    } = room;
    let looked_into = place.room.as_ref() == Some(&name);
    let inside = Place {
        room: Some(name.clone()),
        after: 0,
        ..place.quiet()
    };
    let shut = closed.then(|| view! { " " <span class="mark-closed">{text.closed}</span> });
    let door = match closed {
        true => {
            let (id, to) = (format!("open-{name}"), vec![("room", name.to_string())]);
            view! { <Deed act="open" to place=place.clone() verb=text.open id/> }.into_any()
        }
        false => {
            let href = place.asking(Question::Close(name.clone())).href();
            view! { <a class="tool" id=format!("close-{name}") href=href>{text.close}</a> }
                .into_any()
        }
    };
    view! {
        <tr id=format!("room-{name}") class:chosen=looked_into>
            <th scope="row">
                <a href=inside.href() aria-current=looked_into.then_some("true")>{name.to_string()}</a>
                {shut}
            </th>
            <td class="number" data-label=text.members>{count(members as u64)}</td>
            <td class="number" data-label=text.connections>{count(connections as u64)}</td>
            <td class="number" data-label=text.head>{count(head.0)}</td>
            <td class="number" data-label=text.first>{count(first.0)}</td>
            <td class="number" data-label=text.in_memory>{count(messages as u64)}</td>
            <td class="number" data-label=text.size>{bytes(size as f64)}</td>
            <td class="acts">{door}</td>
        </tr>
    }
}
