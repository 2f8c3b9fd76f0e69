//! Flags that take a number of at least 1.

use std::num::NonZeroU32;

use clap::{Arg, ArgMatches, value_parser};

/// The flag `--name`, by itself `default`.
pub(super) fn number_flag(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .default_value(default)
        .value_parser(value_parser!(NonZeroU32))
        .help(help)
}

/// What the flag `name` says.
pub(super) fn number(matches: &ArgMatches, name: &str) -> u32 {
    // It has a default: nothing is the number only of a flag that is not there.
    matches
        .get_one::<NonZeroU32>(name)
        .map_or(1, |number| number.get())
}
