//! What this browser remembers between visits. Where storage is forbidden or full, nothing is remembered and
//! nothing breaks.

use leptos::prelude::window;
use web_sys::Storage;

use super::base;

/// The value under `key`, if there is one and it may be read.
pub fn read(key: &str) -> Option<String> {
    local()?.get_item(&base::scoped(key)).ok()?
}

/// Remembers `value` under `key`, if that is allowed.
pub fn write(key: &str, value: &str) {
    if let Some(storage) = local() {
        let _ = storage.set_item(&base::scoped(key), value);
    }
}

/// Forgets what is under `key`.
pub fn remove(key: &str) {
    if let Some(storage) = local() {
        let _ = storage.remove_item(&base::scoped(key));
    }
}

/// Everything whose key begins with `prefix`: the rest of the key and the value, in the order of the keys.
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
            // There are few, and a sort would be a kilobyte of the page.
            let at = found.partition_point(|(other, _)| other.as_str() < rest);
            found.insert(at, (rest.to_owned(), value));
        }
    }
    found
}

fn local() -> Option<Storage> {
    window().local_storage().ok()?
}
