//! Finds the web addresses in what people say. Pure: the text stays as it is, only cut in pieces.
//!
//! Nothing but `http` and `https` is a link, so no text can become a script.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Words.
    Words(&'a str),
    /// A web address.
    Link(&'a str),
}

/// What a link begins with.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// What may stand in a sentence right behind a link and is not meant to be part of it.
const CLOSING: &[char] = &[
    '.', ',', ';', ':', '!', '?', '\'', '"', ')', ']', '}', '>', '*', '_',
];

/// Cuts `text` in pieces that together are `text`.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(at) = find_scheme(rest, from) {
        let length = link_length(&rest[at..]);
        if length == 0 {
            from = at + 1;
            continue;
        }
        if at > 0 {
            pieces.push(Piece::Words(&rest[..at]));
        }
        pieces.push(Piece::Link(&rest[at..at + length]));
        rest = &rest[at + length..];
        from = 0;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Words(rest));
    }
    pieces
}

fn find_scheme(text: &str, from: usize) -> Option<usize> {
    SCHEMES
        .iter()
        .filter_map(|scheme| text[from..].find(scheme))
        .min()
        .map(|at| at + from)
}

/// How long the link is that `text` begins with; 0 if there is nothing behind the scheme.
fn link_length(text: &str) -> usize {
    // Chinese sentences have no space behind a link, so it ends where they go on.
    let end = text.find(|c: char| !c.is_ascii_graphic() || matches!(c, '<' | '"' | '`'));
    let mut link = &text[..end.unwrap_or(text.len())];
    while let Some(shorter) = link.strip_suffix(CLOSING) {
        // A bracket that the link itself has opened is its own: Wikipedia's addresses end so.
        if link.ends_with(')') && link.matches('(').count() >= link.matches(')').count() {
            break;
        }
        link = shorter;
    }
    let scheme = SCHEMES.iter().find(|scheme| link.starts_with(**scheme));
    scheme
        .filter(|scheme| link.len() > scheme.len())
        .map_or(0, |_| link.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(text: &str) -> Vec<&str> {
        pieces(text)
            .into_iter()
            .filter_map(|piece| {
                if let Piece::Link(link) = piece {
                    Some(link)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn a_link_ends_where_the_sentence_goes_on() {
        for (text, link) in [
            (
                "see https://example.org/slides, second half",
                "https://example.org/slides",
            ),
            ("(http://a.b/c?d=e&f#g).", "http://a.b/c?d=e&f#g"),
            (
                "https://en.wikipedia.org/wiki/Log_(disambiguation)",
                "https://en.wikipedia.org/wiki/Log_(disambiguation)",
            ),
            ("在https://example.org/页看", "https://example.org/"),
            ("<https://a.b>", "https://a.b"),
            ("https://a.b\nhttp", "https://a.b"),
        ] {
            assert_eq!(links(text), [link], "{text}");
        }
        assert_eq!(links("http://a https://b"), ["http://a", "https://b"]);
    }

    #[test]
    fn nothing_else_is_a_link() {
        for text in [
            "javascript:alert(1)",
            "https://",
            "http://...",
            "ftp://a.b",
            "data:text/html,x",
            "www.a.b",
            "",
        ] {
            assert_eq!(links(text), [""; 0], "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_together_are_the_text(text in "(?s)([a-z)(. 页]|https?://|<){0,20}") {
            let whole: String = pieces(&text).into_iter().map(|piece| match piece {
                Piece::Words(part) | Piece::Link(part) => part,
            }).collect();
            prop_assert_eq!(whole, text);
        }

        #[test]
        fn every_link_begins_with_a_scheme_that_is_safe(text in "(?s).*(https?://)?.*") {
            for link in links(&text) {
                prop_assert!(SCHEMES.iter().any(|scheme| link.starts_with(scheme)));
            }
        }
    }
}
