//! The browser's local storage. If it is forbidden or full, values are not stored, and no function fails.

use leptos::prelude::window;
use web_sys::Storage;

use super::base;

/// Returns the value of `key`.
pub fn read(key: &str) -> Option<String> {
    local()?.get_item(&base::scoped(key)).ok()?
}

/// Stores `value` as `key`.
pub fn write(key: &str, value: &str) {
    if let Some(storage) = local() {
        // Without storage, the value is lost with the page.
        let _ = storage.set_item(&base::scoped(key), value);
    }
}

/// Removes `key`.
pub fn remove(key: &str) {
    if let Some(storage) = local() {
        // Fails only if nothing can be stored either.
        let _ = storage.remove_item(&base::scoped(key));
    }
}

/// Returns the entries whose keys begin with `prefix`, sorted by key: the rest of the key, and the value.
pub fn read_all(prefix: &str) -> Vec<(String, String)> {
    let Some(storage) = local() else {
        return Vec::new();
    };

    let prefix = base::scoped(prefix);
    let count = storage.length().unwrap_or(0);
    let keys = (0..count).filter_map(|at| storage.key(at).ok().flatten());

    let mut found: Vec<(String, String)> = Vec::new();
    for key in keys {
        if let Some(rest) = key.strip_prefix(&prefix)
            && let Ok(Some(value)) = storage.get_item(&key)
        {
            // There are few entries, and an insertion takes less code in the download than a sort.
            let at = found.partition_point(|(other, _)| other.as_str() < rest);
            found.insert(at, (rest.to_owned(), value));
        }
    }
    found
}

fn local() -> Option<Storage> {
    window().local_storage().ok()?
}
