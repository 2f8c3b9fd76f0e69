//! The values that the browser keeps for the page. If storage is forbidden or full, values are not kept, and no function
//! fails.
//!
//! Other servers may have pages under the same host. The names of values therefore begin with the base path of the
//! server, and cookies belong to that path.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use web_sys::{HtmlDocument, Storage};

use crate::protocol::BasePath;

/// The lifetime of a cookie in seconds: a year.
const COOKIE_LIFETIME: u32 = 365 * 24 * 60 * 60;

/// The storage of one server's pages.
#[derive(Clone, Debug)]
pub struct PageStorage {
    base: BasePath,
}

impl PageStorage {
    /// Creates the storage of the server with the base path `base`.
    pub const fn new(base: BasePath) -> Self {
        Self { base }
    }

    /// Returns the value of `key`.
    pub fn read(&self, key: &str) -> Option<String> {
        local()?.get_item(&self.scoped(key)).ok()?
    }

    /// Stores `value` as `key`.
    pub fn write(&self, key: &str, value: &str) {
        if let Some(storage) = local() {
            // Without storage, the value is lost with the page.
            let _ = storage.set_item(&self.scoped(key), value);
        }
    }

    /// Removes `key`.
    pub fn remove(&self, key: &str) {
        if let Some(storage) = local() {
            // Fails only if nothing can be stored either.
            let _ = storage.remove_item(&self.scoped(key));
        }
    }

    /// Returns the entries whose keys begin with `prefix`, sorted by key: the rest of the key, and the value.
    pub fn read_all(&self, prefix: &str) -> Vec<(String, String)> {
        let Some(storage) = local() else {
            return Vec::new();
        };

        let prefix = self.scoped(prefix);
        let count = storage.length().unwrap_or(0);
        let mut found: Vec<(String, String)> = (0..count)
            .filter_map(|at| storage.key(at).ok().flatten())
            .filter_map(|key| {
                let rest = key.strip_prefix(&prefix)?.to_owned();
                Some((rest, storage.get_item(&key).ok()??))
            })
            .collect();

        found.sort();
        found
    }

    /// Sets a cookie, which the browser sends with each request.
    pub fn set_cookie(&self, name: &str, value: &str) {
        if let Some(document) = document().dyn_ref::<HtmlDocument>() {
            let value = js_sys::encode_uri_component(value);
            let path = self.base.join("/");
            // Without cookies, the choice is lost with the page.
            let _ = document.set_cookie(&format!(
                "{name}={value}; Path={path}; Max-Age={COOKIE_LIFETIME}; SameSite=Lax"
            ));
        }
    }

    /// Returns the name under which the browser has the value of `key`.
    pub(super) fn scoped(&self, key: &str) -> String {
        if self.base.is_root() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.base)
        }
    }
}

fn local() -> Option<Storage> {
    window().local_storage().ok()?
}
