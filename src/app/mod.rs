//! The page of a room. The same code renders it on the server and hydrates it in the browser.
//!
//! The server passes a [`Snapshot`] to [`shell`], and [`App`] shows it. Later changes arrive over the WebSocket
//! through [`live`]. The browser keeps the server's HTML and changes its dynamic parts ([`dynamic`]); both sides draw
//! only the rows of the log and the lists ([`markup`]). Rendering reads no clock, no random number and no browser
//! API: these wait for an `Effect`.
//!
//! The module never names `server` and has no server functions. Only `live` depends on the side that it is compiled
//! for, and `admin` is left out of the browser's download.

pub mod snapshot;
pub mod problem;
pub mod i18n;
pub mod live;
pub mod markup;
pub mod drawing;
pub mod dynamic;
pub mod link;
pub mod home;
pub mod timeline;
pub mod message;
pub mod composer;
pub mod presence;
pub mod rooms;
pub mod search;
pub mod share;
pub mod health;
pub mod status;
pub mod theme;
/// Only the server renders this page.
#[cfg(feature = "ssr")]
pub mod admin;

pub use i18n::Locale;
pub use live::Reason;
pub use problem::document as problem_document;
pub use problem::{Problem, ProblemKind, suggest_room};
pub use snapshot::{Form, InitialHistory, Snapshot};
pub use theme::Theme;

use leptos::hydration::{AutoReload, HydrationScripts};
use leptos::prelude::*;

use home::Home;
use live::RoomState;

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
    let Snapshot {
        base,
        room,
        locale,
        theme,
        is_open,
        past,
        form,
    } = live::snapshot();

    provide_context(base);
    provide_context(locale);
    provide_context(RoomState::start(&room, is_open, past, theme));

    view! { <Home room form/> }
}
