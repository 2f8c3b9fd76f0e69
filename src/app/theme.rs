//! Light or dark: as the system has it, or as the reader chose. A cookie remembers it, so that the server
//! renders the page in the right colours from the first byte.

use leptos::prelude::*;
use serde::Serialize;

use super::dynamic::{on, set, show, still};
use super::i18n::use_text;
use super::live::RoomState;

/// The colours of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the system has it.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// The cookie, and the attribute of `<html>`, that hold it.
    pub const NAME: &'static str = "theme";

    /// As it stands there.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme called `tag`; the system's if there is none.
    pub fn parse(tag: &str) -> Self {
        [Self::Light, Self::Dark]
            .into_iter()
            .find(|theme| theme.tag() == tag)
            .unwrap_or_default()
    }

    /// The one that a switch changes to.
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

/// The way to the other colours. A link, which works without JavaScript as well.
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
