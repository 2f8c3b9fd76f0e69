//! [`super::Live`] on the server: nothing moves. Same signatures as `hydrate.rs`.

use leptos::prelude::*;
use leptos::web_sys::Element;

use super::{Clock, Link, Transcript};
use crate::protocol::RoomName;

/// Leads nowhere.
#[derive(Debug)]
pub(super) struct Line;

impl Line {
    pub(super) fn open(
        _: &RoomName,
        _: RwSignal<Link>,
        _: RwSignal<Option<usize>>,
        _: RwSignal<Transcript>,
    ) -> Self {
        Self
    }

    pub(super) fn say(&self, _: &str) {}

    pub(super) fn retry(&self, _: u64) {}
}

pub(super) fn keep_at_end(_: &Element) {}

pub(super) fn clock(_: u64) -> Clock {
    Clock::default()
}
