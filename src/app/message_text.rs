//! The markup of messages: code fences, inline code, quotes, links, and mentions of the user. Pure: a text is split into blocks
//! and pieces, and everything else stays as it was written.
//!
//! The rules are those of CommonMark (sections 4.5, 5.1 and 6.1), for lines that begin with the marker. The parser is linear
//! in the length of the text, because any user can send one and every page that shows it pays for the parsing.

use super::link::{self, LinkPiece};

/// The most pieces of one text that are more than words. Each is an element of the page and many times larger than its text.
const MAX_PIECES: usize = 200;

/// The longest run of backticks that begins inline code.
const MAX_RUN: usize = 3;

/// The marker of a code fence.
const FENCE: &str = "```";

/// A part of a message that begins on a new line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Text.
    Text(Vec<Piece<'a>>),
    /// A quote.
    Quote(Vec<Piece<'a>>),
    /// The lines of a code fence.
    Code(&'a str),
}

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Plain text.
    Words(&'a str),
    /// A URL.
    Link(&'a str),
    /// Inline code.
    Code(&'a str),
    /// The name of the user, after an `@`.
    Mention(&'a str),
}

/// Splits `text` into blocks. Mentions are those of `me`.
pub fn blocks<'a>(text: &'a str, me: Option<&str>) -> Vec<Block<'a>> {
    let mut parser = Parser {
        me,
        budget: MAX_PIECES,
    };
    let mut blocks = Vec::new();
    let mut rest = text;

    while !rest.is_empty() {
        let (block, after) = parser.next_block(rest);
        blocks.extend(block);
        rest = after;
    }
    blocks
}

/// Returns true if `text` mentions `name`.
pub fn mentions(text: &str, name: &str) -> bool {
    find_mention(text, name).is_some()
}

struct Parser<'m> {
    me: Option<&'m str>,
    /// The number of pieces, other than words, that may follow.
    budget: usize,
}

impl Parser<'_> {
    /// Returns the first block of `text`, and the text after it. Empty text before another block is no block.
    fn next_block<'a>(&mut self, text: &'a str) -> (Option<Block<'a>>, &'a str) {
        if let Some(fenced) = text.strip_prefix(FENCE)
            && let Some((info, code)) = fenced.split_once('\n')
            && !info.contains('`')
        {
            let (code, after) = split_fence(code);
            return (Some(Block::Code(code)), after);
        }
        if text.starts_with('>') {
            let (quoted, after) = split_lines(text, |line| line.starts_with('>'));
            return (Some(Block::Quote(self.quote(quoted))), after);
        }

        let is_text = |line: &str| !line.starts_with('>') && !opens_fence(line);
        // A fence without an end on the first line is text.
        let first = text.find('\n').map_or(text.len(), |end| end + 1);
        let (_, rest) = text.split_at(first);
        let (more, after) = split_lines(rest, is_text);
        let text = &text[..first + more.len()];
        let shown = if after.is_empty() {
            text
        } else {
            text.strip_suffix('\n').unwrap_or(text)
        };
        if shown.is_empty() {
            return (None, after);
        }
        (Some(Block::Text(self.pieces(shown))), after)
    }

    /// Returns the pieces of quoted lines, without their markers.
    fn quote<'a>(&mut self, quoted: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        for line in quoted.split_inclusive('\n') {
            let line = line.strip_prefix('>').unwrap_or(line);
            let line = line.strip_prefix(' ').unwrap_or(line);
            pieces.extend(self.pieces(line));
        }

        if let Some(Piece::Words(last)) = pieces.last_mut() {
            *last = last.strip_suffix('\n').unwrap_or(last);
        }
        pieces
    }

    /// Returns the pieces of `text`.
    fn pieces<'a>(&mut self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut words = 0;
        let mut at = 0;

        while let Some(found) = text[at..].find('`').filter(|_| self.budget > 0) {
            let start = at + found;
            let run = run_length(&text[start..]);
            let after = start + run;
            match inline_end(&text[after..], run) {
                Some(length) => {
                    self.words(&text[words..start], &mut pieces);
                    self.budget = self.budget.saturating_sub(1);
                    pieces.push(Piece::Code(trim_code(&text[after..after + length])));
                    at = after + length + run;
                    words = at;
                }
                None => at = after,
            }
        }
        self.words(&text[words..], &mut pieces);
        pieces
    }

    /// Adds the pieces of `text`, which has no code.
    fn words<'a>(&mut self, text: &'a str, pieces: &mut Vec<Piece<'a>>) {
        if text.is_empty() {
            return;
        }
        if self.budget == 0 {
            pieces.push(Piece::Words(text));
            return;
        }

        for piece in link::pieces(text) {
            match piece {
                LinkPiece::Words(words) => self.mentions(words, pieces),
                LinkPiece::Link(url) => {
                    self.budget = self.budget.saturating_sub(1);
                    pieces.push(Piece::Link(url));
                }
            }
        }
    }

    /// Adds the pieces of `text`, which has no code and no links.
    fn mentions<'a>(&mut self, mut text: &'a str, pieces: &mut Vec<Piece<'a>>) {
        while let Some(me) = self.me.filter(|_| self.budget > 0)
            && let Some((start, end)) = find_mention(text, me)
        {
            if start > 0 {
                pieces.push(Piece::Words(&text[..start]));
            }
            self.budget -= 1;
            pieces.push(Piece::Mention(&text[start..end]));
            text = &text[end..];
        }
        if !text.is_empty() {
            pieces.push(Piece::Words(text));
        }
    }
}

