//! `fanfare check-config`: prints the settings in effect with their sources, or all errors.

use clap::{ArgMatches, Args};

use crate::cli::{Failure, environment, output, settings};
use crate::protocol::RoomName;
use crate::server::config::{Config, RawConfig, RoomSetting, SETTINGS, describe_room};
use crate::server::files::Files;
use crate::server::hooks::HookSettings;

/// Print the settings in effect, or all errors in them
#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    /// Print the settings of this room instead, each with the rule that it comes from
    #[arg(long, value_parser = RoomName::parse)]
    room: Option<RoomName>,
}

pub(super) fn run(args: CheckConfigArgs, matches: &ArgMatches) -> Result<(), Failure> {
    let raw = settings::collect(matches);
    let config = Config::check(&raw)?;
    config.check_files(&raw)?;
    for unknown in environment::unknown() {
        output::note(&unknown.to_string());
    }
    for warning in &config.warnings {
        output::note(warning);
    }

    let out = match args.room {
        Some(room) => of_room(&raw, &room),
        None => {
            let hooks: String = config.hooks.iter().map(describe).collect();
            of_server(&raw, &config) + &room_rules(&raw) + &grants(&raw) + &hooks
        }
    };
    Ok(output::print(out)?)
}

/// Returns the settings of the server, one on each line.
fn of_server(raw: &RawConfig, config: &Config) -> String {
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
    out
}

/// Returns the rules for rooms, as in the file.
fn room_rules(raw: &RawConfig) -> String {
    let mut out = String::new();
    for rule in raw.room_rules() {
        out.push_str("\n[[rooms]] # file\n");
        for (key, text) in &rule.values {
            out.push_str(&format!("{key} = {text:?}\n"));
        }
    }
    out
}

/// Returns the grants of groups, as in the file.
fn grants(raw: &RawConfig) -> String {
    let mut out = String::new();
    for grant in raw.grants() {
        out.push_str("\n[[grant]] # file\n");
        for (key, value) in grant {
            out.push_str(&format!("{key} = {value}\n"));
        }
    }
    out
}

/// Returns the settings of `room`, each with its source.
fn of_room(raw: &RawConfig, room: &RoomName) -> String {
    let settings = describe_room(raw, room).into_iter();
    let line = |RoomSetting { key, value, source }| format!("{key} = {value:?} # {source}\n");
    settings.map(line).collect()
}

/// Returns the table of `hook` without its secret.
fn describe(hook: &HookSettings) -> String {
    let rooms = hook.rooms.iter().map(|room| format!("{:?}", room.as_str()));
    let events = hook
        .events
        .iter()
        .map(|event| format!("{:?}", event.as_str()));
    format!(
        "\n[[hook]] # file\nname = {:?}\nurl = \"{}\"\nrooms = [{}]\nevents = [{}]\n# secret: not shown\n",
        hook.name,
        hook.url,
        rooms.collect::<Vec<_>>().join(", "),
        events.collect::<Vec<_>>().join(", "),
    )
}
