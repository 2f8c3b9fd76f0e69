//! The list of hooks, with buttons that pause and resume them and a field to deliver messages again.

use leptos::prelude::*;

use super::AdminPage;
use super::form::{action_button, action_fields, hidden};
use super::format::count;
use super::route::{PATH, PageAction};
use super::table::{AdminRow, Cell, table};
use crate::protocol::RoomSelector;
use crate::protocol::admin::HookSummary;

/// Returns the list; nothing if the server has no hooks.
pub(super) fn hooks(page: &AdminPage, hooks: Vec<HookSummary>) -> Option<AnyView> {
    if hooks.is_empty() {
        return None;
    }

    let text = page.text;
    let rows = hooks.into_iter().map(|hook| row(page, hook));
    let section = view! {
        <section id="hooks" aria-labelledby="hooks-title">
            <div class="admin-bar">
                <h2 id="hooks-title">{text.hooks}</h2>
            </div>
            {table(rows.collect(), None, None)}
        </section>
    };
    Some(section.into_any())
}

fn row(page: &AdminPage, hook: HookSummary) -> AdminRow {
    let AdminPage { route, text, .. } = page;
    let status = match hook.status.as_str() {
        "active" => text.hook_active,
        "paused" => text.hook_paused,
        "gone" => text.hook_gone,
        "standby" => text.hook_standby,
        _ => text.hook_opening,
    };
    let (action, label) = match hook.status.as_str() {
        "active" => (PageAction::PauseHook, text.pause),
        _ => (PageAction::ResumeHook, text.resume),
    };
    let rooms: Vec<&str> = hook.rooms.iter().map(RoomSelector::as_str).collect();
    let lag = hook.lag.map_or_else(|| "?".to_owned(), count);
    let age = hook.oldest.map(|oldest| page.time_since(oldest));
    let fields = [("hook", hook.name.clone())];
    let button = action_button(action, fields, route, label, None);
    let actions = view! { {button} {replay_form(page, &hook.name)} };

    AdminRow {
        id: Some(format!("hook-{}", hook.name)),
        is_selected: false,
        cells: vec![
            Cell::text(text.hook, hook.name),
            Cell::text(text.rooms, rooms.join(" ")),
            Cell::text(text.status, status),
            Cell::number(text.head, count(hook.offset.0)),
            Cell::number(text.behind, lag),
            Cell::text(text.oldest, age.unwrap_or_default()),
            // Errors of the server are in English.
            Cell::text(
                text.last_error,
                view! { <span lang="en">{hook.error}</span> },
            ),
            Cell::actions(text.acts, actions),
        ],
    }
}

/// Returns a form that delivers the messages of the hook `name` from an offset on again.
fn replay_form(page: &AdminPage, name: &str) -> AnyView {
    let AdminPage { route, text, .. } = page;
    let fields = [("hook", name.to_owned())].into_iter();
    let fields = fields.chain(action_fields(PageAction::ReplayHook, route));
    let id = format!("from-{name}");

    view! {
        <form method="post" action=PATH>
            {hidden(fields)}
            <label for=id.clone()>{text.replay_from}</label>
            <input id=id name="from" inputmode="numeric" maxlength="20" autocomplete="off" required/>
            <button class="tool" type="submit">{text.replay}</button>
        </form>
    }
    .into_any()
}
