//! One thing that was looked at: what was seen, whether that is well, and what would make it so. Pure.

use serde::Serialize;

/// What is thought of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// As it should be.
    Good,
    /// Perhaps meant so, or not looked at.
    Note,
    /// Somebody will suffer from it.
    Bad,
}

/// See the [module docs](self).
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in a word.
    pub(super) check: &'static str,
    pub(super) outcome: Outcome,
    /// In a sentence.
    pub(super) seen: String,
    /// Lines for whoever has to change something, each for the program that it begins with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fix: Vec<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn good(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            outcome: Outcome::Good,
            seen: seen.into(),
            fix: Vec::new(),
        }
    }

    /// Worth knowing.
    pub(super) fn note(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Note,
            ..Self::good(check, seen)
        }
    }

    /// To be changed; its lines say how.
    pub(super) fn bad(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Bad,
            ..Self::good(check, seen)
        }
    }

    /// The same, with another line that would change it.
    pub(super) fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(line.into());
        self
    }
}
