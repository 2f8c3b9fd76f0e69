//! Offset tokens: the epoch and the offset of the last message that a reader has read, `EPOCH_OFFSET`. The offset has leading
//! zeros, so that the tokens of a stream are in the order of their text.

use crate::protocol::{Epoch, Offset};
use crate::server::http::error::ApiError;
use crate::server::hub::Resume;

/// The digits of an offset: all numbers below 2^53 fit.
const DIGITS: usize = 16;

/// The offset from which a request reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartOffset {
    /// `-1`: all messages that are kept.
    Beginning,
    /// `now`: only later messages.
    Now,
    /// The messages after one that was read.
    After(Epoch, Offset),
}

impl StartOffset {
    /// Parses the query parameter `offset`.
    ///
    /// # Errors
    /// Returns an error if it is not a token that a server returns.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "-1" => return Ok(Self::Beginning),
            "now" => return Ok(Self::Now),
            _ => {}
        }

        let is_valid = |(epoch, offset): &(&str, &str)| {
            offset.len() == DIGITS
                && offset.bytes().all(|byte| byte.is_ascii_digit())
                && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let parts = text.split_once('_').filter(is_valid);
        parts
            .and_then(|(epoch, offset)| {
                let offset = Offset(offset.parse().ok()?);
                Some(Self::After(Epoch::from(epoch.to_owned()), offset))
            })
            .ok_or(ApiError::Parameter {
                name: "offset",
                allowed: "-1, now, or a Stream-Next-Offset of this server",
            })
    }

    /// Returns the position of a reader that begins here; `None` for the newest message.
    pub(super) fn resume(&self) -> Option<Resume> {
        let (after, epoch) = match self {
            Self::Now => return None,
            Self::Beginning => (Offset(0), None),
            Self::After(epoch, offset) => (*offset, Some(epoch.clone())),
        };
        Some(Resume { after, epoch })
    }
}

/// Returns the token of a reader that has read up to `offset`.
pub(super) fn token(epoch: &Epoch, offset: Offset) -> String {
    format!("{epoch}_{offset:0DIGITS$}", offset = offset.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let epoch = Epoch::new(0xAB);

        let text = token(&epoch, Offset(7));

        assert_eq!(text, "000000ab_0000000000000007");
        let read = StartOffset::parse(&text).expect("a token");
        assert_eq!(read, StartOffset::After(epoch.clone(), Offset(7)));
        assert!(token(&epoch, Offset(9)) < token(&epoch, Offset(10)));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "7", "-2", "0,1", "000000ab_7", "../_0000000000000007"] {
            assert!(StartOffset::parse(text).is_err(), "{text}");
        }
    }
}
