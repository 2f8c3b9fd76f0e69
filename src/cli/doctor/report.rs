//! The report of the [`Finding`]s, for a person or a script. Each finding is printed at once.

use serde_json::json;

use super::finding::{Finding, Rating};
use crate::cli::format;
use crate::cli::output::{self, OutputError};

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

    /// Prints `finding` and counts it.
    pub(super) fn add(&mut self, finding: &Finding) {
        match finding.outcome {
            Rating::Good => self.good += 1,
            Rating::Note => self.notes += 1,
            Rating::Bad => self.bad += 1,
        }

        let text = if self.is_json {
            format::escape_json(&format!("{}\n", json!(finding)))
        } else {
            lines(finding)
        };

        self.print(&text);
    }

    fn print(&mut self, text: &str) {
        if self.unprinted.is_none() {
            self.unprinted = output::print(text).err();
        }
    }

    /// Prints and counts several findings.
    pub(super) fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(&finding));
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

/// Returns `finding` as lines for a person. Control characters from the server are escaped.
fn lines(
    Finding {
        check,
        outcome,
        seen,
        fix,
    }: &Finding,
) -> String {
    let outcome = match outcome {
        Rating::Good => "good",
        Rating::Note => "note",
        Rating::Bad => "BAD",
    };

    let mut text = format!("{outcome:<5} {check:<12} {}\n", format::escape(seen));
    for line in fix {
        text.push_str(&format!("{:<19}-> {}\n", "", format::escape(line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_one_more_for_each_fix() {
        let bad = Finding::bad("stream", "buffered\u{1b}[2J").fix("nginx: proxy_buffering off;");
        assert_eq!(
            lines(&bad),
            "BAD   stream       buffered\\u{1b}[2J\n                   -> nginx: proxy_buffering off;\n"
        );

        assert_eq!(
            json!(Finding::good("clock", "right"))
                .to_string()
                .matches("fix")
                .count(),
            0
        );
    }

    #[test]
    fn a_bad_finding_is_a_failure_and_a_note_is_none() {
        let mut good = DoctorReport::new(true);
        good.add_all([Finding::good("a", "b"), Finding::note("a", "b")]);
        let mut bad = DoctorReport::new(true);
        bad.add_all([Finding::good("a", "b"), Finding::bad("a", "b")]);

        assert!(good.end().is_ok());
        assert!(bad.end().is_err());
    }
}
