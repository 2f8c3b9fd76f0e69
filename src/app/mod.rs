//! The page of a room. The same components render it on the server and hydrate it in the browser.
//!
//! # Components
//!
//! ```text
//! App                     reads the Snapshot, provides PageState, Locale and BasePath as contexts
//! └─ Home                 the layout
//!    ├─ Rooms, Identity, Alerts, ThemeSwitch     once for the page
//!    └─ ShownRoom         provides the RoomState of the shown room to its children, which are built for each room
//!       ├─ PresenceCount, StatusBadge, Roster
//!       ├─ Timeline       the log: a window of its rows
//!       │  └─ LogRow      a message or a gap, with its MessageActions
//!       ├─ Composer       the message form
//!       └─ SearchPanel, Share, Health   panels that open over the page
//! ```
//!
//! # A message that arrives
//!
//! ```text
//! WebSocket ─ Socket: Push ─ keep_connected: a batch ─ each room: MessageList::receive ─ RoomState::messages (signal)
//!                                                                                  │
//!                     one row's RowView (memo) ─ LogRow        Timeline: RowViews (memo) ─ <For>
//! ```
//!
//! The task in `live::connection` decodes frames and passes them to the [`live::MessageList`] of their room, at most twenty
//! times a second. The list is a signal. `Timeline` reads the rows that are near the visible part of the log, `<For>` adds and
//! removes rows by their ids, and each `LogRow` changes with its own [`live::RowView`] alone.
//!
//! # A message that is sent
//!
//! ```text
//! Composer ─ RoomState::send ─ MessageList::send ─ a row "sending" in the log
//!                 │                  └─ Effect: a Command ─ keep_connected ─ WebSocket
//!                 └─ storage, until the server has stored the message
//! ```
//!
//! The message is a row at once. When the `ack` arrives, the same row changes its state.
//!
//! # The token
//!
//! ```text
//! link #token=…, field, or endpoint ─ browser::token ─ SignInState ─ Socket::open
//!                             └─ TokenRenewal, before the token expires ─ Command::Token ─ the open WebSocket
//! ```
//!
//! If names are verified, a connection needs a token, unless a proxy has named the user. The token comes from the fragment
//! of a link, from the field of `SignInForm`, or from the endpoint that the settings name, and is stored for the tab. With an
//! endpoint, `live::token_renewal` requests a new token before the old one expires and sends it on the open connection, so
//! no message is missed. Without one, the server ends the connection when the token expires, and `SignInForm` opens.
//!
//! # Rendering
//!
//! The server passes a [`Snapshot`] to [`shell`], which embeds it in the page. The first render of the browser reads the
//! same snapshot and equals the HTML of the server, so hydration changes nothing. Rendering reads no clock, no random
//! number and no browser API. Effects, event handlers and tasks do: they run after hydration, and never on the server.
//! Times are in UTC until then.
//!
//! The module never names `server` and has no server functions. `admin` is left out of the browser's download.

pub mod snapshot;
pub mod error_page;
pub mod i18n;
pub mod live;
pub mod link;
pub mod home;
pub mod alerts;
pub mod timeline;
pub mod log_row;
pub mod message_actions;
pub mod message_text;
pub mod json_view;
pub mod composer;
pub mod presence;
pub mod rooms;
pub mod search;
pub mod close_panel;
pub mod share;
pub mod health;
pub mod sign_in;
pub mod status;
pub mod theme;
/// Only the server renders this page.
#[cfg(feature = "ssr")]
pub mod admin;

pub use error_page::document as problem_document;
pub use error_page::{Problem, ProblemKind, suggest_room};
pub use i18n::Locale;
pub use live::{Reason, RoomAccess};
pub use snapshot::{HistoryPage, MessageForm, SignIn, Snapshot};
pub use theme::Theme;

use leptos::hydration::{AutoReload, HydrationScripts};
use leptos::nonce::use_nonce;
use leptos::prelude::*;

use home::Home;
use live::PageState;

/// Posts the form when Enter is pressed before hydration. From then on, the [`composer`] handles the key.
const EARLY_ENTER: &str = r#"
addEventListener("keydown", (event) => {
  const isAwake = "hydrated" in document.documentElement.dataset;
  const { key, shiftKey, isComposing, keyCode, target } = event;
  if (isAwake || target.id !== "msg" || key !== "Enter" || shiftKey || isComposing || keyCode === 229) return;
  if (matchMedia("(hover: none) and (pointer: coarse)").matches) return;
  event.preventDefault();
  if (target.value.trim()) target.form.requestSubmit();
});
"#;

/// Returns the whole HTML document around [`App`], for the server.
pub fn shell(options: LeptosOptions, snapshot: Snapshot) -> impl IntoView {
    let text = snapshot.locale.text();
    let language = snapshot.locale.tag();
    let theme = snapshot.theme.tag();
    let title = format!("{} - Fanfare", snapshot.room);
    let data = snapshot.to_json();
    let base = snapshot.base.clone();
    let styles = base.join(&format!(
        "/{}/{}.css",
        options.site_pkg_dir, options.output_name
    ));

    provide_context(snapshot);

    view! {
        <!DOCTYPE html>
        <html lang=language data-theme=theme>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="description" content=text.description/>
                // A child node would get a hydration marker, which browsers show in the tab. The name of a room needs
                // no escaping.
                <title inner_html=title></title>
                <link rel="icon" href=base.join("/favicon.svg") type="image/svg+xml"/>
                <link rel="apple-touch-icon" href=base.join("/icon-192.png")/>
                <link rel="manifest" href=base.join("/manifest.webmanifest")/>
                <link rel="stylesheet" href=styles/>
                <AutoReload options=options.clone()/>
                <HydrationScripts options root=base.as_str()/>
                <script type="application/json" id=snapshot::ELEMENT inner_html=data></script>
                <script nonce=use_nonce() inner_html=EARLY_ENTER></script>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

/// The content of `<body>`, on both sides.
#[component]
pub fn App() -> impl IntoView {
    let snapshot = Snapshot::of_page();
    let page = PageState::new(&snapshot);
    let Snapshot {
        base,
        locale,
        theme,
        form,
        ..
    } = snapshot;

    provide_context(base);
    provide_context(locale);
    provide_context(page);
    Effect::new(move |_| page.start());

    view! { <Home theme form/> }
}
