//! The languages of the page.
//!
//! Each language is one file with one constant. [`Text`] has a field for each text, so a missing one does not
//! compile. The server chooses the language, by the user's choice or by `Accept-Language`, and both sides render with
//! it.

mod text;
mod en;
mod zh_cn;
#[cfg(feature = "ssr")]
mod admin;
mod error_page;

#[cfg(feature = "ssr")]
pub use admin::AdminText;
pub use error_page::ProblemText;
pub use text::Text;

use std::cmp::Reverse;

use leptos::prelude::*;
use serde::{Deserialize, Serialize};

use crate::protocol::{FULL_WEIGHT, parse_weight};

/// A language of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Locale {
    /// English, also for users whose language is not supported.
    #[default]
    #[serde(rename = "en")]
    En,
    /// Chinese in simplified characters.
    #[serde(rename = "zh-CN")]
    ZhCn,
}

impl Locale {
    /// The name of the cookie that stores the user's choice, and of the query field that sets it.
    pub const NAME: &'static str = "language";

    /// All languages, in order of preference for users without one.
    pub const ALL: [Self; 2] = [Self::En, Self::ZhCn];

    /// Returns the tag for `<html lang>`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }

    /// Returns the language of this tag.
    pub fn parse(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|locale| locale.tag() == tag)
    }

    /// Returns the texts of the language.
    pub const fn text(self) -> &'static Text {
        match self {
            Self::En => &en::EN,
            Self::ZhCn => &zh_cn::ZH_CN,
        }
    }

    /// Returns the language that an `Accept-Language` header prefers (RFC 9110 section 12.5.4).
    ///
    /// Invalid elements are ignored. English is the default if the header names none of our languages. The header is
    /// read once, regardless of the number of its elements.
    pub fn negotiate(accept_language: Option<&str>) -> Self {
        let mut named = Self::ALL.map(|_| LanguagePreference::default());
        let mut any = LanguagePreference::default();

        let elements = accept_language.unwrap_or_default().split(',');
        for (place, element) in elements.filter_map(Element::parse).enumerate() {
            match element.range {
                Range::One(locale) => named[locale as usize].add(element.weight, place),
                Range::Any => any.add(element.weight, place),
                Range::Other => {}
            }
        }

        // `*` matches the first language that the header does not name.
        let unnamed = Self::ALL
            .into_iter()
            .find(|locale| !named[*locale as usize].is_named);
        let wanted = Self::ALL
            .into_iter()
            .filter(|locale| !named[*locale as usize].is_refused)
            .map(|locale| (locale, &named[locale as usize]))
            .chain(unnamed.map(|locale| (locale, &any)));
        wanted
            .filter_map(|(locale, preference)| Some((preference.best?, locale)))
            .max_by_key(|(best, _)| *best)
            .map(|(_, locale)| locale)
            .unwrap_or_default()
    }
}

/// Returns the language of the page that is being rendered.
pub fn use_locale() -> Locale {
    expect_context()
}

/// Returns the texts of that language.
pub fn use_text() -> &'static Text {
    use_locale().text()
}

/// The combined elements of the header that name one language range.
#[derive(Default)]
struct LanguagePreference {
    is_named: bool,
    /// True if an element has the weight 0.
    is_refused: bool,
    /// The greatest weight, and the position of its first element. Among equal weights the first element wins.
    best: Option<(u16, Reverse<usize>)>,
}

impl LanguagePreference {
    fn add(&mut self, weight: u16, place: usize) {
        self.is_named = true;
        if weight == 0 {
            self.is_refused = true;
        } else {
            self.best = self.best.max(Some((weight, Reverse(place))));
        }
    }
}

/// An element of the header.
struct Element {
    range: Range,
    /// The q-value in thousandths.
    weight: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Range {
    One(Locale),
    Any,
    Other,
}

impl Element {
    fn parse(element: &str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let range = Range::parse(parts.next()?);
        let weight = match parts.next() {
            None => FULL_WEIGHT,
            Some(parameter) => weight(parameter)?,
        };
        Some(Self { range, weight })
    }
}

impl Range {
    fn parse(range: &str) -> Self {
        if range == "*" {
            return Self::Any;
        }

        let range = range.to_ascii_lowercase();
        let mut subtags = range.split('-');
        match subtags.next() {
            Some("en") => Self::One(Locale::En),
            // Traditional Chinese, and the regions that write it, is a different language, which is not supported.
            Some("zh") if subtags.all(|subtag| !matches!(subtag, "hant" | "tw" | "hk" | "mo")) => {
                Self::One(Locale::ZhCn)
            }
            _ => Self::Other,
        }
    }
}

/// Returns the weight in `parameter`, like `q=0.8`.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    name.trim()
        .eq_ignore_ascii_case("q")
        .then(|| parse_weight(value.trim()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(header: &str) -> &'static str {
        Locale::negotiate(Some(header)).tag()
    }

    #[test]
    fn whoever_asks_for_chinese_gets_chinese() {
        for header in [
            "zh",
            "zh-CN",
            "ZH-cn",
            "zh-Hans",
            "zh-Hans-SG",
            "zh-CN,zh;q=0.9,en;q=0.8",
            " zh ; q=1.0 ",
        ] {
            assert_eq!(speaks(header), "zh-CN", "{header}");
        }
    }

    #[test]
    fn everybody_else_gets_english() {
        for header in [
            "en",
            "en-GB",
            "fr",
            "fr,de;q=0.5",
            "*",
            "",
            ",,;",
            "zh-TW",
            "zh-Hant-HK",
            "zhx",
        ] {
            assert_eq!(speaks(header), "en", "{header}");
        }

        assert_eq!(Locale::negotiate(None), Locale::En);
    }

    #[test]
    fn the_greater_weight_wins_wherever_it_stands() {
        assert_eq!(speaks("en;q=0.8,zh;q=0.9"), "zh-CN");
        assert_eq!(speaks("zh;q=0.8,en;q=0.9"), "en");
        assert_eq!(speaks("zh;q=0.123,en;q=0.12"), "zh-CN");
        assert_eq!(speaks("fr,zh;q=0.1"), "zh-CN");
        assert_eq!(speaks("zh-TW,zh;q=0.9,en-US;q=0.8"), "zh-CN");
    }

    #[test]
    fn of_equal_weights_the_first_wins() {
        assert_eq!(speaks("en,zh"), "en");
        assert_eq!(speaks("zh,en"), "zh-CN");
        assert_eq!(speaks("en;q=0.5,zh;q=0.500"), "en");
    }

    #[test]
    fn a_weight_of_nothing_refuses() {
        assert_eq!(speaks("zh;q=0"), "en");
        assert_eq!(speaks("zh-CN;q=0,zh"), "en");
        assert_eq!(speaks("zh;q=0.000,en;q=0.1"), "en");
    }

    #[test]
    fn the_wildcard_means_what_is_not_named() {
        assert_eq!(speaks("en;q=0,*"), "zh-CN");
        assert_eq!(speaks("en;q=0.2,*;q=0.5"), "zh-CN");
        assert_eq!(speaks("zh,*;q=0.5"), "zh-CN");
        assert_eq!(speaks("*;q=0,fr"), "en");
    }

    #[test]
    fn what_breaks_the_grammar_is_passed_over() {
        for q in [
            "q=2", "q=1.001", "q=-1", "q=nan", "q=0.1234", "q=+0", "q=", "q", "x=1",
        ] {
            assert_eq!(speaks(&format!("zh;{q},en;q=0.1")), "en", "{q}");
        }
    }
}
