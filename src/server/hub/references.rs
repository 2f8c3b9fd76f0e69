//! The checks of messages that refer to others: replies, and edits of one's own messages.

use crate::protocol::{ErrorCode, Offset, UserId};
use crate::server::hub::Room;
use crate::server::room::Draft;
use crate::server::store::StoreError;

/// The reason why a message may not refer to another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The message replies to an offset that the room has not reached.
    #[error(
        "reply_to is {reply_to}; it must be the offset of a message of the room, at most {head}"
    )]
    NoReplyTarget {
        /// The offset.
        reply_to: Offset,
        /// The newest offset of the room.
        head: Offset,
    },
    /// The message edits another one, and the sender's id is not verified.
    #[error(
        "edits needs an id that a token verifies (--auth-key-file); without one nobody knows who sent message {edits}"
    )]
    Unverified {
        /// The offset of the edited message.
        edits: Offset,
    },
    /// The edited message does not exist.
    #[error("edits is {edits}; the room has no such message, or it is deleted or no longer kept")]
    NoMessage {
        /// The offset of the edited message.
        edits: Offset,
    },
    /// The server has written the edited message.
    #[error("edits is {edits}; the server has written that message, and nobody can edit it")]
    OfServer {
        /// The offset of the edited message.
        edits: Offset,
    },
    /// Another user sent the edited message.
    #[error("edits is {edits}; another user sent that message, and only that user can edit it")]
    OtherSender {
        /// The offset of the edited message.
        edits: Offset,
    },
    /// The edited message is itself an edit.
    #[error("edits is {edits}, which is itself an edit; name the original message, {original}")]
    IsEdit {
        /// The offset of the edited message.
        edits: Offset,
        /// The offset of the original message.
        original: Offset,
    },
    /// The store cannot read or write now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReferenceError {
    /// Returns the code of the error frame.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Unverified { .. } | Self::OfServer { .. } | Self::OtherSender { .. } => {
                ErrorCode::NotAllowed
            }
            Self::NoMessage { .. } => ErrorCode::NoSuchMessage,
            Self::NoReplyTarget { .. } | Self::IsEdit { .. } => ErrorCode::BadField,
            Self::Store(_) => ErrorCode::StoreUnavailable,
        }
    }
}

/// Checks that a message may refer to the messages that it names. `sender` is the sender's id if it is verified.
///
/// # Errors
/// The reason why it may not, or that the store cannot be read now.
pub async fn check_references(
    room: &Room,
    draft: &Draft,
    sender: Option<&UserId>,
) -> Result<(), ReferenceError> {
    if let Some(reply_to) = draft.fields().reply_to {
        let head = room.reach(reply_to).await?;
        // The message itself need not be kept any longer.
        if reply_to == Offset(0) || reply_to > head {
            return Err(ReferenceError::NoReplyTarget { reply_to, head });
        }
    }

    if let Some(edits) = draft.fields().edits {
        let sender = sender.ok_or(ReferenceError::Unverified { edits })?;
        room.reach(edits).await?;
        let original = room.message(edits).await?;
        let original = original
            .filter(|frame| !frame.is_deleted())
            .ok_or(ReferenceError::NoMessage { edits })?;

        if original.is_of_server() {
            return Err(ReferenceError::OfServer { edits });
        }
        if original.from() != sender {
            return Err(ReferenceError::OtherSender { edits });
        }
        if let Some(original) = original.fields().edits {
            return Err(ReferenceError::IsEdit { edits, original });
        }
    }
    Ok(())
}
