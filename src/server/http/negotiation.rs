//! Content negotiation (RFC 9110 section 12.5): the choice of the form that a client prefers.
//!
//! Elements that break the grammar are ignored.

use std::cmp::Reverse;

use axum::http::{HeaderMap, HeaderName, header};

use crate::protocol::{FULL_WEIGHT, parse_weight};

/// A form that the server offers: its names in the header, and the value that represents it.
pub(super) type Offer<T> = (&'static [&'static str], T);

/// One element of an `Accept…` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Preference<'a> {
    /// A media range or a content coding, without parameters.
    range: &'a str,
    /// The weight in thousandths; 0 means "not acceptable".
    weight: u16,
}

/// The rank of an offer: by the weight of the element that matches it, by how specific the element is, and by its place
/// in the header. The greatest wins.
type Fit = (u16, Specificity, Reverse<usize>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// `*/*` or `*`.
    Any,
    /// `text/*`.
    Type,
    /// `text/html` or `gzip`.
    Exact,
}

/// Returns the media type of `offers` that `Accept` prefers, the first of equals. If the header matches none of them,
/// returns the first one that it does not refuse; `None` if it refuses all.
pub(super) fn media_type<'a, T>(headers: &HeaderMap, offers: &'a [Offer<T>]) -> Option<&'a T> {
    let preferences = preferences(headers, &header::ACCEPT);
    let fits: Vec<Option<Fit>> = offers
        .iter()
        .map(|(names, _)| fit(&preferences, names))
        .collect();

    let best = fits
        .iter()
        .enumerate()
        .filter_map(|(at, fit)| {
            fit.filter(|(weight, ..)| *weight > 0)
                .zip(Some(Reverse(at)))
        })
        .max()
        .map(|(_, Reverse(at))| at);
    let chosen = best.or_else(|| fits.iter().position(Option::is_none))?;

    offers.get(chosen).map(|(_, value)| value)
}

/// Returns the content coding of `offers` that `Accept-Encoding` prefers, the first of equals; `None` for the identity
/// coding, which clients that accept nothing get too (RFC 9110 section 12.5.3).
pub(super) fn content_coding<T>(
    headers: &HeaderMap,
    offers: impl IntoIterator<Item = Offer<T>>,
) -> Option<T> {
    let preferences = preferences(headers, &header::ACCEPT_ENCODING);
    let weight = |names: &[&str]| fit(&preferences, names).map_or(0, |(weight, ..)| weight);
    let identity = weight(&["identity"]);

    offers
        .into_iter()
        .enumerate()
        .map(|(at, (names, value))| (weight(names), Reverse(at), value))
        .filter(|(weight, ..)| *weight > 0 && *weight >= identity)
        .max_by_key(|(weight, at, _)| (*weight, *at))
        .map(|(_, _, value)| value)
}

/// Splits `text` at each `separator` that is not part of a quoted string (RFC 9110 section 5.6.4).
pub(super) fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;

    text.split(move |found| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match found {
            _ if was_escaped => {}
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            _ => return found == separator && !is_quoted,
        }
        false
    })
}

/// Returns the rank of the offer called `names`. If several elements match it, the most specific one counts (RFC 9110
/// section 12.5.1).
fn fit(preferences: &[Preference<'_>], names: &[&str]) -> Option<Fit> {
    preferences
        .iter()
        .enumerate()
        .filter_map(|(at, preference)| {
            let specificity = names
                .iter()
                .filter_map(|name| preference.covers(name))
                .max()?;
            Some((specificity, Reverse(at), preference.weight))
        })
        .max()
        .map(|(specificity, at, weight)| (weight, specificity, at))
}

/// Returns the elements of the headers called `name`.
fn preferences<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<Preference<'a>> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split_unquoted(value, ','))
        .filter_map(Preference::parse)
        .collect()
}

impl<'a> Preference<'a> {
    /// Parses an element; `None` if it breaks the grammar.
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = split_unquoted(element, ';').map(str::trim);
        let range = parts.next().filter(|range| !range.is_empty())?;

