//! [`super::Live`] in the browser. Same signatures as `ssr.rs`; with `line`, the only file of `app` that names
//! `browser`.

mod line;
mod pilot;

pub(super) use line::Line;

use leptos::prelude::*;
use leptos::task::spawn_local_scoped_with_cancellation;
use leptos::web_sys::Element;

use super::Live;
use crate::app::Locale;
use crate::app::dynamic::effect;
use crate::app::snapshot::{ELEMENT, Form, Past, Snapshot};
use crate::app::theme::Theme;
use crate::browser::base;
use crate::browser::clock;
use crate::browser::desk;
use crate::browser::frame;
use crate::browser::json::Fields;
use crate::browser::pass;
use crate::browser::reconnect::{Order, keep_connected};
use crate::browser::storage;
use crate::browser::wake;
use crate::protocol::BasePath;
use crate::protocol::Offset;
use crate::protocol::RoomName;

/// Where the rooms that this browser was in are remembered.
const ROOMS: &str = "fanfare.rooms";

/// More of them are not of interest.
const MOST_ROOMS: usize = 12;

/// The server rendered the page from this.
pub(super) fn snapshot() -> Snapshot {
    let read = desk::text_of(ELEMENT)
        .and_then(|json| Fields::parse(&json))
        .and_then(|fields| read(&fields));
    let snapshot = read.unwrap_or_else(|| Snapshot {
        base: BasePath::default(),
        room: RoomName::lobby(),
        locale: Locale::default(),
        theme: Theme::default(),
        is_open: true,
        past: None,
        form: Form::default(),
    });
    base::set(snapshot.base.clone());
    snapshot
}

fn read(fields: &Fields) -> Option<Snapshot> {
    // The form is the server's: a page that is awake sends what is typed by itself.
    let form = fields.object("form")?;
    let form = Form {
        key: form.text("key")?,
        name: form.text("name")?,
        text: form.text("text")?,
        refused: form
            .text("refused")
            .map(|reason| super::Reason::parse(&reason)),
    };
    let past = fields.object("past").and_then(|past| {
        Some(Past {
            epoch: past.text("epoch")?.into(),
            head: Offset(past.number("head")?),
            messages: past
                .objects("messages")?
                .iter()
                .filter_map(frame::publication)
                .collect(),
            more: past.is("more"),
        })
    });
    Some(Snapshot {
        base: BasePath::parse(&format!("{}/", fields.text("base")?)).ok()?,
        room: RoomName::parse(&fields.text("room")?).ok()?,
        locale: Locale::parse(&fields.text("locale")?)?,
        theme: Theme::parse(&fields.text("theme")?),
        is_open: fields.is("is_open"),
        past,
        form,
    })
}

/// The server has.
pub(super) fn html<V: RenderHtml>(_: impl FnOnce() -> V) -> String {
    String::new()
}

/// Wakes the page. The connection ends with the component that called.
pub(super) fn start(live: Live, room: RoomName) {
    let mut room = Some(room);
    // An effect runs after hydration: until then the page must be what the server rendered.
    effect(move || {
        let Some(room) = room.take() else { return };
        remember(&room);
        let (line, orders) = Line::new(live, room);
        let check = line.clone();
        wake::listen(move || {
            check.attend();
            if wake::is_shown() {
                check.order(Order::Check);
            }
        });
        pass::watch();
        let pilot = pilot::Pilot::new(line.clone());
        live.line.set_value(Some(line));
        live.awake.set(true);
        spawn_local_scoped_with_cancellation(keep_connected(pilot, orders));
        // For tests and scripts: from here on the page answers. Nothing in the page depends on it.
        desk::mark("data-hydrated", "");
    });
}

fn remember(room: &RoomName) {
    let mut rooms = recent_rooms();
    rooms.retain(|recent| recent != room);
    rooms.insert(0, room.clone());
    rooms.truncate(MOST_ROOMS);
    let names: Vec<&str> = rooms.iter().map(RoomName::as_str).collect();
    storage::write(ROOMS, &names.join(" "));
}

pub(super) fn recent_rooms() -> Vec<RoomName> {
    let names = storage::read(ROOMS).unwrap_or_default();
    names
        .split(' ')
        .filter_map(|name| RoomName::parse(name).ok())
        .collect()
}

pub(super) fn set_theme(theme: Theme) {
    desk::mark(&format!("data-{}", Theme::NAME), theme.tag());
    desk::set_cookie(Theme::NAME, theme.tag());
}

pub(super) fn ahead_of_utc(at: u64) -> i64 {
    clock::ahead_of_utc(at)
}

pub(super) fn address() -> String {
    desk::address()
}

pub(super) fn copy(text: &str) -> bool {
    desk::copy(text)
}

pub(super) fn move_focus(list: &Element, kind: &str, by: i32) {
    desk::move_focus(list, kind, by);
}
