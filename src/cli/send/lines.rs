//! The lines of standard input, for `fanfare send`.
//!
//! A separate thread reads, because a terminal or a pipe blocks its reader. It is at most a few lines ahead of the
//! sender. Lines longer than the server accepts are not stored.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::protocol::without_bom;

/// The number of lines read ahead.
const AHEAD: usize = 16;

/// One line, or the reason why it cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The number of the line, from 1.
    pub(super) number: u64,
    pub(super) content: Result<String, LineError>,
}

/// The reason why a line cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("it is empty: not sent")]
    Empty,
    #[error("it is longer than the {limit} bytes allowed: not sent")]
    TooLong { limit: usize },
    #[error("it is not UTF-8: not sent")]
    NotUtf8,
    #[error("standard input cannot be read: {0}")]
    Unreadable(String),
}

/// Returns the lines of standard input, including a last one without a newline. `limit` is the maximum size of a line
/// in bytes.
pub(super) fn of_stdin(limit: usize) -> Receiver<Line> {
    let (lines, receiver) = channel(AHEAD);
    // The thread is not joined, because it may wait for input for ever.
    std::thread::spawn(move || read(io::stdin().lock(), limit, &lines));
    receiver
}

/// Returns `text` as the only line.
pub(super) fn of_text(text: String, limit: usize) -> Receiver<Line> {
    let (lines, receiver) = channel(1);
    let content = check(text.into_bytes(), limit);
    // The channel has room for one line.
    let _ = lines.try_send(Line { number: 1, content });
    receiver
}

/// Reads `input` to its end, or until the receiver is dropped.
fn read(mut input: impl BufRead, limit: usize, lines: &Sender<Line>) {
    for number in 1.. {
        let content = match next(&mut input, limit, number == 1) {
            Ok(Some(content)) => content,
            Ok(None) => return,
            Err(error) => {
                let content = Err(LineError::Unreadable(error.to_string()));
                // Fails only if the receiver was dropped.
                let _ = lines.blocking_send(Line { number, content });
                return;
            }
        };
        if lines.blocking_send(Line { number, content }).is_err() {
            return;
        }
    }
}

/// Returns the next line without its end (LF or CR LF), and the first one without a byte order mark; `None` after the
/// last one.
fn next(
    input: &mut impl BufRead,
    limit: usize,
    is_first: bool,
) -> io::Result<Option<Result<String, LineError>>> {
    /// The maximum size of line end (CR LF) and byte order mark, in bytes.
    const AROUND: usize = 2 + 3;
    let mut bytes = Vec::new();
    let length = input
        .take((limit + AROUND) as u64)
        .read_until(b'\n', &mut bytes)?;
    if length == 0 {
        return Ok(None);
    }

    let is_whole = bytes.pop_if(|last| *last == b'\n').is_some();
    if is_whole {
        bytes.pop_if(|last| *last == b'\r');
    }
    if is_first {
        let mark = bytes.len() - without_bom(&bytes).len();
        bytes.drain(..mark);
    }
    if !is_whole && bytes.len() > limit {
        input.skip_until(b'\n')?;
    }

    Ok(Some(check(bytes, limit)))
}

fn check(bytes: Vec<u8>, limit: usize) -> Result<String, LineError> {
    if bytes.is_empty() {
        return Err(LineError::Empty);
    }
    if bytes.len() > limit {
        return Err(LineError::TooLong { limit });
    }
    String::from_utf8(bytes).map_err(|_| LineError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(mut input: &[u8], limit: usize) -> Vec<Result<String, LineError>> {
        let (lines, mut receiver) = channel(1000);
        read(&mut input, limit, &lines);
        std::iter::from_fn(|| receiver.try_recv().ok())
            .enumerate()
            .map(|(at, line)| {
                assert_eq!(line.number, at as u64 + 1);
                line.content
            })
            .collect()
    }

    #[test]
    fn a_line_ends_with_lf_or_cr_lf_or_the_end() {
        let lines = all(b"one\ntwo\r\nthree", 10);
        assert_eq!(
            lines,
            [Ok("one".into()), Ok("two".into()), Ok("three".into())]
        );
        assert!(all(b"", 10).is_empty());
    }

    #[test]
    fn a_byte_order_mark_before_the_first_line_is_no_part_of_it() {
        let lines = all("\u{feff}1234\n\u{feff}a\n".as_bytes(), 4);

        assert_eq!(lines, [Ok("1234".into()), Ok("\u{feff}a".into())]);
    }

    #[test]
    fn a_line_that_cannot_be_sent_does_not_hide_the_next() {
        let too_long = Err(LineError::TooLong { limit: 4 });
        for (input, first) in [
            (&b"\nnext\n"[..], Err(LineError::Empty)),
            (b"\r\nnext\n", Err(LineError::Empty)),
            (b"12345\nnext\n", too_long.clone()),
            (b"12345\r\nnext\n", too_long.clone()),
            (b"123456\nnext\n", too_long.clone()),
            (b"12345678901234567890\nnext\n", too_long),
            (b"1234\r\nnext\n", Ok("1234".into())),
            (b"\xff\nnext\n", Err(LineError::NotUtf8)),
        ] {
            assert_eq!(all(input, 4), [first, Ok("next".to_owned())], "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn every_line_is_there_once_whatever_its_length(
            texts in prop::collection::vec("[a-z ]{0,9}", 0..50),
        ) {
            let input: String = texts.iter().map(|text| format!("{text}\n")).collect();
            let expected: Vec<_> = texts.into_iter().map(|text| check(text.into_bytes(), 5)).collect();
            prop_assert_eq!(all(input.as_bytes(), 5), expected);
        }
    }
}
