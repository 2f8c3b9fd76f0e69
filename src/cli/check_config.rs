//! `fanfare check-config`: prints the settings in effect with their sources, or all errors.

use std::fmt::Write;

use clap::ArgMatches;

use crate::cli::{Failure, environment, output, settings};
use crate::server::config::{Config, SETTINGS};
use crate::server::files::Files;

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let raw = settings::collect(matches);
    let config = Config::check(&raw)?;
    config.check_files(&raw)?;
    for unknown in environment::unknown() {
        output::note(&unknown.to_string());
    }

    let mut out = String::new();
    for setting in SETTINGS {
        let mut given = raw.get(setting.name);
        if setting.name == "site" && given.is_empty() {
            let _infallible = match &config.site {
                Files::Folder(folder) => writeln!(out, "site = {folder:?} # default"),
                // There is no value that selects the embedded files.
                Files::Inside(_) => writeln!(out, "# site: inside the program"),
            };
        }

        let Some(last) = given.pop() else { continue };
        let source = last.source.clone();
        let texts: Vec<String> = given
            .into_iter()
            .chain([last])
            .map(|given| format!("{:?}", given.redacted()))
            .collect();

        let value = if setting.repeats {
            format!("[{}]", texts.join(", "))
        } else {
            texts.join("")
        };
        let _infallible = writeln!(out, "{} = {value} # {source}", setting.name);
    }
    Ok(output::print(out)?)
}