/// Splits `text` after the leading lines of which `is_part` is true.
fn split_lines(text: &str, is_part: impl Fn(&str) -> bool) -> (&str, &str) {
    let lines = text.split_inclusive('\n');
    let length: usize = lines.take_while(|line| is_part(line)).map(str::len).sum();
    text.split_at(length)
}

/// Returns true if `line` begins a code fence.
fn opens_fence(line: &str) -> bool {
    line.strip_prefix(FENCE)
        .is_some_and(|info| info.ends_with('\n') && !info.contains('`'))
}

/// Splits `text`, which follows the first line of a code fence, into the code and the text after the fence. A fence without an
/// end reaches to the end of the text.
fn split_fence(text: &str) -> (&str, &str) {
    let closes = |line: &str| {
        let line = line.trim_end();
        line.len() >= FENCE.len() && line.bytes().all(|byte| byte == b'`')
    };
    let (code, end) = split_lines(text, |line| !closes(line));

    let after = end.find('\n').map_or("", |line| &end[line + 1..]);
    (code.strip_suffix('\n').unwrap_or(code), after)
}

/// Returns the number of backticks at the beginning of `text`.
fn run_length(text: &str) -> usize {
    text.bytes().take_while(|&byte| byte == b'`').count()
}

/// Returns the length of the inline code at the beginning of `text`, on the same line, up to the next run of `run` backticks.
fn inline_end(text: &str, run: usize) -> Option<usize> {
    if run > MAX_RUN {
        return None;
    }
    let line = text.split('\n').next().unwrap_or_default();
    let mut at = 0;
    while let Some(found) = line[at..].find('`') {
        let start = at + found;
        let length = run_length(&line[start..]);
        if length == run {
            return (start > 0).then_some(start);
        }
        at = start + length;
    }
    None
}

/// Removes one space at both ends, which separates backticks in the code from those around it.
fn trim_code(code: &str) -> &str {
    match code
        .strip_prefix(' ')
        .and_then(|code| code.strip_suffix(' '))
    {
        Some(inner) if !inner.trim().is_empty() => inner,
        _ => code,
    }
}

