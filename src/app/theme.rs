//! The colour theme: the system's, or the user's choice. A cookie stores the choice, so the server renders the page
//! in the right colours.

use leptos::ev::MouseEvent;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

use super::i18n::use_text;
use super::live::PageState;
use crate::browser::dom;

/// The colour theme of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// The link that switches the theme. It works without JavaScript.
#[component]
pub fn ThemeSwitch(
    /// The theme in which the server has rendered the page.
    theme: Theme,
) -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    let theme = RwSignal::new(theme);

    let switch = move |event: MouseEvent| {
        event.prevent_default();
        theme.update(|theme| *theme = theme.next());

        let tag = theme.get_untracked().tag();
        dom::set_root_attribute(&format!("data-{}", Theme::NAME), tag);
        page.storage().set_cookie(Theme::NAME, tag);
    };

    view! {
        <a
            class="tool"
            id="theme"
            href=move || format!("?{}={}", Theme::NAME, theme.get().next().tag())
            on:click=switch
        >
            {text.theme} " "
            <span class="quiet">
                {move || match theme.get() {
                    Theme::System => text.theme_system,
                    Theme::Light => text.theme_light,
                    Theme::Dark => text.theme_dark,
                }}
            </span>
        </a>
    }
}
