//! The forms of the operator's page: what looks for something, and what does something.

use leptos::prelude::*;

use super::place::{PATH, Place};

/// Fields that nobody sees.
pub fn hidden(fields: impl IntoIterator<Item = (&'static str, String)>) -> Vec<AnyView> {
    fields
        .into_iter()
        .map(|(name, value)| view! { <input type="hidden" name=name value=value/> }.into_any())
        .collect()
}

/// A field that leads to where the page shows only what is looked for.
#[component]
pub fn Search(
    /// Where the operator stands, but for what is looked for.
    place: Place,
    /// The field's name in the address, and its id.
    name: &'static str,
    /// What is looked for now.
    value: String,
    /// What can be looked for.
    label: &'static str,
    /// The button's words.
    verb: &'static str,
) -> impl IntoView {
    view! {
        <form action=PATH>
            {hidden(place.fields())}
            <label for=name>{label}</label>
            <input id=name name=name value=value maxlength="64" autocomplete="off"/>
            <button class="tool" type="submit">{verb}</button>
        </form>
    }
}

/// A button that does something at once.
#[component]
pub fn Deed(
    /// What it does, as the server calls it.
    act: &'static str,
    /// To whom or what.
    to: Vec<(&'static str, String)>,
    /// Where the operator stands, and comes back to.
    place: Place,
    /// The button's words.
    verb: &'static str,
    /// The form's id.
    #[prop(optional)]
    id: Option<String>,
) -> impl IntoView {
    let fields = [("act", act.to_owned()), ("back", place.quiet().query())];
    view! {
        <form method="post" action=PATH id=id>
            {hidden(to.into_iter().chain(fields))}
            <button class="tool" type="submit">{verb}</button>
        </form>
    }
}
