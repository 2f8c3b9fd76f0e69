//! The state of the page, as signals that the components read, and the actions that change it.
//!
//! [`PageState`] has the connection and the rooms, and [`RoomState`] one room. They are created on both sides, in the
//! state that the server has rendered. In the browser an effect starts them: it restores what the browser has stored and
//! spawns the task of [`connection`], which subscribes to every room of the page. One of the rooms is shown.
//! [`MessageList`] has the messages of a room, and the rest of the logic. It is pure, so its tests need no browser.

mod calendar;
mod connection;
mod connection_status;
mod date_search;
mod edits;
mod history;
mod history_requests;
mod hues;
mod message_list;
mod page_state;
mod pending_message;
mod profile;
mod room_access;
mod room_presence;
mod room_state;
mod row;
mod row_window;
mod rows;
mod sign_in_state;
mod token_claims;
mod token_renewal;
mod typing;
mod unread;
mod unsent_texts;

pub use calendar::{Day, ShownTime};
pub use connection_status::{ConnectionStats, ConnectionStatus, Refusal};
pub use history::{FoundMessage, FoundMessages};
pub use hues::HUES;
pub use message_list::MessageList;
pub use page_state::PageState;
pub use pending_message::PendingMessage;
pub use room_access::RoomAccess;
pub use room_presence::RoomPresence;
pub use room_state::{Composing, RoomState, ScrollTarget, SendResult};
pub use row::{
    Entry, Gap, GapState, Message, MessageContent, MessageState, Missing, Quote, Reason, Row,
    RowView,
};
pub use sign_in_state::SignInState;
pub use typing::TypingUsers;
pub use unread::UnreadCount;
