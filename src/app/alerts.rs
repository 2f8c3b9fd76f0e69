//! The settings for mentions: notifications, which the browser asks for once, on a click, and a sound.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::i18n::use_text;
use super::live::PageState;
use crate::browser::alert;

/// The switches for notifications and for the sound.
#[component]
pub fn Alerts() -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    let is_blocked = RwSignal::new(false);

    let toggle_notifications = move |_| {
        if page.notifies.get_untracked() {
            return page.set_notifies(false);
        }
        spawn_local(async move {
            let is_granted = alert::request_permission().await;
            page.set_notifies(is_granted);
            is_blocked.set(!is_granted);
        });
    };
    let toggle_sound = move |_| {
        let is_on = !page.sounds.get_untracked();
        page.set_sounds(is_on);
        if is_on {
            alert::play_sound();
        }
    };
    let state = move |is_on: RwSignal<bool>| if is_on.get() { text.on } else { text.off };

    view! {
        <button
            class="tool scripted"
            type="button"
            aria-pressed=move || page.notifies.get().to_string()
            on:click=toggle_notifications
        >
            {text.notify} " " <span class="quiet">{move || state(page.notifies)}</span>
        </button>
        <p class="quiet" role="status" hidden=move || !is_blocked.get()>{text.notify_blocked}</p>
        <button
            class="tool scripted"
            type="button"
            aria-pressed=move || page.sounds.get().to_string()
            on:click=toggle_sound
        >
            {text.sound} " " <span class="quiet">{move || state(page.sounds)}</span>
        </button>
    }
}
