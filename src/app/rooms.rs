//! Links to other rooms: recent rooms of this browser, and a form for any room. Only the recent rooms need a script.

use leptos::prelude::*;

use super::dynamic::{list, still};
use super::i18n::use_text;
use super::live::{RoomState, recent_rooms};
use super::markup::Element;
use crate::protocol::BasePath;
use crate::protocol::RoomName;

const ROOMS: &str = "rooms-list";

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
    let here = link(&base, &room, true).to_html();

    list(ROOMS, move || {
        let recent = if live.awake.get() {
            recent_rooms()
        } else {
            Vec::new()
        };
        let others = recent.into_iter().filter(|recent| *recent != room);
        std::iter::once(room.clone())
            .chain(others)
            .enumerate()
            .map(|(at, room)| link(&base, &room, at == 0))
            .collect()
    });

    still(move || {
        view! {
            <h2>{text.rooms}</h2>
            <ul class="rooms-list" id=ROOMS inner_html=here></ul>
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
    })
}

/// Returns the link to `room` under `base`; `is_here` marks the current room.
fn link(base: &BasePath, room: &RoomName, is_here: bool) -> Element {
    let link = Element::new("a")
        .set("href", base.join(&format!("/r/{room}")))
        .text(room.to_string());
    Element::new("li").with([if is_here {
        link.set("aria-current", "page")
    } else {
        link
    }])
}
