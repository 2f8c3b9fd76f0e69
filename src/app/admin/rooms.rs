//! The list of rooms, with a search, and buttons that close and open them.

use leptos::prelude::*;

use super::AdminPage;
use super::form::{action_button, link, search};
use super::format::{bytes, count};
use super::route::{AdminRoute, PageAction, PendingAction};
use super::table::{AdminRow, Cell, table};
use crate::protocol::admin::{RoomList, RoomSummary};

/// Returns one page of the rooms.
pub(super) fn rooms(page: &AdminPage, list: RoomList) -> AnyView {
    let AdminPage { route, text, .. } = page;
    let base = route.base();
    // A search begins at the first room.
    let from_start = AdminRoute {
        prefix: String::new(),
        rooms_after: String::new(),
        ..base.clone()
    };
    let all = AdminRoute {
        room: None,
        ..from_start.clone()
    };
    let next = list.rooms.last().filter(|_| list.more).map(|last| {
        let next = AdminRoute {
            rooms_after: last.name.to_string(),
            ..base.clone()
        };
        link("rooms-next", &next, text.next)
    });
    let all = (all != base).then(|| link("rooms-all", &all, text.show_all));
    let is_empty = list.rooms.is_empty();
    let rows = list.rooms.into_iter().map(|room| row(page, room));

    view! {
        <section id="rooms" aria-labelledby="rooms-title">
            <div class="admin-bar">
                <h2 id="rooms-title">{text.rooms}</h2>
                {search(&from_start, "prefix", &route.prefix, text.prefix, text.show)}
                {all}
            </div>
            {is_empty.then(|| view! { <p class="quiet">{text.no_rooms}</p> })}
            {table(rows.collect(), None, None)}
            {next}
        </section>
    }
    .into_any()
}

fn row(page: &AdminPage, room: RoomSummary) -> AdminRow {
    let AdminPage { route, text, .. } = page;
    let name = room.name.to_string();
    let is_selected = route.room.as_ref() == Some(&room.name);
    let selected = AdminRoute {
        room: Some(room.name.clone()),
        until: None,
        after: 0,
        ..route.base()
    };
    let closed = room
        .closed
        .then(|| view! { " " <span class="mark-closed">{text.closed}</span> });
    let action = if room.closed {
        let fields = [("room", name.clone())];
        let id = Some(format!("open-{name}"));
        action_button(PageAction::Open, fields, route, text.open, id)
    } else {
        let dialog = route.with_pending(PendingAction::Close(room.name));
        link(format!("close-{name}"), &dialog, text.close)
    };
    let id = format!("room-{name}");
    let name = view! {
        <a href=selected.href() aria-current=is_selected.then_some("true")>{name}</a>
        {closed}
    };

    AdminRow {
        id: Some(id),
        is_selected,
        cells: vec![
            Cell::text(text.room, name),
            Cell::number(text.members, count(room.members as u64)),
            Cell::number(text.connections, count(room.connections as u64)),
            Cell::number(text.head, count(room.head.0)),
            Cell::number(text.first, count(room.first.0)),
            Cell::number(text.in_memory, count(room.ring_messages as u64)),
            Cell::number(text.size, bytes(room.ring_bytes as f64)),
            Cell::actions(text.acts, action),
        ],
    }
}
