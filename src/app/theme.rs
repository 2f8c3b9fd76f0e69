//! The colour theme: the system's, or the user's choice. A cookie stores the choice, so the server renders the page
//! in the right colours.

use leptos::prelude::*;
use serde::Serialize;

use super::dynamic::{on, set, show, still};
use super::i18n::use_text;
use super::live::RoomState;

/// The colour theme of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// The system's theme.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// The name of the cookie, and of the attribute of `<html>`.
    pub const NAME: &'static str = "theme";

    /// Returns the value of the cookie and the attribute.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// Returns the theme of the value `tag`, or the system's theme if it is unknown.
    pub fn parse(tag: &str) -> Self {
        [Self::Light, Self::Dark]
            .into_iter()
            .find(|theme| theme.tag() == tag)
            .unwrap_or_default()
    }

    /// Returns the theme that a switch selects next.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::System => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::System,
        }
    }
}

const SWITCH: &str = "theme";
const CHOSEN: &str = "theme-chosen";

/// The link that switches the theme. It works without JavaScript.
#[component]
pub fn ThemeSwitch() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();

    let word = move || match live.theme.get() {
        Theme::System => text.theme_system,
        Theme::Light => text.theme_light,
        Theme::Dark => text.theme_dark,
    };
    let href = move || format!("?{}={}", Theme::NAME, live.theme.get().next().tag());

    show(CHOSEN, word);
    set(SWITCH, "href", href);
    on(SWITCH, "click", move |event| {
        event.prevent_default();
        live.set_theme(live.theme.get_untracked().next());
    });

    still(move || {
        view! {
            <a class="tool" id=SWITCH href=href()>
                {text.theme} " "
                <span class="quiet" id=CHOSEN>{word()}</span>
            </a>
        }
    })
}
