//! The findings of the checks, and their report for a person or a script. Each finding is printed at once.

use serde::Serialize;
use serde_json::json;

use crate::cli::client::HttpResponse;
use crate::cli::format;
use crate::cli::output::{self, OutputError};

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
    pub(super) outcome: Rating,
    /// The result, in a sentence.
    pub(super) seen: String,
    /// The lines that fix the problem. Each begins with the program that it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fix: Vec<String>,
}

/// Returns a good result.
pub(super) fn good(seen: impl Into<String>) -> Finding {
    Finding::new(Rating::Good, seen)
}

/// Returns a result that is not a problem, but worth mentioning.
pub(super) fn note(seen: impl Into<String>) -> Finding {
    Finding::new(Rating::Note, seen)
}

/// Returns a problem.
pub(super) fn bad(seen: impl Into<String>) -> Finding {
    Finding::new(Rating::Bad, seen)
}

impl Finding {
    fn new(outcome: Rating, seen: impl Into<String>) -> Self {
        Self {
            outcome,
            seen: seen.into(),
            fix: Vec::new(),
        }
    }

    /// Adds a line that fixes the problem.
    pub(super) fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(line.into());
        self
    }
}

/// A check that could not be run.
impl From<anyhow::Error> for Finding {
    fn from(error: anyhow::Error) -> Self {
        note(format!("unknown: {error:#}"))
    }
}

/// Describes `answer`, and its origin.
pub(super) fn describe(answer: &HttpResponse) -> String {
    match answer.error() {
        Some(_) => answer.to_string(),
        None => format!("{answer}, from a proxy in front of Fanfare"),
    }
}

/// The counts of the findings so far.
#[derive(Debug)]
pub(super) struct DoctorReport {
    is_json: bool,
    good: usize,
    notes: usize,
    bad: usize,
    /// The reason why nothing more is printed.
    unprinted: Option<OutputError>,
}

impl DoctorReport {
    /// Creates an empty report. `is_json` selects the format for scripts.
    pub(super) const fn new(is_json: bool) -> Self {
        Self {
            is_json,
            good: 0,
            notes: 0,
            bad: 0,
            unprinted: None,
        }
    }

    /// Prints and counts the finding of `check`.
    pub(super) fn add(&mut self, check: &str, result: Result<Finding, Finding>) {
        let (Ok(finding) | Err(finding)) = result;
        match finding.outcome {
            Rating::Good => self.good += 1,
            Rating::Note => self.notes += 1,
            Rating::Bad => self.bad += 1,
        }

        let text = if self.is_json {
            let mut line = json!(finding);
            line["check"] = check.into();
            format::escape_json(&format!("{line}\n"))
        } else {
            lines(check, &finding)
        };
        self.print(&text);
    }

    /// Prints and counts the finding of `check`. Returns its value; `None` if the checks after it are not possible.
    pub(super) fn step<T>(
        &mut self,
        check: &str,
        result: Result<(Finding, T), Finding>,
    ) -> Option<T> {
        let (result, value) = match result {
            Ok((finding, value)) => (Ok(finding), Some(value)),
            Err(finding) => (Err(finding), None),
        };
        self.add(check, result);
        value
    }

    fn print(&mut self, text: &str) {
        if self.unprinted.is_none() {
            self.unprinted = output::print(text).err();
        }
    }

    /// Prints the counts.
    ///
    /// # Errors
    /// If a finding is bad, or not all findings could be printed.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        if !self.is_json {
            let Self {
                good, notes, bad, ..
            } = self;
            self.print(&format!("{good} good, {notes} notes, {bad} bad\n"));
        }

        match (self.bad, self.unprinted) {
            (0, None) => Ok(()),
            (0, Some(unprinted)) => Err(unprinted.into()),
            (1, _) => Err(anyhow::anyhow!("1 check found a problem, see above")),
            (bad, _) => Err(anyhow::anyhow!("{bad} checks found problems, see above")),
        }
    }
}

/// Returns the finding of `check` as lines for a person. Control characters from the server are escaped.
fn lines(check: &str, finding: &Finding) -> String {
    let outcome = match finding.outcome {
        Rating::Good => "good",
        Rating::Note => "note",
        Rating::Bad => "BAD",
    };

    let seen = format::escape(&finding.seen);
    let mut text = format!("{outcome:<5} {check:<12} {seen}\n");
    for line in &finding.fix {
        text.push_str(&format!("{:<19}-> {}\n", "", format::escape(line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_one_more_for_each_fix() {
        let bad = bad("buffered\u{1b}[2J").fix("nginx: proxy_buffering off;");

        assert_eq!(
            lines("stream", &bad),
            "BAD   stream       buffered\\u{1b}[2J\n                   -> nginx: proxy_buffering off;\n"
        );
    }
}
