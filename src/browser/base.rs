//! The path under which the server is reached.
//!
//! Pages of other servers may be under the same host. Storage keys begin with the path, so that one page does not read
//! the values of another.

use std::cell::RefCell;

use crate::protocol::BasePath;

thread_local! {
    static BASE: RefCell<BasePath> = RefCell::default();
}

/// Sets the path. The page calls it before any other function here.
pub fn set(base: BasePath) {
    BASE.with(|known| known.replace(base));
}

/// Returns `path`, which begins with a slash, under the path of the server.
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
