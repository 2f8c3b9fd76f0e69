//! [`super::RoomState`] on the server, where nothing changes. Same signatures as `hydrate`.

use leptos::prelude::*;
use leptos::web_sys::Element;

use super::RoomState;
use crate::app::snapshot::Snapshot;
use crate::app::theme::Theme;
use crate::protocol::{RoomName, UserId};

/// A type without values: the server has no connection.
#[derive(Debug)]
pub(super) enum Client {}

impl Client {
    pub(super) fn send(&self, _: &str) {
        match *self {}
    }

    pub(super) fn retry(&self, _: u64) {
        match *self {}
    }

    pub(super) fn take_back(&self, _: u64) -> Option<String> {
        match *self {}
    }

    pub(super) fn load(&self, _: u64) {
        match *self {}
    }

    pub(super) fn connect(&self) {
        match *self {}
    }

    pub(super) fn check(&self) {
        match *self {}
    }

    pub(super) fn disconnect(&self) {
        match *self {}
    }

    pub(super) fn rename(&self, _: UserId) {
        match *self {}
    }

    pub(super) fn draft(&self) -> Option<String> {
        match *self {}
    }

    pub(super) fn keep_draft(&self, _: &str) {
        match *self {}
    }

    pub(super) fn attach(&self, _: &Element) {
        match *self {}
    }

    pub(super) fn to_end(&self) {
        match *self {}
    }

    pub(super) fn find(&self, _: Option<u64>) {
        match *self {}
    }
}

/// Returns the input of the first render, which the renderer provides as a context.
pub(super) fn snapshot() -> Snapshot {
    expect_context()
}

/// Returns the HTML of `view`.
pub(super) fn html<V: RenderHtml>(view: impl FnOnce() -> V) -> String {
    untrack(|| view().to_html())
}

pub(super) fn start(_: RoomState, _: RoomName) {}

pub(super) fn recent_rooms() -> Vec<RoomName> {
    Vec::new()
}

pub(super) fn set_theme(_: Theme) {}

pub(super) fn ahead_of_utc(_: u64) -> i64 {
    0
}

pub(super) fn address() -> String {
    String::new()
}

pub(super) fn copy(_: &str) -> bool {
    false
}

pub(super) fn move_focus(_: &Element, _: &str, _: i32) {}
