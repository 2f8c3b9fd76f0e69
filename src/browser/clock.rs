//! The time of day, as this browser's clock and time zone have it.

use js_sys::Date;
use wasm_bindgen::JsValue;

/// Milliseconds since 1970 UTC.
pub fn now() -> u64 {
    Date::now() as u64
}

/// `at`, in milliseconds since 1970 UTC, as ISO 8601 writes it; nothing if it is beyond what a date can be.
pub fn iso(at: u64) -> Option<String> {
    // `toISOString` throws for a date that is none.
    date(at).map(|date| date.to_iso_string().into())
}

/// `at` as hours and minutes here, like 09:41.
pub fn hours_and_minutes(at: u64) -> Option<String> {
    date(at).map(|date| format!("{:02}:{:02}", date.get_hours(), date.get_minutes()))
}

fn date(at: u64) -> Option<Date> {
    let date = Date::new(&JsValue::from_f64(at as f64));
    (!date.get_time().is_nan()).then_some(date)
}
