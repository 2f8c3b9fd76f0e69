//! [`super::Live`] on the server: nothing moves. Same signatures as `hydrate.rs`.

use leptos::prelude::*;
use leptos::web_sys::Element;

use super::{Link, Transcript};
use crate::protocol::RoomName;

/// Leads nowhere.
#[derive(Debug)]
pub(super) struct Line;

impl Line {
    pub(super) fn open(_: &RoomName, _: WriteSignal<Link>, _: WriteSignal<Transcript>) -> Self {
        Self
    }

    pub(super) fn say(&self, _: String) {}
}

pub(super) fn keep_at_end(_: &Element) {}
