//! What a person or a script wants to see of the [`Finding`]s, each as soon as it is there.

use serde_json::json;

use super::finding::{Finding, Outcome};
use crate::cli::output::{self, OutputError};
use crate::cli::text;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Report {
    is_json: bool,
    good: usize,
    notes: usize,
    bad: usize,
    /// The reason why nothing more is printed.
    unprinted: Option<OutputError>,
}

impl Report {
    /// An empty one; `is_json` for a script.
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
            Outcome::Good => self.good += 1,
            Outcome::Note => self.notes += 1,
            Outcome::Bad => self.bad += 1,
        }
        let text = if self.is_json {
            text::escape_json(&format!("{}\n", json!(finding)))
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

    /// The same for several.
    pub(super) fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(&finding));
    }

    /// Prints the count of each.
    ///
    /// # Errors
    /// If one was bad, or not all could be printed.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        if !self.is_json {
            let Self {
                good, notes, bad, ..
            } = self;
            self.print(&format!("{good} good, {notes} to know, {bad} bad\n"));
        }

        match (self.bad, self.unprinted) {
            (0, None) => Ok(()),
            (0, Some(unprinted)) => Err(unprinted.into()),
            (1, _) => Err(anyhow::anyhow!("one thing is bad, see above")),
            (bad, _) => Err(anyhow::anyhow!("{bad} things are bad, see above")),
        }
    }
}

/// `finding` for a person; what a server said cannot move the cursor.
fn lines(
    Finding {
        check,
        outcome,
        seen,
        fix,
    }: &Finding,
) -> String {
    let outcome = match outcome {
        Outcome::Good => "good",
        Outcome::Note => "note",
        Outcome::Bad => "BAD",
    };
    let mut text = format!("{outcome:<5} {check:<12} {}\n", text::escape(seen));
    for line in fix {
        text.push_str(&format!("{:<19}-> {}\n", "", text::escape(line)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_one_more_for_each_remedy() {
        let bad = Finding::bad("stream", "held back\u{1b}[2J").fix("nginx: proxy_buffering off;");
        assert_eq!(
            lines(&bad),
            "BAD   stream       held back\\u{1b}[2J\n                   -> nginx: proxy_buffering off;\n"
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
    fn one_bad_thing_makes_the_whole_bad_and_a_note_does_not() {
        let mut good = Report::new(true);
        good.add_all([Finding::good("a", "b"), Finding::note("a", "b")]);
        let mut bad = Report::new(true);
        bad.add_all([Finding::good("a", "b"), Finding::bad("a", "b")]);

        assert!(good.end().is_ok());
        assert!(bad.end().is_err());
    }
}
