//! The list of connections, with their progress and their actions.

use leptos::prelude::*;

use super::AdminPage;
use super::form::{link, search};
use super::format::{bytes, count};
use super::route::{AdminRoute, PendingAction};
use super::table::{AdminRow, Cell, table};
use crate::protocol::RoomSelector;
use crate::protocol::admin::{ConnectionList, ConnectionSummary};

/// Returns one page of the connections.
pub(super) fn connections(page: &AdminPage, list: ConnectionList) -> AnyView {
    let AdminPage { route, text, .. } = page;
    let base = route.base();
    // A search begins at the first connection.
    let from_start = AdminRoute {
        who: String::new(),
        after: 0,
        ..base.clone()
    };
    let all = AdminRoute {
        room: None,
        ..from_start.clone()
    };
    let next = list.connections.last().filter(|_| list.more).map(|last| {
        let next = AdminRoute {
            after: last.number,
            ..base.clone()
        };
        link("connections-next", &next, text.next)
    });
    let all = (all != base).then(|| link("connections-all", &all, text.show_all));
    let in_room = route.room.as_ref().map(|room| {
        view! { <p class="quiet">{(text.in_room)(room)}</p> }
    });
    let is_empty = list.connections.is_empty();
    let rows = list
        .connections
        .into_iter()
        .map(|connection| row(page, connection));

    view! {
        <section id="connections" aria-labelledby="connections-title">
            <div class="admin-bar">
                <h2 id="connections-title">{text.connections}</h2>
                {search(&from_start, "who", &route.who, text.who, text.show)}
                {all}
            </div>
            {in_room}
            {is_empty.then(|| view! { <p class="quiet">{text.no_connections}</p> })}
            {table(rows.collect(), None, None)}
            {next}
        </section>
    }
    .into_any()
}

fn row(page: &AdminPage, connection: ConnectionSummary) -> AdminRow {
    let AdminPage { route, text, .. } = page;
    let number = connection.number;
    let id = match connection.shown_id() {
        Some(id) => view! { <bdi>{id.shown()}</bdi> }.into_any(),
        None => view! { <span class="quiet">{text.nobody}</span> }.into_any(),
    };
    let rooms = connection.rooms.into_iter().map(|rooms| match rooms {
        RoomSelector::Room(room) => {
            let name = room.to_string();
            let in_room = AdminRoute {
                room: Some(room),
                after: 0,
                ..route.base()
            };
            view! { <a href=in_room.href()>{name}</a> " " }.into_any()
        }
        RoomSelector::Pattern(pattern) => view! { {pattern.to_string()} " " }.into_any(),
    });
    let rooms: Vec<_> = rooms.collect();
    let kick = route.with_pending(PendingAction::Kick(number));
    let ban = route.with_pending(PendingAction::Ban(Some(number)));
    let trace = AdminRoute {
        trace: Some(number),
        ..route.base()
    };
    let actions = vec![
        link(format!("kick-{number}"), &kick, text.kick),
        link(format!("ban-{number}"), &ban, text.ban),
        link(format!("trace-{number}"), &trace, text.trace),
    ];

    AdminRow {
        id: Some(format!("connection-{number}")),
        is_selected: route.trace == Some(number),
        cells: vec![
            Cell::text(text.id, id),
            Cell::number(text.number, number.to_string()),
            Cell::text(text.address, connection.address.to_string()),
            Cell::text(text.room, view! { {rooms} }),
            Cell::number(text.since, page.time_since(connection.since)),
            Cell::number(text.behind, count(connection.behind)),
            Cell::number(text.waiting, bytes(connection.waiting as f64)),
            Cell::text(text.dialect, connection.dialect),
            Cell::actions(text.acts, actions),
        ],
    }
}
