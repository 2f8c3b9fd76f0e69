//! The rooms in memory, a row each, with a filter and the door of each.

use leptos::prelude::*;

use super::desk::{Part, RoomRow};
use super::place::{PATH, Place, Question};
use super::quantity::{bytes, count};
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
        let behind = Place { rooms_after: last.name.to_string(), ..place.quiet() };
        view! { <a class="tool" id="rooms-next" href=behind.href()>{text.next}</a> }
    });
    let all = Place { prefix: String::new(), rooms_after: String::new(), room: None, ..place.quiet() };
    let is_part = all != place.quiet();
    let all = is_part.then(|| view! { <a class="tool" id="rooms-all" href=all.href()>{text.show_all}</a> });
    // The form says where it is, but for which rooms are looked for.
    let kept: Vec<_> = Place { prefix: String::new(), rooms_after: String::new(), ..place.quiet() }
        .fields()
        .into_iter()
        .map(|(name, value)| view! { <input type="hidden" name=name value=value/> })
        .collect();
    let is_empty = rooms.some.is_empty();
    let rows: Vec<_> =
        rooms.some.into_iter().map(|room| view! { <Row place=place.clone() room text/> }).collect();
    let table = match is_empty {
        true => view! { <p class="quiet">{text.no_rooms}</p> }.into_any(),
        false => view! {
            <table>
                <thead>
                    <tr>
                        <th scope="col">{text.room}</th>
                        <th scope="col" class="number">{text.members}</th>
                        <th scope="col" class="number">{text.connections}</th>
                        <th scope="col" class="number">{text.head}</th>
                        <th scope="col" class="number">{text.first}</th>
                        <th scope="col" class="number">{text.in_memory}</th>
                        <th scope="col" class="number">{text.size}</th>
                        <th scope="col">{text.acts}</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        }
        .into_any(),
    };
    view! {
        <section id="rooms" aria-labelledby="rooms-title">
            <div class="desk-bar">
                <h2 id="rooms-title">{text.rooms}</h2>
                <form action=PATH>
                    {kept}
                    <label for="prefix">{text.prefix}</label>
                    <input id="prefix" name="prefix" value=place.prefix.clone() maxlength="64" autocomplete="off"/>
                    <button class="tool" type="submit">{text.show}</button>
                </form>
                {all}
            </div>
            {table}
            {next}
        </section>
    }
}

#[component]
fn Row(place: Place, room: RoomRow, text: &'static AdminText) -> impl IntoView {
    let RoomRow { name, members, connections, head, first, ring: (messages, size), closed } = room;
    let looked_into = place.room.as_ref() == Some(&name);
    let inside = Place { room: Some(name.clone()), after: 0, ..place.quiet() };
    let shut = closed.then(|| view! { " " <span class="mark-closed">{text.closed}</span> });
    let door = match closed {
        true => view! {
            <form method="post" action=PATH id=format!("open-{name}")>
                <input type="hidden" name="act" value="open"/>
                <input type="hidden" name="room" value=name.to_string()/>
                <input type="hidden" name="back" value=place.quiet().query()/>
                <button class="tool" type="submit">{text.open}</button>
            </form>
        }
        .into_any(),
        false => {
            let href = place.asking(Question::Close(name.clone())).href();
            view! { <a class="tool" id=format!("close-{name}") href=href>{text.close}</a> }.into_any()
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
