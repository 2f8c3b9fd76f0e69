//! What this browser remembers between visits. Where storage is forbidden or full, nothing is remembered and
//! nothing breaks.

use leptos::prelude::window;
use web_sys::Storage;

/// The value under `key`, if there is one and it may be read.
pub fn read(key: &str) -> Option<String> {
    local()?.get_item(key).ok()?
}

/// Remembers `value` under `key`, if that is allowed.
pub fn write(key: &str, value: &str) {
    if let Some(storage) = local() {
        let _ = storage.set_item(key, value);
    }
}

fn local() -> Option<Storage> {
    window().local_storage().ok()?
}
