//! The data of the admin page for one request. Every list is bounded.

use super::route::{AdminRoute, CompletedAction};
use crate::app::{Locale, Theme};
use crate::protocol::Publication;
use crate::protocol::admin::{
    BanList, ConnectionList, ConnectionSummary, HookSummary, RoomList, Stats,
};

/// The input of the page.
#[derive(Clone, Debug)]
pub struct AdminPageData {
    /// The language.
    pub locale: Locale,
    /// The colours.
    pub theme: Theme,
    /// The address of the first style sheet, which all pages share.
    pub styles: String,
    /// The route.
    pub route: AdminRoute,
    /// The content.
    pub content: AdminContent,
}

/// The content of the page.
#[derive(Clone, Debug)]
pub enum AdminContent {
    /// The form for a token: the client is not known to be an operator.
    SignIn {
        /// The reason why the token of the request was rejected, if it had one.
        refused: Option<String>,
        /// True if the server has keys, so that tokens can be accepted.
        has_keys: bool,
    },
    /// Everything that the operator administers.
    Dashboard(Box<Dashboard>),
}

/// The content of the page for an operator.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The time in milliseconds since 1970 UTC.
    pub now: u64,
    /// The state of the server; `None` for operators of some rooms only.
    pub stats: Option<Stats>,
    /// True if the operator sent a token, which the page can forget.
    pub has_token: bool,
    /// One page of the rooms.
    pub rooms: RoomList,
    /// One page of the connections.
    pub connections: ConnectionList,
    /// One page of the messages of the selected room; `None` if they cannot be read.
    pub messages: Option<MessagePage>,
    /// The newest bans, newest first, and the closed rooms.
    pub bans: BanList,
    /// True if there are older bans.
    pub has_more_bans: bool,
    /// The hooks; empty for operators of some rooms only.
    pub hooks: Vec<HookSummary>,
    /// The connection that the confirmation dialog is about, if it is still open.
    pub subject: Option<ConnectionSummary>,
    /// The message that the confirmation dialog is about, if it is kept.
    pub quoted: Option<Publication>,
    /// The outcome of the last action.
    pub outcome: Option<ActionOutcome>,
}

/// One page of the messages of a room.
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// The messages, oldest first.
    pub messages: Vec<Publication>,
    /// True if there are older ones.
    pub more: bool,
}

/// The outcome of an action.
#[derive(Clone, Debug)]
pub enum ActionOutcome {
    /// The completed action.
    Completed(CompletedAction),
    /// The reason of a failure.
    Failed(String),
}
