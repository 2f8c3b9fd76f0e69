//! The status badge: the state of the connection in words, not by colour alone, and a button that reconnects at once.
//!
//! A screen reader would read a countdown every second. The changing text is therefore hidden from it, and replaced
//! by a constant one.

use leptos::prelude::*;

use super::dynamic::{hide, on, set, show, still};
use super::i18n::use_text;
use super::live::{ConnectionStatus, RoomState};

const BADGE: &str = "status";
const SHOWN: &str = "status-shown";
const HEARD: &str = "status-heard";
const HURRY: &str = "hurry";

/// The badge: connecting, live, delayed, reconnecting in 4 s, or offline.
#[component]
pub fn StatusBadge() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let connection = live.connection;

    let class = move || match connection.get() {
        ConnectionStatus::Live => "badge live",
        ConnectionStatus::Connecting
        | ConnectionStatus::Stalled
        | ConnectionStatus::Waiting { .. } => "badge waiting",
        ConnectionStatus::Offline | ConnectionStatus::Refused(_) => "badge down",
    };
    let shown = move || match connection.get() {
        ConnectionStatus::Connecting => text.connecting.to_owned(),
        ConnectionStatus::Live => text.live.to_owned(),
        ConnectionStatus::Stalled => text.stalled.to_owned(),
        ConnectionStatus::Waiting { seconds } => (text.reconnecting_in)(seconds),
        ConnectionStatus::Offline => text.offline.to_owned(),
        ConnectionStatus::Refused(why) => (text.refused)(why).to_owned(),
    };
    let counting = move || matches!(connection.get(), ConnectionStatus::Waiting { .. });
    let hidden = move || if counting() { "true" } else { "false" };
    let is_busy = move || {
        !matches!(
            connection.get(),
            ConnectionStatus::Waiting { .. } | ConnectionStatus::Offline
        )
    };

    set(BADGE, "class", class);
    show(SHOWN, shown);
    set(SHOWN, "aria-hidden", hidden);
    show(
        HEARD,
        move || if counting() { text.reconnecting } else { "" },
    );
    hide(HURRY, is_busy);
    on(HURRY, "click", move |_| live.connect());

    still(move || {
        view! {
            <button class="tool hurry" id=HURRY type="button" hidden=is_busy()>{text.retry_now}</button>
            <p class=class() id=BADGE role="status">
                <span id=SHOWN aria-hidden=hidden()>{shown()}</span>
                <span class="heard" id=HEARD></span>
            </p>
        }
    })
}
