//! The codes that the server closes WebSockets with.
//!
//! Codes 1000 to 1999 are those of RFC 6455 section 7.4.1 and its IANA registry. Codes 4000 to 4499 are Fanfare's and
//! mean "reconnect"; codes from 4500 mean "do not reconnect". The reason appears in the Close frame and in the log. It
//! is a constant, so no input can change it.

/// The reason why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: the client closed the connection, or its room was closed or deleted.
    Done,
    /// 1001: the server is stopping or restarting.
    GoingAway,
    /// 1002: a frame broke RFC 6455.
    Protocol,
    /// 1007: a text message was not UTF-8.
    NotUtf8,
    /// 1009: a message was larger than `--max-message`.
    TooBig,
    /// 1013: the store cannot be read now, so the next messages are unknown.
    TryAgainLater,
    /// 4000: the client sent nothing for `--expire`.
    Expired,
    /// 4001: the client sent more messages than `--message-rate` allows.
    TooFast,
    /// 4002: the client did not read its messages in time.
    TooSlow,
    /// 4003: an admin closed the connection.
    Kicked,
    /// 4500: the token is missing, invalid or expired.
    BadToken,
    /// 4501: the token does not allow this.
    NotAllowed,
    /// 4502: the room or the id in the URL is not valid.
    BadName,
}

impl CloseCode {
    /// All codes, in order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::GoingAway,
        Self::Protocol,
        Self::NotUtf8,
        Self::TooBig,
        Self::TryAgainLater,
        Self::Expired,
        Self::TooFast,
        Self::TooSlow,
        Self::Kicked,
        Self::BadToken,
        Self::NotAllowed,
        Self::BadName,
    ];

    /// Returns the number in the Close frame.
    pub const fn number(self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::TryAgainLater => 1013,
            Self::Expired => 4000,
            Self::TooFast => 4001,
            Self::TooSlow => 4002,
            Self::Kicked => 4003,
            Self::BadToken => 4500,
            Self::NotAllowed => 4501,
            Self::BadName => 4502,
        }
    }

    /// Returns the reason in the Close frame, at most 123 bytes (RFC 6455 section 5.5).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::GoingAway => "server going away",
            Self::Protocol => "protocol error",
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooBig => "message too big",
            Self::TryAgainLater => "messages cannot be read now, try again later",
            Self::Expired => "expired: no sign of life",
            Self::TooFast => "too many messages",
            Self::TooSlow => "too slow to read",
            Self::Kicked => "kicked by an admin",
            Self::BadToken => "token missing, wrong or expired",
            Self::NotAllowed => "not allowed",
            Self::BadName => "bad room or id",
        }
    }

    /// Returns true if a client should reconnect after a close with `number`.
    pub const fn allows_reconnect(number: u16) -> bool {
        number < 4500
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_number_and_a_reason_that_fits_a_control_frame() {
        for (at, code) in CloseCode::ALL.iter().enumerate() {
            assert!(code.reason().len() <= 123);
            assert!(
                CloseCode::ALL[..at]
                    .iter()
                    .all(|earlier| earlier.number() < code.number())
            );
        }
    }

    #[test]
    fn clients_come_back_except_after_4500_and_up() {
        for number in [1000, 1001, 1006, 1013, 4000, 4499] {
            assert!(CloseCode::allows_reconnect(number));
        }

        for number in [4500, 4999] {
            assert!(!CloseCode::allows_reconnect(number));
        }
    }
}
