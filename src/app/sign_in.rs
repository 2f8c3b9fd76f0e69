//! The sign-in of the user, where names are verified: the user's name, a link to the page at which users sign in, and a field for
//! a token.

use leptos::ev::SubmitEvent;
use leptos::html::Input;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{ConnectionStatus, PageState};
use crate::browser::{dom, token};

/// The verified name of the user, or the note that the user is not signed in.
#[component]
pub fn Identity() -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    let name = move || {
        page.sign_in
            .user
            .with(|user| user.as_ref().map(|user| user.shown()))
    };
    let is_signed_out = move || {
        let status = page.connection.get();
        name().is_none() && (status == ConnectionStatus::Live || status.needs_token())
    };

    view! {
        <div class="identity" id="identity" role="status">
            <p hidden=move || name().is_none()>{text.you_are} " " <bdi>{name}</bdi></p>
            <p hidden=move || !page.sign_in.has_ended.get()>
                {text.session_ended}
                " "
                <button class="tool" type="button" on:click=move |_| dom::reload()>{text.sign_in_again}</button>
            </p>
            <p hidden=move || !is_signed_out()>{text.not_signed_in} " " <SignInLink/></p>
        </div>
    }
}

/// The link to the page at which users sign in, if there is one.
#[component]
fn SignInLink() -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    page.sign_in
        .page_url()
        .map(|url| view! { <a class="sign-in" href=url>{text.sign_in}</a> })
}

/// The ways to sign in: the link, and a field for a token.
#[component]
pub fn SignInForm() -> impl IntoView {
    let text = use_text();
    let page = expect_context::<PageState>();
    let field = NodeRef::<Input>::new();

    let join = move |event: SubmitEvent| {
        event.prevent_default();
        if let Some(field) = field.get_untracked() {
            token::enter(field.value().trim());
        }
    };

    view! {
        <p><SignInLink/></p>
        <form class="own scripted" hidden=!page.sign_in.accepts_tokens() on:submit=join>
            <label for="token">{text.token}</label>
            <input id="token" type="password" required autocomplete="off" node_ref=field/>
            <button class="tool" type="submit">{text.join}</button>
        </form>
    }
}
