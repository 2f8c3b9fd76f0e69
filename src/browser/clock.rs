//! Time as this browser has it: the reader's clock and time zone, and a clock that never goes back.

use std::time::Duration;

use js_sys::{Date, Object, Reflect};
use wasm_bindgen::JsValue;

/// Milliseconds since 1970 UTC.
pub fn now() -> u64 {
    Date::now() as u64
}

/// Time since the page began; never goes back.
pub fn since_start() -> Duration {
    let clock = leptos::prelude::window().performance();
    Duration::from_secs_f64(clock.map_or(0.0, |clock| clock.now()) / 1000.0)
}

/// Milliseconds that the reader's clock is ahead of UTC at `at`, in milliseconds since 1970 UTC.
pub fn ahead_of_utc(at: u64) -> i64 {
    let minutes = date(at).get_timezone_offset();
    // Beyond what a date can be there is no time zone.
    if minutes.is_nan() { 0 } else { -(minutes as i64) * 60_000 }
}

/// The day that `at` belongs to here, in words of the language `tag`, like Monday 23 November.
pub fn day(at: u64, tag: &str) -> String {
    let options = Object::new();
    for (part, form) in [("weekday", "long"), ("day", "numeric"), ("month", "long")] {
        // Fails only for an object that is frozen.
        let _ = Reflect::set(&options, &part.into(), &form.into());
    }
    date(at).to_locale_date_string(tag, &options).into()
}

fn date(at: u64) -> Date {
    Date::new(&JsValue::from_f64(at as f64))
}
