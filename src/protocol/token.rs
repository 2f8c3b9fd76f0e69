//! A bearer token (RFC 6750): whoever has it may do what it says, so it must show nowhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// See the [module docs](self). Printed for debugging it is three dots; there is no other way to print it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Takes `token` as it is: only the server can say what it is worth.
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// The token itself, for whoever checks it, keeps it or sends it.
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
    fn a_token_travels_as_text_and_is_not_printed() {
        let command = Command::Token {
            token: Token::new("a.b.c".to_owned()),
        };
        let text = r#"{"type":"token","token":"a.b.c"}"#;
        assert_eq!(command.encode(), text);
        assert_eq!(Command::decode(text), Ok(command.clone()));
        assert!(!format!("{command:?}").contains("a.b.c"));
    }
}
