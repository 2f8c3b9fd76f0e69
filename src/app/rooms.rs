//! The way to other rooms: those that this browser was in, and any by its name. Links and a form, so nothing
//! here needs a script but the memory.

use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{Live, recent_rooms};
use crate::protocol::RoomName;

/// The room switcher.
#[component]
pub fn Rooms(
    /// The one that the page shows.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let rooms = move || {
        let recent = if live.awake.get() { recent_rooms() } else { Vec::new() };
        let others = recent.into_iter().filter(|recent| *recent != room);
        let link = |(at, room): (usize, RoomName)| {
            let current = (at == 0).then_some("page");
            view! { <li><a href=format!("/r/{room}") aria-current=current>{room.to_string()}</a></li> }
        };
        std::iter::once(room.clone()).chain(others).enumerate().map(link).collect_view()
    };
    view! {
        <h2>{text.rooms}</h2>
        <ul class="rooms-list">
            {rooms}
        </ul>
        <form class="own" method="get" action="/">
            <label for="other-room">{text.other_room}</label>
            <input
                id="other-room"
                name="room"
                maxlength="64"
                pattern="[a-z0-9._\\-]+"
                required
                autocomplete="off"
                autocapitalize="none"
                title=text.room_rule
            />
            <button class="tool" type="submit">{text.go}</button>
        </form>
    }
}
