//! A bearer token (RFC 6750). Anyone who holds it has its rights, so it must not appear in logs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A bearer token. Its `Debug` output hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Wraps `token` without checking it; only the server can verify it.
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// Returns the token itself, to verify, store or send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Command;

    #[test]
    fn a_token_is_encoded_as_text_and_hidden_in_debug_output() {
        let command = Command::Token {
            token: Token::new("a.b.c".to_owned()),
        };
        let text = r#"{"type":"token","token":"a.b.c"}"#;

        assert_eq!(command.encode(), text);
        assert_eq!(Command::decode(text), Ok(command.clone()));
        assert!(!format!("{command:?}").contains("a.b.c"));
    }
}
