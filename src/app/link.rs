//! The URLs in the texts of messages. Pure: the text is split into pieces and not changed.
//!
//! Only `http` and `https` URLs become links, so no text can become a script. The search is linear in the length of
//! the text, because any user can send one and every page that shows it pays for the search.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPiece<'a> {
    /// Plain text.
    Words(&'a str),
    /// A URL.
    Link(&'a str),
}

/// The schemes of links, longest first.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// The maximum number of links in one text; further URLs stay plain text. A link is an element of the page and many
/// times larger than its URL.
const MAX_LINKS: usize = 100;

/// Characters at the end of a URL that belong to the sentence around it.
const CLOSING: &[char] = &[
    '.', ',', ';', ':', '!', '?', '\'', '"', ')', ']', '}', '>', '*', '_',
];

/// Splits `text` into pieces whose concatenation is `text`.
pub fn pieces(text: &str) -> Vec<LinkPiece<'_>> {
    let mut pieces = Vec::new();
    let mut words = 0;

    for (start, end) in links(text).take(MAX_LINKS) {
        if start > words {
            pieces.push(LinkPiece::Words(&text[words..start]));
        }
        pieces.push(LinkPiece::Link(&text[start..end]));
        words = end;
    }

    if words < text.len() {
        pieces.push(LinkPiece::Words(&text[words..]));
    }
    pieces
}

/// Returns the bounds of the links in `text`, in order.
fn links(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let (start, scheme) = find_scheme(text, from)?;

            // Chinese sentences have no space after a URL, so a URL ends at the first character that is not ASCII.
            let run = &text[start..];
            let is_outside = |c: char| !c.is_ascii_graphic() || matches!(c, '<' | '"' | '`');
            let run = &run[..run.find(is_outside).unwrap_or(run.len())];

            let link = without_closing(run);
            if link.len() > scheme.len() {
                from = start + link.len();
                return Some((start, from));
            }
            // After the scheme, the run has only closing characters, so it contains no other link.
            from = start + run.len();
        }
    })
}

/// Returns the first scheme in `text` at or after the byte `from`, and its position.
fn find_scheme(text: &str, mut from: usize) -> Option<(usize, &'static str)> {
    loop {
        // The search is for the common prefix of all schemes. A search per scheme would scan the whole text for a
        // scheme that does not occur, once for each link.
        let start = from + text[from..].find("http")?;
        let found = SCHEMES
            .into_iter()
            .find(|scheme| text[start..].starts_with(scheme));
        if let Some(scheme) = found {
            return Some((start, scheme));
        }
        from = start + "http".len();
    }
}

/// Returns `link` without the closing characters at its end.
fn without_closing(mut link: &str) -> &str {
    let opened = link.matches('(').count();
    let mut closed = link.matches(')').count();

    while let Some(shorter) = link.strip_suffix(CLOSING) {
        if link.ends_with(')') {
            // A closing bracket that was opened inside the URL belongs to it, as in Wikipedia's URLs.
            if opened >= closed {
                break;
            }
            closed -= 1;
        }
        link = shorter;
    }
    link
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(text: &str) -> Vec<&str> {
        pieces(text)
            .into_iter()
            .filter_map(|piece| {
                if let LinkPiece::Link(link) = piece {
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
            ("httphttp://a.b", "http://a.b"),
            ("http://). http://a.b/(c)).", "http://a.b/(c)"),
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

    #[test]
    fn a_text_of_addresses_has_at_most_a_hundred_links() {
        let text = "http://a.b ".repeat(1000);

        let found = pieces(&text);

        assert_eq!(links(&text).len(), 100);
        assert_eq!(found.last(), Some(&LinkPiece::Words(&text[100 * 11 - 1..])));
    }

    proptest! {
        #[test]
        fn the_pieces_together_are_the_text(text in "(?s)([a-z)(. 页]|https?://|<){0,20}") {
            let whole: String = pieces(&text).into_iter().map(|piece| match piece {
                LinkPiece::Words(part) | LinkPiece::Link(part) => part,
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
