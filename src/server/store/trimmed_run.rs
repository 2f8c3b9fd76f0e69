//! The numbers of trimmed messages, to count the messages that a reader has missed.
//!
//! A reader resumes after an offset whose message may be trimmed. Offsets of a room have holes, so the number of
//! messages after it cannot be computed from the offset alone. The store therefore remembers the numbers of its last
//! [`MAX_REMEMBERED`] trimmed messages in each room. Consecutive offsets are one run, so a store of one room remembers
//! all of them at no cost.

/// The number of trimmed messages of a room whose numbers are remembered. Longer runs are remembered as a whole.
pub(super) const MAX_REMEMBERED: u64 = 10_000;

/// The first message of a run: the following trimmed messages of the room have the following offsets and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrimmedRun {
    /// The offset of the message.
    pub(super) offset: u64,
    /// The number of the message in the room, from 1.
    pub(super) number: u64,
}

/// Returns the number of messages of a room up to the trimmed position `offset`; `None` if it is forgotten.
///
/// `run` is the last run that begins at or before `offset`, `next` the number of the first message of the run after it,
/// and `trimmed` the number of all trimmed messages.
pub(super) fn count_until(
    offset: u64,
    run: Option<TrimmedRun>,
    next: Option<u64>,
    trimmed: u64,
) -> Option<u64> {
    let last = next.map_or(trimmed, |next| next - 1);
    match run {
        Some(run) => Some(last.min(run.number + offset - run.offset)),
        None => (last == 0).then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Option<TrimmedRun> = Some(TrimmedRun {
        offset: 20,
        number: 5,
    });

    #[test]
    fn messages_are_counted_up_to_an_offset_in_a_run() {
        assert_eq!(count_until(22, RUN, Some(9), 30), Some(7));
        assert_eq!(count_until(22, RUN, None, 30), Some(7));
    }

    #[test]
    fn an_offset_between_two_runs_counts_as_the_end_of_the_first() {
        assert_eq!(count_until(90, RUN, Some(9), 30), Some(8));
        assert_eq!(count_until(90, RUN, None, 30), Some(30));
    }

    #[test]
    fn before_the_first_message_none_are_counted_unless_runs_are_forgotten() {
        assert_eq!(count_until(3, None, Some(1), 30), Some(0));
        assert_eq!(count_until(3, None, Some(2), 30), None);
    }
}
