//! The path prefix of a server that shares its host with other services behind a proxy.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest base path, in bytes.
const MAX_BYTES: usize = 256;

/// The prefix of every path of a server, like `/chat`; empty if the server has its host to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BasePath(Arc<str>);

text_type!(BasePath);

/// The error for a text that is not a base path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a base path is a path like /chat, of letters, digits and - . _ ~ between slashes")]
pub struct BasePathError;

impl BasePath {
    /// Parses a path like `/chat` or `/apps/chat/`, with segments of `A-Za-z0-9-._~`. `/` is the empty base path.
    ///
    /// # Errors
    /// Returns an error for anything else, including an empty text and the segments `.` and `..`.
    pub fn parse(path: &str) -> Result<Self, BasePathError> {
        if path == "/" {
            return Ok(Self::default());
        }

        let segments = path.strip_prefix('/').ok_or(BasePathError)?;
        let segments = segments.strip_suffix('/').unwrap_or(segments);

        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let is_segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed);

        if path.len() <= MAX_BYTES && segments.split('/').all(is_segment) {
            Ok(Self(format!("/{segments}").into()))
        } else {
            Err(BasePathError)
        }
    }

    /// Returns true if the base path is empty.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `path`, which begins with a slash, below this base path.
    ///
    /// ```
    /// use fanfare::protocol::BasePath;
    ///
    /// let base = BasePath::parse("/apps/chat/").expect("a path");
    /// assert_eq!(base.join("/ws"), "/apps/chat/ws");
    /// assert_eq!(BasePath::default().join("/ws"), "/ws");
    /// ```
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Returns the part of `path` after this base path, or `None` if `path` is not below it.
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.as_str())
            .filter(|rest| rest.starts_with('/'))
    }
}

impl TryFrom<String> for BasePath {
    type Error = BasePathError;
    fn try_from(path: String) -> Result<Self, BasePathError> {
        Self::parse(&format!("{path}/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_a_path_of_plain_segments() {
        for (path, parsed) in [
            ("/", ""),
            ("/chat", "/chat"),
            ("/chat/", "/chat"),
            ("/apps/Chat-2.0/x_y~z", "/apps/Chat-2.0/x_y~z"),
        ] {
            assert_eq!(BasePath::parse(path).expect("a path").as_str(), parsed);
        }

        for path in [
            "",
            "chat",
            "chat/",
            "//",
            "/a//b",
            "/chat//",
            "/.",
            "/a/../b",
            "/a b",
            "/%63hat",
            "/a?b",
            "/a#b",
            "/室",
            "http://a/b",
        ] {
            assert_eq!(BasePath::parse(path), Err(BasePathError), "{path}");
        }

        assert!(BasePath::parse(&format!("/{}", "a".repeat(MAX_BYTES))).is_err());
    }

    #[test]
    fn only_paths_under_it_are_stripped() {
        let chat = BasePath::parse("/chat").expect("a path");

        for (path, rest) in [
            ("/chat/", Some("/")),
            ("/chat/r/lobby", Some("/r/lobby")),
            ("/chat//", Some("//")),
            ("/chat", None),
            ("/chats/", None),
            ("/Chat/", None),
            ("/", None),
        ] {
            assert_eq!(chat.strip(path), rest, "{path}");
        }

        assert_eq!(BasePath::default().strip("/r/lobby"), Some("/r/lobby"));
        assert_eq!(chat.join("/r/lobby"), "/chat/r/lobby");
    }
}
