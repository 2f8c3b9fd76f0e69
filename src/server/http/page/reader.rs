//! The preferences of a page's reader: language, theme and name, from cookies and headers.
//!
//! There are no other cookies, and no sessions. The page's scripts can read the cookies.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::AppendHeaders;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;

use crate::app::{Locale, Theme};
use crate::protocol::{BasePath, Offset, UserId};
use crate::server::http::shares::AddressShare;

/// The cookie with the reader's name.
const NAME: &str = "name";

/// The lifetime of cookies: a year, in seconds.
const MAX_AGE: u32 = 365 * 24 * 60 * 60;

/// The preferences of a reader.
#[derive(Clone, Debug)]
pub(in crate::server::http) struct ReaderPreferences {
    pub(in crate::server::http) locale: Locale,
    pub(in crate::server::http) theme: Theme,
    /// The name of the last message, or an empty string.
    pub(super) name: String,
    /// The share of the reader's address.
    pub(in crate::server::http) share: Arc<AddressShare>,
}

impl ReaderPreferences {
    /// Returns the preferences in `headers`, of a reader with `share`.
    pub(in crate::server::http) fn of(share: Arc<AddressShare>, headers: &HeaderMap) -> Self {
        let language = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        let chosen = cookie(headers, Locale::NAME).and_then(|tag| Locale::parse(&tag));
        let name = cookie(headers, NAME).filter(|name| UserId::parse(name).is_ok());

        Self {
            locale: chosen.unwrap_or_else(|| Locale::negotiate(language)),
            theme: cookie(headers, Theme::NAME)
                .map(|tag| Theme::parse(&tag))
                .unwrap_or_default(),
            name: name.unwrap_or_default(),
            share,
        }
    }
}

/// The choices in the query of a link or form of the page. Unknown values are ignored.
#[derive(Debug, Deserialize)]
pub(in crate::server::http) struct PageQuery {
    language: Option<String>,
    theme: Option<String>,
    pub(super) room: Option<String>,
    at: Option<String>,
}

impl PageQuery {
    /// Returns the offset of the message around which the page begins; `None` for the newest messages.
    pub(super) fn offset(&self) -> Option<Offset> {
        self.at.as_deref()?.parse().ok().map(Offset)
    }

    /// Returns the cookies that store the choices, for pages under `base`; `None` if nothing was chosen.
    pub(in crate::server::http) fn cookies(
        &self,
        base: &BasePath,
    ) -> Option<AppendHeaders<Vec<(header::HeaderName, HeaderValue)>>> {
        let language = self.language.as_deref().and_then(Locale::parse);
        let language = language.and_then(|locale| set_cookie(Locale::NAME, locale.tag(), base));
        let theme = self.theme.as_deref().map(Theme::parse);
        let theme = theme.and_then(|theme| set_cookie(Theme::NAME, theme.tag(), base));

        let cookies: Vec<_> = language.into_iter().chain(theme).collect();
        (!cookies.is_empty()).then_some(AppendHeaders(cookies))
    }
}

/// Returns the header that sets a cookie for pages under `base`. `value` must have only characters allowed in cookies.
fn set_cookie(
    name: &str,
    value: &str,
    base: &BasePath,
) -> Option<(header::HeaderName, HeaderValue)> {
    let path = base.join("/");
    let cookie = format!("{name}={value}; Path={path}; Max-Age={MAX_AGE}; SameSite=Lax");
    Some((header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?))
}

/// Returns the header that sets the cookie with the reader's name, for pages under `base`.
pub(super) fn name_cookie(
    name: &UserId,
    base: &BasePath,
) -> Option<(header::HeaderName, HeaderValue)> {
    let name = utf8_percent_encode(name.as_str(), NON_ALPHANUMERIC);
    set_cookie(NAME, &name.to_string(), base)
}

/// Returns the decoded value of the cookie `name`; `None` if it is missing or invalid.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let value = cookies
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| {
            let (key, value) = cookie.split_once('=')?;
            (key.trim() == name).then_some(value.trim())
        })?;

    let value = percent_decode_str(value).decode_utf8().ok()?;
    Some(value.into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::server::http::shares::AddressShares;
    use crate::server::session::IpBucket;

    /// Returns the locale, the theme and the name of a Chinese browser with `cookies`.
    fn preferences(cookies: &str) -> (Locale, Theme, String) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("zh-CN"));
        headers.insert(
            header::COOKIE,
            HeaderValue::from_str(cookies).expect("a header"),
        );
        let host = IpBucket::of(IpAddr::V4(Ipv4Addr::LOCALHOST));

        let reader = ReaderPreferences::of(AddressShares::default().of(host), &headers);
        (reader.locale, reader.theme, reader.name)
    }

    #[test]
    fn cookies_take_precedence_over_the_language_of_the_browser() {
        let (locale, theme, name) =
            preferences("other=1; language=en;theme=dark; name=%E6%9D%8E%E9%9B%B7");

        assert_eq!(locale, Locale::En);
        assert_eq!(theme, Theme::Dark);
        assert_eq!(name, "李雷");
    }

    #[test]
    fn invalid_cookies_are_ignored() {
        let defaults = (Locale::ZhCn, Theme::System, String::new());

        for cookies in [
            "",
            "language=xx; theme=pink; name=",
            "name=%0a; language",
            "name=%ff;theme=",
        ] {
            assert_eq!(preferences(cookies), defaults, "{cookies}");
        }
    }
}
