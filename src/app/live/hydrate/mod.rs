//! [`super::RoomState`] in the browser. It has the same signatures as `ssr.rs`. Only this folder of `app` names
//! `browser`.

mod client;
mod connection_handler;

pub(super) use client::Client;

use leptos::prelude::*;
use leptos::task::spawn_local_scoped_with_cancellation;
use leptos::web_sys::Element;

use super::RoomState;
use crate::app::Locale;
use crate::app::dynamic::effect;
use crate::app::snapshot::{ELEMENT, Form, InitialHistory, Snapshot};
use crate::app::theme::Theme;
use crate::browser::json::Fields;
use crate::browser::reconnect::{ConnectionCommand, keep_connected};
use crate::browser::{base, clock, dom, frame};
use crate::browser::{storage, token, visibility};
use crate::protocol::{BasePath, Offset, RoomName};

/// The storage key of the recent rooms.
const ROOMS: &str = "fanfare.rooms";

/// The maximum number of recent rooms.
const MAX_ROOMS: usize = 12;

/// Returns the input of the first render, as the server embedded it in the page.
pub(super) fn snapshot() -> Snapshot {
    let read = dom::text_of(ELEMENT)
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
    // Only the server renders the form.
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
        Some(InitialHistory {
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

/// Returns an empty text, because the server has rendered the view.
pub(super) fn html<V: RenderHtml>(_: impl FnOnce() -> V) -> String {
    String::new()
}

/// Starts the page. The connection ends with the calling component.
pub(super) fn start(live: RoomState, room: RoomName) {
    let mut room = Some(room);
    // An effect runs after hydration. Until then the page must stay as the server has rendered it.
    effect(move || {
        let Some(room) = room.take() else { return };
        remember(&room);

        let (client, commands) = Client::new(live, room);
        let observer = client.clone();
        visibility::listen(move || {
            observer.on_visibility();
            if visibility::is_visible() {
                observer.command(ConnectionCommand::Probe);
            }
        });
        token::watch();
        let handler = connection_handler::ConnectionHandler::new(client.clone());

        live.client.set_value(Some(client));
        live.awake.set(true);
        spawn_local_scoped_with_cancellation(keep_connected(handler, commands));
        // Tests and scripts use this attribute to detect that the page responds. The page does not depend on it.
        dom::mark("data-hydrated", "");
    });
}

fn remember(room: &RoomName) {
    let mut rooms = recent_rooms();
    rooms.retain(|recent| recent != room);
    rooms.insert(0, room.clone());
    rooms.truncate(MAX_ROOMS);
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
    dom::mark(&format!("data-{}", Theme::NAME), theme.tag());
    dom::set_cookie(Theme::NAME, theme.tag());
}

pub(super) fn ahead_of_utc(at: u64) -> i64 {
    clock::ahead_of_utc(at)
}

pub(super) fn address() -> String {
    dom::address()
}

pub(super) fn copy(text: &str) -> bool {
    dom::copy(text)
}

pub(super) fn move_focus(list: &Element, kind: &str, by: i32) {
    dom::move_focus(list, kind, by);
}
