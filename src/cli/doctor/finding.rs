//! The result of one check: the observation, its rating, and the fix. Pure.

use serde::Serialize;

/// The rating of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rating {
    /// No problem.
    Good,
    /// A fact that may be intended, or that was not checked.
    Note,
    /// A problem for users.
    Bad,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// The name of the check, in one word.
    pub(super) check: &'static str,
    pub(super) outcome: Rating,
    /// The result, in a sentence.
    pub(super) seen: String,
    /// The lines that fix the problem. Each begins with the program that it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fix: Vec<String>,
}

impl Finding {
    /// Creates a good result.
    pub(super) fn good(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            outcome: Rating::Good,
            seen: seen.into(),
            fix: Vec::new(),
        }
    }

    /// Creates a result that is not a problem, but worth mentioning.
    pub(super) fn note(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            outcome: Rating::Note,
            ..Self::good(check, seen)
        }
    }

    /// Creates a problem.
    pub(super) fn bad(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            outcome: Rating::Bad,
            ..Self::good(check, seen)
        }
    }

    /// Adds a line that fixes the problem.
    pub(super) fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(line.into());
        self
    }
}
