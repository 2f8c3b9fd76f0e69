//! The head of the page, and the rates of the server.

use leptos::prelude::*;

use super::format::{bytes, count};
use super::route::PATH;
use super::sparkline::{Unit, sparkline};
use crate::app::i18n::{AdminText, Locale};
use crate::app::theme::Theme;
use crate::protocol::admin::{SecondStats, Stats};

/// Returns the head of the page: the state of the server, if the operator may see it, and the settings of the page.
pub(super) fn head(
    locale: Locale,
    theme: Theme,
    stats: Option<&Stats>,
    has_token: bool,
) -> AnyView {
    let text = locale.admin_text();
    let common = locale.text();
    let colours = match theme {
        Theme::System => common.theme_system,
        Theme::Light => common.theme_light,
        Theme::Dark => common.theme_dark,
    };
    let next_theme = format!("{PATH}?{}={}", Theme::NAME, theme.next().tag());
    let others = Locale::ALL.into_iter().filter(|other| *other != locale);
    let languages: Vec<_> = others
        .map(|other| {
            let href = format!("{PATH}?{}={}", Locale::NAME, other.tag());
            view! { <a class="tool" hreflang=other.tag() lang=other.tag() href=href>{other.text().language}</a> }
        })
        .collect();
    let forget = has_token
        .then(|| view! { <button class="tool" type="button" id="forget">{text.forget}</button> });
    let not_ready = stats.and_then(|stats| stats.reason.clone()).map(|reason| {
        view! { <p class="admin-note alert" role="alert"><span lang="en">{reason}</span></p> }
    });

    view! {
        <header class="admin-head">
            <h1>{text.title}</h1>
            {stats.map(|stats| state(stats, text))}
            <div class="admin-tools">
                <a class="tool" href=next_theme>{common.theme} " " <span class="quiet">{colours}</span></a>
                {languages}
                {forget}
            </div>
        </header>
        {not_ready}
    }
    .into_any()
}

/// Returns the badge, the version and the uptime.
fn state(stats: &Stats, text: &'static AdminText) -> AnyView {
    let (class, label) = if stats.ready {
        ("badge", text.ready)
    } else {
        ("badge down", text.not_ready)
    };
    let version = match &stats.commit {
        Some(commit) => format!("{} ({commit})", stats.version),
        None => stats.version.clone(),
    };
    let uptime = (text.span)(stats.uptime);

    view! {
        <p class=class id="ready">{label}</p>
        <p class="quiet">{version} ", " {text.up} " " {uptime}</p>
    }
    .into_any()
}

/// Returns the rates of the last minutes, if the operator may see them.
pub(super) fn overview(stats: Option<Stats>, text: &'static AdminText) -> AnyView {
    let Some(stats) = stats else {
        return view! { <p class="admin-note">{text.some_rooms}</p> }.into_any();
    };

    let chart = |label, unit, value: fn(&SecondStats) -> f64| {
        let values: Vec<f64> = stats.seconds.iter().map(value).collect();
        sparkline(label, &values, unit, text)
    };
    let memory = (text.held)(
        &count(stats.rooms as u64),
        &bytes(stats.held_bytes as f64),
        &bytes(stats.budget_bytes as f64),
    );
    view! {
        <section aria-labelledby="now">
            <h2 id="now">{text.now}</h2>
            <div class="charts">
                {chart(text.published, Unit::Count, |second| second.published)}
                {chart(text.delivered, Unit::Count, |second| second.delivered)}
                {chart(text.bytes, Unit::Bytes, |second| second.delivered_bytes)}
                {chart(text.connections, Unit::Count, |second| second.connections as f64)}
            </div>
            <p class="quiet">{memory}</p>
        </section>
    }
    .into_any()
}
