//! The forms of the admin page: searches, and buttons for actions.

use leptos::prelude::*;

use super::route::{AdminRoute, PATH, PageAction};

/// Returns hidden inputs for `fields`.
pub(super) fn hidden(
    fields: impl IntoIterator<Item = (&'static str, String)>,
) -> Vec<impl IntoView> {
    fields
        .into_iter()
        .map(|(name, value)| view! { <input type="hidden" name=name value=value/> })
        .collect()
}

/// Returns a search that filters a list: it adds the field `name` to the URL of `route`.
pub(super) fn search(
    route: &AdminRoute,
    name: &'static str,
    value: &str,
    label: &'static str,
    button: &'static str,
) -> impl IntoView + use<> {
    view! {
        <form action=PATH>
            {hidden(route.fields())}
            <label for=name>{label}</label>
            <input id=name name=name value=value.to_owned() maxlength="64" autocomplete="off"/>
            <button class="tool" type="submit">{button}</button>
        </form>
    }
}

/// Returns a button for an action that needs no confirmation. The `fields` identify its object.
pub(super) fn action_button(
    action: PageAction,
    fields: impl IntoIterator<Item = (&'static str, String)>,
    route: &AdminRoute,
    label: &'static str,
    id: Option<String>,
) -> AnyView {
    let fields = fields.into_iter().chain(action_fields(action, route));
    view! {
        <form method="post" action=PATH id=id>
            {hidden(fields)}
            <button class="tool" type="submit">{label}</button>
        </form>
    }
    .into_any()
}

/// Returns the form fields of `action`, after which the page returns to `route`.
pub(super) fn action_fields(action: PageAction, route: &AdminRoute) -> [(&'static str, String); 2] {
    [
        ("act", action.as_str().to_owned()),
        ("back", route.base().query()),
    ]
}

/// Returns a link that looks like a button.
pub(super) fn link(id: impl Into<String>, route: &AdminRoute, label: &'static str) -> AnyView {
    view! { <a class="tool" id=id.into() href=route.href()>{label}</a> }.into_any()
}
