//! Environment variables that look like settings of Fanfare but are not.
//!
//! A variable that resembles a known one counts as misspelt: a server must not start without its key file because of
//! a typing error. Other variables may belong to scripts, or to Kubernetes, which describes a service called
//! `fanfare` in variables like `FANFARE_SERVICE_HOST` and `FANFARE_PORT_12345_TCP`.

use std::collections::BTreeSet;
use std::env;
use std::fmt;

use clap::Command;
use strsim::normalized_damerau_levenshtein;

/// The prefix of all variables of Fanfare.
const PREFIX: &str = "FANFARE_";
/// The similarity, from 0 to 1, above which a name counts as misspelt.
const RESEMBLANCE: f64 = 0.7;
/// The minimum length of a name that is a prefix of the other, for the longer one to count as misspelt: `LOG` for
/// `LOG_LEVEL`, `DATA_DIR` for `DATA`.
const MIN_COMMON: usize = 3;

/// A variable that no command reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownVariable {
    name: String,
    /// The most similar known variable.
    nearest: String,
    pub(super) is_misspelt: bool,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, nearest, .. } = self;
        write!(
            f,
            "the environment variable {name} is none of Fanfare's; the nearest one is {nearest}: correct it or remove it"
        )
    }
}

/// Returns the environment variables that have the prefix and that no command reads.
pub(super) fn unknown() -> Vec<UnknownVariable> {
    let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut known = BTreeSet::new();
    add_variables(&super::command(), &mut known);

    unknown_among(names, &known)
}

/// Adds the variables that `command` and its subcommands read to `known`.
fn add_variables(command: &Command, known: &mut BTreeSet<String>) {
    let variables = command
        .get_arguments()
        .filter_map(|argument| argument.get_env());
    known.extend(variables.map(|name| name.to_string_lossy().into_owned()));

    for subcommand in command.get_subcommands() {
        add_variables(subcommand, known);
    }
}

fn unknown_among(
    names: impl Iterator<Item = String>,
    known: &BTreeSet<String>,
) -> Vec<UnknownVariable> {
    let mut unknown: Vec<UnknownVariable> = names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .filter_map(|name| {
            let (resemblance, nearest) = known
                .iter()
                .map(|known| (resemblance(&name, known), known))
                .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
            Some(UnknownVariable {
                is_misspelt: resemblance > RESEMBLANCE && !is_of_kubernetes(&name),
                nearest: nearest.clone(),
                name,
            })
        })
        .collect();

    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    unknown
}

/// Returns the similarity of the names `name` and `known`, from 0 to 1.
fn resemblance(name: &str, known: &str) -> f64 {
    let name = name.trim_start_matches(PREFIX).to_ascii_uppercase();
    let known = known.trim_start_matches(PREFIX);
    let is_common = name.len().min(known.len()) >= MIN_COMMON
        && (name.starts_with(known) || known.starts_with(&name));

    let likeness = normalized_damerau_levenshtein(&name, known);
    if is_common {
        likeness.max(0.8)
    } else {
        likeness
    }
}

/// Returns true if Kubernetes or Docker sets a variable with this name to describe a service.
fn is_of_kubernetes(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST") || name.split('_').any(|part| part == "PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str) -> Option<UnknownVariable> {
        let mut known = BTreeSet::new();
        add_variables(&crate::cli::command(), &mut known);
        unknown_among([name.to_owned()].into_iter(), &known).pop()
    }

    #[test]
    fn a_variable_that_resembles_a_known_one_is_misspelt() {
        for (name, nearest) in [
            ("LISTN", "LISTEN"),
            ("listen", "LISTEN"),
            ("LISTEN_ADDRESS", "LISTEN"),
            ("AUTH_KEY", "AUTH_KEY_FILE"),
            ("AUTH_KEYFILE", "AUTH_KEY_FILE"),
            ("MAX_MESAGE", "MAX_MESSAGE"),
            ("DATA_DIR", "DATA"),
            ("CONFG", "CONFIG"),
            ("TOKNE", "TOKEN"),
        ] {
            let unknown = check(&format!("{PREFIX}{name}")).expect(name);
            assert!(unknown.is_misspelt, "{unknown:?}");
            assert_eq!(unknown.nearest, format!("{PREFIX}{nearest}"));
        }
    }

    #[test]
    fn a_variable_of_a_script_or_of_kubernetes_is_unknown_but_not_misspelt() {
        for name in [
            "BIN",
            "ATTACK_SECONDS",
            "SERVICE_HOST",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_12345_TCP_ADDR",
            "DATA_SERVICE_HOST",
            "DATA_PORT",
        ] {
            let unknown = check(&format!("{PREFIX}{name}")).expect(name);
            assert!(!unknown.is_misspelt, "{unknown:?}");
        }
    }

    #[test]
    fn variables_of_every_command_and_of_other_programs_are_not_unknown() {
        for name in [
            "FANFARE_LISTEN",
            "FANFARE_CONFIG",
            "FANFARE_URL",
            "FANFARE_ADMIN_URL",
            "FANFARE_TOKEN",
            "FANFARE_CA",
            "FANFARELISTEN",
            "PATH",
        ] {
            assert_eq!(check(name), None);
        }
    }
}
