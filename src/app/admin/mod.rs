//! The admin page: the state of the server, rooms, connections and bans, and the actions of operators.
//!
//! Only the server renders it: [`document`] turns [`AdminPageData`](crate::app::admin::AdminPageData) into the whole
//! page for each request. Links and forms lead from one [`AdminRoute`](crate::app::admin::AdminRoute) to the next, so
//! everything except traces works without JavaScript.
//! `public/admin.js` requests the page once a second and updates what has changed. Browsers do not download this
//! module.
//!
//! The page uses no signals, no clock and no browser API. Times are shown as durations, because the server does not
//! know the user's time zone.

pub mod route;
mod page_data;
mod format;
mod sparkline;
mod table;
mod form;
mod overview;
mod rooms;
mod messages;
mod connections;
mod trace;
mod bans;
mod hooks;
mod confirm_dialog;
mod sign_in;

pub use messages::MAX_MESSAGES;
pub use page_data::{ActionOutcome, AdminContent, AdminPageData, Dashboard, MessagePage};
pub use route::{AdminRoute, CompletedAction, PageAction, PendingAction};
pub use trace::Event;

use leptos::prelude::*;

use super::i18n::AdminText;

/// The data that all parts of the dashboard share.
struct AdminPage {
    route: AdminRoute,
    /// The time in milliseconds since 1970 UTC.
    now: u64,
    text: &'static AdminText,
}

impl AdminPage {
    /// Returns the time since `at`, in words.
    fn time_since(&self, at: u64) -> String {
        (self.text.span)(self.now.saturating_sub(at) / 1000)
    }
}

/// Renders the whole HTML document.
pub fn document(data: AdminPageData) -> String {
    let AdminPageData {
        locale,
        theme,
        styles,
        route,
        content,
    } = data;
    let text = locale.admin_text();
    let title = format!("{} - Fanfare", text.title);
    let address = route.base().href();
    let is_sign_in = matches!(content, AdminContent::SignIn { .. });
    let (head, main) = match content {
        AdminContent::SignIn { refused, has_keys } => (
            overview::head(locale, theme, None, false),
            sign_in::sign_in(refused, has_keys, text),
        ),
        AdminContent::Dashboard(content) => {
            let has_token = content.has_token;
            let head = overview::head(locale, theme, content.stats.as_ref(), has_token);
            (head, dashboard(route, *content, text))
        }
    };

    let page = view! {
        <html lang=locale.tag() data-theme=theme.tag()>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="robots" content="noindex"/>
                // A child node would get a hydration marker, which browsers show in the tab.
                <title inner_html=title></title>
                <link rel="icon" href="favicon.svg" type="image/svg+xml"/>
                <link rel="stylesheet" href=styles/>
                <link rel="stylesheet" href="admin.css"/>
                <script type="module" src="admin.js"></script>
            </head>
            <body data-place=address data-gate=is_sign_in.then_some("")>
                {head}
                <p class="admin-note alert" id="silent" role="alert" data-words=text.silent></p>
                {main}
            </body>
        </html>
    };
    format!("<!DOCTYPE html>{}", page.to_html())
}

/// Returns the page of an operator.
fn dashboard(route: AdminRoute, content: Dashboard, text: &'static AdminText) -> AnyView {
    let page = AdminPage {
        route,
        now: content.now,
        text,
    };
    let route = &page.route;
    let messages = route
        .room
        .as_ref()
        .map(|room| messages::messages(&page, room, content.messages));
    let trace = route.trace.map(|number| trace::trace(&page, number));
    let dialog = route.pending.as_ref().map(|pending| {
        confirm_dialog::confirm_dialog(&page, pending, content.subject, content.quoted)
    });

    view! {
        <p class="admin-note unscripted">{text.unscripted}</p>
        <main class="admin">
            <div id="outcome">{content.outcome.map(|outcome| outcome_note(outcome, text))}</div>
            {overview::overview(content.stats, text)}
            {rooms::rooms(&page, content.rooms)}
            {messages}
            {connections::connections(&page, content.connections)}
            {trace}
            {bans::bans(&page, content.bans, content.has_more_bans)}
            {hooks::hooks(&page, content.hooks)}
        </main>
        {dialog}
    }
    .into_any()
}

fn outcome_note(outcome: ActionOutcome, text: &'static AdminText) -> AnyView {
    let CompletedAction { action, kicked } = match outcome {
        ActionOutcome::Completed(completed) => completed,
        // Error messages of the server are in English.
        ActionOutcome::Failed(reason) => {
            return view! {
                <p class="admin-note alert" role="alert">{text.failed} " " <span lang="en">{reason}</span></p>
            }
            .into_any();
        }
    };

    let kicked = kicked.unwrap_or_default();
    let note = match action {
        PageAction::Kick => text.kicked.to_owned(),
        PageAction::Ban => (text.banned)(kicked),
        PageAction::Unban => text.lifted.to_owned(),
        PageAction::Close => (text.room_closed)(kicked),
        PageAction::Open => text.room_opened.to_owned(),
        PageAction::Delete => text.message_deleted.to_owned(),
        PageAction::PauseHook => text.hook_is_paused.to_owned(),
        PageAction::ResumeHook => text.hook_is_active.to_owned(),
        PageAction::ReplayHook => text.hook_replays.to_owned(),
    };
    view! { <p class="admin-note" role="status">{note}</p> }.into_any()
}
