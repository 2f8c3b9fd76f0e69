//! Positions in a room's log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The position of a message in the store's one sequence of all rooms. Offsets increase strictly and are never reused;
/// those of a room have holes. 0 stands for "before the first message".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of one lifetime of a log. An [`Offset`] belongs to one epoch; offsets of different epochs cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Epoch(Arc<str>);

text_type!(Epoch);

impl Epoch {
    /// Returns the epoch whose text is `number` in eight hexadecimal digits.
    pub fn new(number: u32) -> Self {
        Self(format!("{number:08x}").into())
    }
}

impl From<String> for Epoch {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// An epoch and the offset of the last message that a reader has seen. As text: `EPOCH:OFFSET`.
///
/// ```
/// use fanfare::protocol::{Offset, Position};
///
/// let position: Position = "554f3d5f:8".parse()?;
/// assert_eq!(position.offset, Offset(8));
/// assert_eq!(position.to_string(), "554f3d5f:8");
/// # Ok::<(), fanfare::protocol::PositionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch.
    pub epoch: Epoch,
    /// The last offset that the reader has seen; 0 if none.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = text.rsplit_once(':').ok_or(PositionError)?;
        let offset = offset.parse().map(Offset).map_err(|_| PositionError)?;
        Ok(Self {
            epoch: Epoch::from(epoch.to_owned()),
            offset,
        })
    }
}

/// The error for a text that is not a [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is EPOCH:OFFSET, like 554f3d5f:8")]
pub struct PositionError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = Position {
            epoch: Epoch::new(0x554f_3d5f),
            offset: Offset(8),
        };

        assert_eq!(position.to_string(), "554f3d5f:8");
        assert_eq!("554f3d5f:8".parse(), Ok(position));

        for wrong in ["", "8", "554f3d5f:", "554f3d5f:-1", "554f3d5f:8 "] {
            assert_eq!(wrong.parse::<Position>(), Err(PositionError), "{wrong}");
        }
    }
}
