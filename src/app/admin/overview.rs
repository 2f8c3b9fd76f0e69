//! The head of the page, and the server in figures.

use leptos::prelude::*;

use super::desk::Figures;
use super::place::PATH;
use super::quantity;
use super::sparkline::{Sparkline, Unit};
use crate::app::i18n::{AdminText, Locale};
use crate::app::theme::Theme;

/// What stands above everything.
#[component]
pub fn Head<'a>(
    /// The language of the page.
    locale: Locale,
    /// Its colours.
    theme: Theme,
    /// The server, if its figures may be seen.
    figures: Option<&'a Figures>,
    /// Whether there is a token to forget.
    has_token: bool,
) -> impl IntoView + use<> {
    let (text, common) = (locale.admin_text(), locale.text());
    let state = figures.map(|figures| {
        let up = format!("{} {}", text.up, (text.span)(figures.uptime));
        let (class, words) = match figures.not_ready {
            None => ("badge", text.ready),
            Some(_) => ("badge down", text.not_ready),
        };
        let version = figures.version.clone();
        view! {
            <p class=class id="ready">{words}</p>
            <p class="quiet">{version} ", " {up}</p>
        }
    });
    let not_ready = figures
        .and_then(|figures| figures.not_ready.clone())
        .map(|reason| {
            view! { <p class="desk-note alert" role="alert"><span lang="en">{reason}</span></p> }
        });
    let colours = match theme {
        Theme::System => common.theme_system,
        Theme::Light => common.theme_light,
        Theme::Dark => common.theme_dark,
    };
    let others = Locale::ALL.into_iter().filter(|other| *other != locale);
    let languages: Vec<_> = others
        .map(|other| {
            let href = format!("{PATH}?{}={}", Locale::NAME, other.tag());
            view! { <a class="tool" hreflang=other.tag() lang=other.tag() href=href>{other.text().language}</a> }
        })
        .collect();
    let forget = has_token
        .then(|| view! { <button class="tool" type="button" id="forget">{text.forget}</button> });
    view! {
        <header class="desk-head">
            <h1>{text.title}</h1>
            {state}
            <div class="desk-tools">
                <a class="tool" href=format!("{PATH}?{}={}", Theme::NAME, theme.next().tag())>
                    {common.theme} " " <span class="quiet">{colours}</span>
                </a>
                {languages}
                {forget}
            </div>
        </header>
        {not_ready}
    }
}

/// Rates and numbers of the last minutes.
#[component]
pub fn Overview(
    /// The server, if its figures may be seen.
    figures: Option<Figures>,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let Some(Figures {
        held: (held, budget),
        rooms,
        seconds,
        ..
    }) = figures
    else {
        return view! { <p class="desk-note">{text.some_rooms}</p> }.into_any();
    };
    let charts: Vec<_> = [
        (text.published, Unit::Count),
        (text.delivered, Unit::Count),
        (text.bytes, Unit::Bytes),
        (text.connections, Unit::Count),
    ]
    .into_iter()
    .enumerate()
    .map(|(at, (label, unit))| {
        let values = seconds.iter().map(|second| second[at]).collect();
        view! { <Sparkline label values unit text/> }
    })
    .collect();
    let rooms = quantity::count(rooms as u64);
    let held = (text.held)(
        &rooms,
        &quantity::bytes(held as f64),
        &quantity::bytes(budget as f64),
    );
    view! {
        <section aria-labelledby="now">
            <h2 id="now">{text.now}</h2>
            <div class="charts">{charts}</div>
            <p class="quiet">{held}</p>
        </section>
    }
    .into_any()
}
