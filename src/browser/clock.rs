//! The browser's clocks: the time of day, the time zone, and a monotonic clock.

use std::cell::Cell;
use std::time::Duration;

use js_sys::Date;
use wasm_bindgen::JsValue;

/// Returns the time of day in milliseconds since 1970 UTC.
pub fn now() -> u64 {
    Date::now() as u64
}

/// Returns the monotonic time since the page was loaded.
pub fn since_start() -> Duration {
    let clock = leptos::prelude::window().performance();
    Duration::from_secs_f64(clock.map_or(0.0, |clock| clock.now()) / 1000.0)
}

/// The granularity of changes of time zone offsets, in milliseconds.
const QUARTER: u64 = 15 * 60 * 1000;

thread_local! {
    /// The last quarter of an hour and its offset. Each row needs an offset for each rendering, and nearly all rows
    /// are of the same quarter.
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

/// Returns the time at which the day `date`, as `YYYY-MM-DD`, begins in the local time zone, in milliseconds since 1970 UTC.
pub fn start_of_day(date: &str) -> Option<u64> {
    let time = Date::new(&JsValue::from_str(&format!("{date}T00:00:00"))).get_time();
    // The time is NaN if the text is not a date.
    (time >= 0.0).then_some(time as u64)
}

fn look_up(at: u64) -> i64 {
    let minutes = Date::new(&JsValue::from_f64(at as f64)).get_timezone_offset();
    // The offset is NaN if `at` is outside the range of dates.
    if minutes.is_nan() {
        0
    } else {
        -(minutes as i64) * 60_000
    }
}
