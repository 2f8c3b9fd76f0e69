//! `fanfare check-config`: prints the settings in effect with their sources, or all errors.

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
    for setting in SETTINGS.iter() {
        let name = setting.name();
        let given = raw.get(name);
        if name == "site" && given.is_empty() {
            out.push_str(&match &config.site {
                Files::Folder(folder) => format!("site = {folder:?} # default\n"),
                // There is no value that selects the embedded files.
                Files::Inside(_) => "# site: inside the program\n".to_owned(),
            });
        }

        let Some(last) = given.last() else { continue };
        let source = &last.source;
        let texts: Vec<String> = given
            .iter()
            .map(|given| format!("{:?}", given.redacted()))
            .collect();
        let value = if setting.repeats() {
            format!("[{}]", texts.join(", "))
        } else {
            texts.join("")
        };
        out.push_str(&format!("{name} = {value} # {source}\n"));
    }
    Ok(output::print(out)?)
}
