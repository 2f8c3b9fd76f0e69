//! The browser's clocks: the time of day, the time zone, and a clock that never goes back.

use std::cell::Cell;
use std::time::Duration;

use js_sys::Date;
use wasm_bindgen::JsValue;

/// Returns the time of day in milliseconds since 1970 UTC.
pub fn now() -> u64 {
    Date::now() as u64
}

/// Returns the time since the page was loaded; it never goes back.
pub fn since_start() -> Duration {
    let clock = leptos::prelude::window().performance();
    Duration::from_secs_f64(clock.map_or(0.0, |clock| clock.now()) / 1000.0)
}

/// The unit in milliseconds at whose beginning time zones change their offset.
const QUARTER: u64 = 15 * 60 * 1000;

thread_local! {
    /// The last quarter of an hour and its offset. Each row needs one for each rendering, and nearly all are of one
    /// quarter.
    static LAST: Cell<Option<(u64, i64)>> = const { Cell::new(None) };
}

/// Returns the milliseconds by which the local time is ahead of UTC at `at`, in milliseconds since 1970 UTC.
pub fn ahead_of_utc(at: u64) -> i64 {
    let quarter = at / QUARTER;
    if let Some((last, ahead)) = LAST.get()
        && last == quarter
    {
        return ahead;
    }
    let ahead = look_up(at);
    LAST.set(Some((quarter, ahead)));
    ahead
}

fn look_up(at: u64) -> i64 {
    let minutes = Date::new(&JsValue::from_f64(at as f64)).get_timezone_offset();
    // The time is beyond the range of dates.
    if minutes.is_nan() {
        0
    } else {
        -(minutes as i64) * 60_000
    }
}
