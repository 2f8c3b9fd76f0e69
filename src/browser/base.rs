//! The path under which the server is reached, as the page that it rendered tells.
//!
//! What the browser keeps for one server must not be read by the page of another under the same host, so the names of
//! it begin with the path.

use std::cell::RefCell;

use crate::protocol::BasePath;

thread_local! {
    static BASE: RefCell<BasePath> = RefCell::default();
}

/// Sets the path. A page does so before anything else here is used.
pub fn set(base: BasePath) {
    BASE.with(|known| known.replace(base));
}

/// Returns `path`, which begins with a slash, under the path of the server.
pub fn join(path: &str) -> String {
    BASE.with(|base| base.borrow().join(path))
}

/// Returns the name under which this page keeps what others call `key`.
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
