//! Links to other rooms: recent rooms of this browser, and a form for any room. Only the recent rooms need a script.

use leptos::prelude::*;

use super::i18n::use_text;
use super::live::RoomState;
use crate::browser::storage::PageStorage;
use crate::protocol::{BasePath, RoomName};

/// The storage key of the recent rooms.
const RECENT: &str = "fanfare.rooms";

/// The maximum number of recent rooms.
const MAX_RECENT: usize = 12;

/// The list of rooms.
#[component]
pub fn Rooms(
    /// The current room.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let base = expect_context::<BasePath>();
    let lobby = base.join("/");

    let rooms = RwSignal::new(vec![room.clone()]);
    let here = room.clone();
    Effect::new(move |_| rooms.set(visit(&live.storage(), &room)));

    let link = move |room: RoomName| {
        let current = (room == here).then_some("page");
        view! {
            <li>
                <a href=base.join(&format!("/r/{room}")) aria-current=current>{room.to_string()}</a>
            </li>
        }
    };

    view! {
        <h2>{text.rooms}</h2>
        <ul class="rooms-list">
            <For each=move || rooms.get() key=RoomName::clone children=link/>
        </ul>
        <form class="own" method="get" action=lobby>
            <label for="other-room">{text.other_room}</label>
            <input
                id="other-room"
                name="room"
                maxlength="128"
                pattern="(?!\\.{1,2}(/|$))[A-Za-z0-9._:@~\\-]+(/(?!\\.{1,2}(/|$))[A-Za-z0-9._:@~\\-]+)*"
                required
                autocomplete="off"
                autocapitalize="none"
                title=text.room_rule
            />
            <button class="tool" type="submit">{text.go}</button>
        </form>
    }
}

/// Stores `room` as the latest of the recent rooms, and returns them, latest first.
fn visit(storage: &PageStorage, room: &RoomName) -> Vec<RoomName> {
    let stored = storage.read(RECENT).unwrap_or_default();
    let others = stored
        .split(' ')
        .filter_map(|name| RoomName::parse(name).ok())
        .filter(|other| other != room);
    let rooms: Vec<RoomName> = std::iter::once(room.clone())
        .chain(others)
        .take(MAX_RECENT)
        .collect();

    let names: Vec<&str> = rooms.iter().map(RoomName::as_str).collect();
    storage.write(RECENT, &names.join(" "));
    rooms
}
