//! Alerts outside of the page: notifications of the system, and a sound.

use js_sys::Reflect;
use js_sys::futures::JsFuture;
use leptos::prelude::window;
use wasm_bindgen::JsValue;
use web_sys::{AudioContext, Notification, NotificationOptions, NotificationPermission};

/// The pitch of the sound in hertz, and its length in seconds.
const SOUND: (f32, f64) = (660.0, 0.15);

/// The loudness of the sound, from 0 to 1.
const LOUDNESS: f32 = 0.1;

/// Returns true if the user has allowed notifications.
pub fn may_notify() -> bool {
    has_notifications() && Notification::permission() == NotificationPermission::Granted
}

/// Asks the user for the permission for notifications, unless the user has answered before. Returns true if it is granted.
pub async fn request_permission() -> bool {
    if has_notifications()
        && Notification::permission() == NotificationPermission::Default
        && let Ok(answer) = Notification::request_permission()
    {
        // Fails only if the page may not ask.
        let _ = JsFuture::from(answer).await;
    }
    may_notify()
}

/// Shows a notification with a title and a text. It replaces an earlier one of the same `tag`, also of another tab of the browser.
pub fn notify(title: &str, text: &str, tag: &str) {
    if may_notify() {
        let options = NotificationOptions::new();
        options.set_body(text);
        options.set_tag(tag);
        // Fails on systems that allow notifications of service workers only.
        let _ = Notification::new_with_options(title, &options);
    }
}

/// Plays a short sound. Browsers play none before the user has used the page.
pub fn play_sound() {
    // Fails only on a system without sound.
    let _ = try_play_sound();
}

fn try_play_sound() -> Result<(), JsValue> {
    let context = AudioContext::new()?;
    let (tone, volume) = (context.create_oscillator()?, context.create_gain()?);
    let (pitch, length) = SOUND;
    tone.frequency().set_value(pitch);
    volume.gain().set_value(LOUDNESS);

    tone.connect_with_audio_node(&volume)?;
    volume.connect_with_audio_node(&context.destination())?;
    tone.start()?;
    tone.stop_with_when(context.current_time() + length)
}

/// Returns true if the browser has notifications for pages. Pages that were loaded over plain HTTP may have none.
fn has_notifications() -> bool {
    Reflect::has(&window(), &JsValue::from_str("Notification")).unwrap_or(false)
}
