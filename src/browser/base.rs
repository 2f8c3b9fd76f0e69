//! The base path of the server.
//!
//! Other servers may have pages under the same host. Storage keys begin with the base path, so that pages do not read
//! each other's values.

use std::cell::RefCell;

use crate::protocol::BasePath;

thread_local! {
    static BASE: RefCell<BasePath> = RefCell::default();
}

/// Sets the path. The page calls this function before any other of this module.
pub fn set(base: BasePath) {
    BASE.with(|known| known.replace(base));
}

/// Returns `path`, which begins with a slash, under the base path.
pub fn join(path: &str) -> String {
    BASE.with(|base| base.borrow().join(path))
}

/// Returns the storage key of this page for `key`.
pub(super) fn scoped(key: &str) -> String {
    BASE.with(|base| {
        let base = base.borrow();
        if base.is_root() {
            key.to_owned()
        } else {
            format!("{base}/{key}")
        }
    })
}