        // The weight may follow parameters of the media range, and precede extensions.
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(FULL_WEIGHT), |(_, value)| parse_weight(value.trim()))?;

        Some(Self { range, weight })
    }

    /// Returns how specifically the element matches `name`; `None` if it does not.
    fn covers(&self, name: &str) -> Option<Specificity> {
        let is_of_type = |prefix: &str| {
            name.split_once('/')
                .is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(prefix))
        };

        match self.range {
            "*" | "*/*" => Some(Specificity::Any),
            range if range.eq_ignore_ascii_case(name) => Some(Specificity::Exact),
            range => range
                .strip_suffix("/*")
                .is_some_and(is_of_type)
                .then_some(Specificity::Type),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const STREAMS: [Offer<&str>; 2] = [
        (&["text/event-stream"], "events"),
        (&["application/x-ndjson", "application/ndjson"], "lines"),
    ];
    const CODINGS: [Offer<&str>; 2] = [(&["br"], "br"), (&["gzip", "x-gzip"], "gzip")];

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a header");
        HeaderMap::from_iter([(name, value)])
    }

    fn stream(accept: &str) -> Option<&'static str> {
        media_type(&headers(header::ACCEPT, accept), &STREAMS).copied()
    }

    fn coding(accept: &str) -> Option<&'static str> {
        content_coding(&headers(header::ACCEPT_ENCODING, accept), CODINGS)
    }

    #[test]
    fn the_media_type_of_the_greatest_weight_is_chosen() {
        for (accept, chosen) in [
            ("Application/NDJSON", "lines"),
            (
                "application/x-ndjson; Q=0.1, text/event-stream ; q=0.12",
                "events",
            ),
            (
                "application/x-ndjson;charset=utf-8;q=0.1, text/event-stream;q=0.2",
                "events",
            ),
            ("application/*;q=0.8, */*;q=0.1", "lines"),
            ("text/*, application/x-ndjson;q=0.5", "events"),
            (
                "text/html;a=\"application/x-ndjson, x\", */*;q=0.8",
                "events",
            ),
        ] {
            assert_eq!(stream(accept), Some(chosen), "{accept}");
        }
    }

    #[test]
    fn of_equal_weights_the_more_specific_wins_and_then_the_first() {
        for (accept, chosen) in [
            ("*/*, application/x-ndjson", "lines"),
            ("*/*, application/*", "lines"),
            ("application/x-ndjson, text/event-stream", "lines"),
            ("text/event-stream, application/x-ndjson", "events"),
            ("*/*", "events"),
        ] {
            assert_eq!(stream(accept), Some(chosen), "{accept}");
        }
    }

    #[test]
    fn a_media_type_of_weight_zero_is_never_chosen() {
        for (accept, chosen) in [
            ("application/x-ndjson;q=0", Some("events")),
            ("application/x-ndjson;q=0.000, */*", Some("events")),
            ("text/event-stream;q=0, */*;q=0.1", Some("lines")),
            ("text/event-stream;q=0", Some("lines")),
            ("*/*;q=0, application/x-ndjson;q=0.1", Some("lines")),
            ("text/event-stream;q=0, application/*;q=0", None),
            ("*/*;q=0", None),
        ] {
            assert_eq!(stream(accept), chosen, "{accept}");
        }
    }

    #[test]
    fn without_a_media_type_that_is_offered_the_first_offer_is_chosen() {
        for accept in ["", ",,;", "text/html", "text/html, application/json;q=0.9"] {
            assert_eq!(stream(accept), Some("events"), "{accept}");
        }
        assert_eq!(media_type(&HeaderMap::new(), &STREAMS), Some(&"events"));
    }

    #[test]
    fn an_element_whose_weight_breaks_the_grammar_is_ignored() {
        for q in ["q=2", "q=1.001", "q=-1", "q=nan", "q=0.1234", "q=+0", "q="] {
            let accept = format!("application/x-ndjson;{q}, text/event-stream;q=0.001");
            assert_eq!(stream(&accept), Some("events"), "{q}");
        }
    }

    #[test]
    fn the_content_coding_of_the_greatest_weight_is_chosen() {
        for (accept, chosen) in [
            ("br", Some("br")),
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip;q=0.5,BR;q=0.1", Some("gzip")),
            ("X-Gzip", Some("gzip")),
            ("*", Some("br")),
            ("*, br;q=0", Some("gzip")),
            ("br;q=0.5, identity;q=0.5", Some("br")),
            ("identity, br;q=0.5", None),
            ("", None),
            ("identity", None),
            ("br;q=0", None),
            ("*;q=0", None),
            ("brotli", None),
        ] {
            assert_eq!(coding(accept), chosen, "{accept}");
        }

        assert_eq!(content_coding(&HeaderMap::new(), CODINGS), None);
    }

    proptest! {
        #[test]
        fn arbitrary_headers_do_not_panic(accept in "[a-z*/;,=q0-9.\" \\\\]{0,60}") {
            // Any choice is right.
            let _ = stream(&accept);
            let _ = coding(&accept);
        }
    }
}
