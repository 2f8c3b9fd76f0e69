//! A URL that the page requests or links to: a path of its own origin, or a URL of another one.

use std::fmt;

use crate::server::auth::{Origin, Scheme};

/// A URL that the page requests or links to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageUrl {
    text: String,
    /// The origin; `None` for a path of the page's own.
    origin: Option<Origin>,
}

/// The error of a text that is not a [`PageUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a path like /session/token, or a URL like https://id.example.org/token; http:// for loopback addresses only, no IPv6 address"
)]
pub struct PageUrlError;

impl PageUrl {
    /// Parses an absolute path, or a URL with https, or with http and a loopback address.
    ///
    /// # Errors
    /// [`PageUrlError`] for anything else, such as a URL of IPv6, which a `Content-Security-Policy` cannot contain.
    pub fn parse(text: &str) -> Result<Self, PageUrlError> {
        // Browsers read `\` as `/`. A fragment is for the page that is linked to, and no part of a request.
        let is_url = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
        if !is_url {
            return Err(PageUrlError);
        }

        let origin = if text.starts_with('/') && !text.starts_with("//") {
            None
        } else {
            Some(other_origin(text).ok_or(PageUrlError)?)
        };
        Ok(Self {
            text: text.to_owned(),
            origin,
        })
    }

    /// Returns the origin; `None` for a path of the page's own.
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns the origin of `url`, if the page may use it.
fn other_origin(url: &str) -> Option<Origin> {
    let (scheme, rest) = Scheme::split(url)?;
    let authority = rest.split(['/', '?']).next()?;
    let origin = Origin::parse(&format!("{}://{authority}", scheme.name())).ok()?;

    let host = origin.authority();
    let is_safe = scheme == Scheme::Https || host.is_loopback();
    (is_safe && !host.is_ipv6()).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_path_or_has_another_origin() {
        for (text, origin) in [
            ("/token", None),
            ("/session/token?for=chat", None),
            ("https://id.example.org", Some("https://id.example.org")),
            (
                "https://ID.example.org:8443/a?b=c",
                Some("https://id.example.org:8443"),
            ),
            (
                "https://id.example.org?a=/b",
                Some("https://id.example.org"),
            ),
            ("http://127.0.0.1:8080/token", Some("http://127.0.0.1:8080")),
            ("http://localhost/token", Some("http://localhost")),
        ] {
            let url = PageUrl::parse(text).expect("a URL");

            assert_eq!(url.to_string(), text);
            assert_eq!(
                url.origin().map(ToString::to_string).as_deref(),
                origin,
                "{text}"
            );
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in [
            "",
            "token",
            "//evil.example/token",
            "/\\evil.example",
            "/token#a",
            "/to ken",
            "http://id.example.org/token",
            "ftp://id.example.org/token",
            "javascript:alert(1)",
            "https://",
            "https://ann@id.example.org/",
            "https://[::1]/token",
            "https://id.example.org/\ttoken",
        ] {
            assert_eq!(PageUrl::parse(text), Err(PageUrlError), "{text}");
        }
    }
}
