//! The status badge: the state of the connection, or of the room on a connection that works, in words, not by colour alone, and a button that reconnects at once.
//!
//! A screen reader would read a countdown every second. The changing text is therefore hidden from it, and replaced
//! by a constant one.

use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{ConnectionStatus, Refusal, RoomAccess, RoomState};
use crate::protocol::UnsubscribeCode;

/// The badge: connecting, live, ended, delayed, reconnecting in 4 s, or offline.
#[component]
pub fn StatusBadge() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let connection = live.page.connection;
    // A connection that works says nothing about the room.
    let of_room = move || match live.access.get() {
        RoomAccess::Unknown | RoomAccess::Granted | RoomAccess::ReadOnly => {
            ("badge live", text.live)
        }
        RoomAccess::Ended => ("badge ended", text.ended_badge),
        RoomAccess::Deleted => ("badge down", text.room_deleted_badge),
        RoomAccess::Refused {
            code: Some(UnsubscribeCode::RoomClosed),
            ..
        } => ("badge down", (text.refused)(Refusal::Closed)),
        RoomAccess::Refused { .. } => ("badge down", (text.refused)(Refusal::NotAllowed)),
    };

    let class = move || match connection.get() {
        ConnectionStatus::Live => of_room().0,
        ConnectionStatus::Connecting
        | ConnectionStatus::Stalled
        | ConnectionStatus::Waiting { .. } => "badge waiting",
        ConnectionStatus::Offline | ConnectionStatus::Refused(_) => "badge down",
    };
    let words = move || match connection.get() {
        ConnectionStatus::Connecting => text.connecting.to_owned(),
        ConnectionStatus::Live => of_room().1.to_owned(),
        ConnectionStatus::Stalled => text.stalled.to_owned(),
        ConnectionStatus::Waiting { seconds } => (text.reconnecting_in)(seconds),
        ConnectionStatus::Offline => text.offline.to_owned(),
        ConnectionStatus::Refused(why) => (text.refused)(why).to_owned(),
    };
    let is_counting = move || matches!(connection.get(), ConnectionStatus::Waiting { .. });
    let is_paused = move || is_counting() || connection.get() == ConnectionStatus::Offline;

    view! {
        <button
            class="tool hurry"
            id="hurry"
            type="button"
            hidden=move || !is_paused()
            on:click=move |_| live.page.connect()
        >
            {text.retry_now}
        </button>
        <p class=class id="status" role="status">
            <span aria-hidden=move || is_counting().to_string()>{words}</span>
            <span class="visually-hidden">{move || is_counting().then_some(text.reconnecting)}</span>
        </p>
    }
}