/// Returns the start and the end of the first `@name` in `text`. ASCII letters match in either case. Another letter after an
/// ASCII name belongs to a longer name.
fn find_mention(text: &str, name: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(found) = text[at..].find('@') {
        let start = at + found;
        let end = start + 1 + name.len();
        let is_name = text
            .get(start + 1..end)
            .is_some_and(|given| given.eq_ignore_ascii_case(name));
        if is_name && !continues(text[end..].chars().next(), name) && is_start(&text[..start]) {
            return Some((start, end));
        }
        at = start + 1;
    }
    None
}

/// Returns true if `next`, the character after `name`, belongs to a longer name.
fn continues(next: Option<char>, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.chars().next_back().is_some_and(is_part) && next.is_some_and(is_part)
}

/// Returns true if a mention may begin after `before`: not within an e-mail address.
fn is_start(before: &str) -> bool {
    !before
        .chars()
        .next_back()
        .is_some_and(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Block<'_> {
        Block::Text(vec![Piece::Words(text)])
    }

    #[test]
    fn a_code_fence_keeps_its_lines() {
        let text = "see\n```rust\nfn main() {\n    `x` > @ann\n}\n```\ndone";

        let blocks = blocks(text, Some("ann"));

        assert_eq!(
            blocks,
            [
                words("see"),
                Block::Code("fn main() {\n    `x` > @ann\n}"),
                words("done")
            ]
        );
    }

    #[test]
    fn a_code_fence_without_an_end_reaches_to_the_end() {
        assert_eq!(blocks("```\na\nb", None), [Block::Code("a\nb")]);
        assert_eq!(blocks("```", None), [words("```")]);
    }

    #[test]
    fn lines_with_a_marker_are_a_quote() {
        let blocks = blocks("> one\n>two\nthree > four", None);

        let quote = Block::Quote(vec![Piece::Words("one\n"), Piece::Words("two")]);
        assert_eq!(blocks, [quote, words("three > four")]);
    }

    #[test]
    fn inline_code_is_between_runs_of_backticks_of_one_length() {
        let blocks = blocks("run `make` or `` a`b `` and `not", None);

        let pieces = vec![
            Piece::Words("run "),
            Piece::Code("make"),
            Piece::Words(" or "),
            Piece::Code("a`b"),
            Piece::Words(" and `not"),
        ];
        assert_eq!(blocks, [Block::Text(pieces)]);
    }

    #[test]
    fn a_mention_is_the_whole_name_of_the_user() {
        for (text, name, expected) in [
            ("@ann hello", "ann", true),
            ("hello @Ann, and you?", "ann", true),
            ("@anna", "ann", false),
            ("mail@ann", "ann", false),
            ("你好@李雷你看", "李雷", true),
            ("ann", "ann", false),
        ] {
            assert_eq!(mentions(text, name), expected, "{text}");
        }

        let pieces = vec![
            Piece::Words("hi "),
            Piece::Mention("@ann"),
            Piece::Words("!"),
        ];
        assert_eq!(blocks("hi @ann!", Some("ann")), [Block::Text(pieces)]);
    }

    #[test]
    fn links_in_code_are_text() {
        let pieces = vec![
            Piece::Code("http://a.b"),
            Piece::Words(" "),
            Piece::Link("http://c.d"),
        ];
        assert_eq!(
            blocks("`http://a.b` http://c.d", None),
            [Block::Text(pieces)]
        );
    }

    proptest! {
        #[test]
        fn text_without_markers_is_one_block(text in "[a-z @.\\n]{1,60}") {
            let blocks = blocks(&text, None);

            let joined: String = blocks
                .iter()
                .flat_map(|block| match block {
                    Block::Text(pieces) => pieces.clone(),
                    other => panic!("{other:?}"),
                })
                .map(|piece| match piece {
                    Piece::Words(words) => words,
                    other => panic!("{other:?}"),
                })
                .collect();
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn any_text_can_be_split(text in "[`>@ab\\n ]{0,80}", me in "[ab]{1,3}") {
            // It must not panic.
            let _ = blocks(&text, Some(&me));
        }
    }
}
