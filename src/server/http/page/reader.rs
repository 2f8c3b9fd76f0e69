//! Who reads the page, as far as a request tells: language, colours and name, from cookies and headers.
//!
//! Cookies hold nothing but these, are readable by the page, and are none of the server's business otherwise:
//! there is no session in them.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::AppendHeaders;
use serde::Deserialize;

use crate::app::Locale;
use crate::app::Theme;
use crate::protocol::BasePath;
use crate::protocol::UserId;
use crate::server::http::shares::AddressShare;

/// The cookie that holds the reader's name.
const NAME: &str = "name";

/// Seconds that a choice is remembered: a year.
const REMEMBERED: u32 = 365 * 24 * 60 * 60;

/// How the page should be.
#[derive(Clone, Debug)]
pub(in crate::server::http) struct ReaderPreferences {
    pub(in crate::server::http) locale: Locale,
    pub(in crate::server::http) theme: Theme,
    /// Empty if none was ever given.
    pub(super) name: String,
    /// The share of its address.
    pub(in crate::server::http) share: Arc<AddressShare>,
}

impl ReaderPreferences {
    /// Returns the reader that sent `headers`, from the address that has `share`.
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

/// What a link or a form of the page asks for in its query. What is none of the choices chooses nothing.
#[derive(Debug, Deserialize)]
pub(in crate::server::http) struct Choice {
    language: Option<String>,
    theme: Option<String>,
    pub(super) room: Option<String>,
}

impl Choice {
    /// Returns the cookies that remember it under `base`, if anything was chosen.
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

/// Returns the header that makes a browser remember `value`, which has only characters that a cookie may have, for pages
/// under `base`.
fn set_cookie(
    name: &str,
    value: &str,
    base: &BasePath,
) -> Option<(header::HeaderName, HeaderValue)> {
    let path = base.join("/");
    let cookie = format!("{name}={value}; Path={path}; Max-Age={REMEMBERED}; SameSite=Lax");
    Some((header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?))
}

/// Returns the header that makes a browser remember the reader's name, for pages under `base`.
pub(super) fn name_cookie(
    name: &UserId,
    base: &BasePath,
) -> Option<(header::HeaderName, HeaderValue)> {
    set_cookie(NAME, &encoded(name.as_str()), base)
}

/// The cookie called `name`, as `encodeURIComponent` wrote it.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let value = cookies
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| {
            let (found, value) = cookie.split_once('=')?;
            (found.trim() == name).then_some(value.trim())
        })?;
    decoded(value)
}

/// Every byte that is no letter or digit as `%` and two digits.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::server::http::shares::AddressShares;
    use crate::server::session::IpBucket;

    /// Returns what a request with `cookies` tells.
    fn read(cookies: &str) -> (Locale, Theme, String) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("zh-CN"));
        headers.insert(
            header::COOKIE,
            HeaderValue::from_str(cookies).expect("a header"),
        );
        let home = IpBucket::of(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let reader = ReaderPreferences::of(AddressShares::default().of(home), &headers);
        (reader.locale, reader.theme, reader.name)
    }

    #[test]
    fn a_choice_counts_more_than_what_the_browser_prefers() {
        let told = read("other=1; language=en;theme=dark; name=%E6%9D%8E%E9%9B%B7");
        assert_eq!(told, (Locale::En, Theme::Dark, "李雷".to_owned()));
    }

    #[test]
    fn a_cookie_that_makes_no_sense_is_none() {
        let none = (Locale::ZhCn, Theme::System, String::new());
        for cookies in [
            "",
            "language=xx; theme=pink; name=%",
            "name=%0a; language",
            "name=%ff;theme=",
        ] {
            assert_eq!(read(cookies), none, "{cookies}");
        }
    }

    proptest! {
        #[test]
        fn a_name_comes_back_as_it_was_remembered(name in "\\PC{1,64}") {
            prop_assert_eq!(decoded(&encoded(&name)), Some(name));
        }
    }
}
